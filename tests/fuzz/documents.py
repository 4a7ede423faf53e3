"""Targets that read whole documents: configuration, settings, our files, request bodies."""

from __future__ import annotations

import contextlib
import json
import tomllib
from typing import Any

import msgspec

from protocol import client_lease, credentials_file, oauth, quota_file, token_file
from protocol.body_edit import with_model, without_identity
from protocol.config import Config, ConfigInvalid, decode, environment_overlay, restart_needed
from protocol.held_stream import error_event
from protocol.login import CredentialFileInvalid
from protocol.model_list import read_page
from protocol.peek import error_info, peek, read_json
from protocol.settings import NotEditable, inspect, point, release, well_formed
from protocol.token_estimate import estimated
from protocol.translation import read_openai, to_gemini, to_openai
from protocol.translation.quirks import quirks_for
from protocol.translation.read_anthropic import read_request
from protocol.translation.refusal import Untranslatable
from protocol.translation.returning import without_foreign_state
from tests.fuzz.pieces import cut, document

NOW = 1_790_000_000.0
_object = msgspec.json.Decoder(dict[str, Any])
OURS = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:4080", "OTHER": "1"}


def configuration(data: bytes) -> None:
    """A file: a configuration, or all that is wrong with it, said in words. JSON stands for the TOML
    that means the same: it can be changed node by node."""
    rest, _ = cut(data)
    text = rest.decode(errors="replace")
    table = _without_nulls(document(rest))
    if not isinstance(table, dict):
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError):
            return
    variables = {"HOME": "/home/x", "KEY": "value"}
    try:
        config = decode(table, variables=variables, source="config.toml")
    except ConfigInvalid as invalid:
        _told(invalid)
        return
    assert isinstance(config, Config)
    assert list(restart_needed(config, config)) == []
    repr(config)
    environment_overlay({"SUPERVISOR_SERVER_PORT": text, "SUPERVISOR_ROUTING_SWITCH_AT": text})


def _told(invalid: ConfigInvalid) -> None:
    assert invalid.errors
    assert str(invalid)


def _without_nulls(value: Any) -> Any:
    """TOML has none."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value if one is not None]
    return value


def settings(data: bytes) -> None:
    """Somebody's settings: refused and left alone, or pointed and put back to the byte."""
    rest, _ = cut(data)
    try:
        found = inspect(rest)
    except NotEditable:
        assert not well_formed(rest)
        return
    assert well_formed(rest)
    pointed = point("settings.json", rest, OURS)
    assert pointed.content is not None
    after = inspect(pointed.content).env
    assert all(after[name] == value for name, value in OURS.items())
    assert {**found.env, **OURS} == after
    for name in found.names - OURS.keys():
        assert found.env.get(name) == after.get(name)
    assert release(pointed.content, pointed.record) == rest, "put back to the byte"
    instead = release(pointed.content, pointed.record, {"ANTHROPIC_BASE_URL": "http://direct"})
    assert instead is not None
    assert well_formed(instead)


def files(data: bytes) -> None:
    """Our own files and Claude Code's: read, or refused with the one exception that says so."""
    rest, _ = cut(data)
    with contextlib.suppress(client_lease.LeaseUnreadable):
        lease = client_lease.decode(rest)
        assert client_lease.decode(client_lease.encode(lease)) == lease
    with contextlib.suppress(ValueError):
        quota_file.decode(rest)
    with contextlib.suppress(CredentialFileInvalid):
        stored = token_file.parse(rest)
        assert token_file.parse(token_file.encode(stored)).accounts == stored.accounts
    with contextlib.suppress(CredentialFileInvalid):
        login = credentials_file.parse(rest)
        credentials_file.with_owner(login, rest)
        if login.refresh_token is not None:
            answer = oauth.read_answer(200, b'{"access_token":"a","expires_in":60}', NOW)
            assert isinstance(answer, oauth.Pair)
            renewed = credentials_file.renewed(rest, login.refresh_token, answer)
            assert renewed is not None
            assert credentials_file.parse(renewed).refresh_token == login.refresh_token
    for status in (200, 400):
        oauth.read_answer(status, rest, NOW)
    error_info(rest)
    event = error_event(502, rest)
    assert event.count(b"\n") == 3
    read_page(read_json(_object, rest))


def requests(data: bytes) -> None:
    """A client's body: looked into, edited in place, translated or refused; never more."""
    rest, _ = cut(data)
    asked = peek(rest)
    edited = with_model(rest, "other-model")
    if asked.model is None:
        pass  # there is none, or another place of the body is no text, which nobody reads here
    elif edited != rest:
        assert peek(edited).model == "other-model"
        assert peek(edited).stream == asked.stream
    elif asked.model != "other-model":
        assert read_json(_object, rest) is None, "a body that can be read is edited"
    without_identity(rest)
    without_foreign_state(rest)
    asked_for = read_json(_object, rest)
    if asked_for is None:
        return
    assert estimated(asked_for) >= 1
    with contextlib.suppress(Untranslatable):
        body = msgspec.json.encode(read_openai.read_request(asked_for))
        assert isinstance(json.loads(body)["messages"], list)
    for url in ("https://api.openai.com/v1", "http://localhost:11434/v1"):
        with contextlib.suppress(Untranslatable):
            conversation = read_request(asked_for)
            msgspec.json.encode(to_openai.write_request(conversation, "m", quirks_for(url)))
    for model in ("gemini-2.5-pro", "gemini-3"):
        with contextlib.suppress(Untranslatable):
            msgspec.json.encode(to_gemini.write_request(read_request(asked_for), model))

"""Commands that look work in a shell that has not got the variables of the running instance."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect

from protocol.config import ConfigInvalid, schema
from protocol.request_line import RequestLine, encode_line
from supervisor import configuration
from supervisor.cli import running
from supervisor.instance import Instance
from supervisor.unset_secrets import SECRET_KEYS, STAND_IN, with_stand_ins
from tests.supervisor.cli.conftest import Invoke, invoke, state_dir
from tests.supervisor.stub_instance import stub_instance

__all__ = ["invoke", "state_dir"]

ACCOUNT = '[[account]]\nname = "work"\napi_key = "${KEY_OF_ANOTHER_SHELL}"\n'


@pytest.fixture
def config(home: Path) -> Path:
    """The configuration in its usual place, with a key from a variable that is not set."""
    file = home / ".config" / "llm-supervisor" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(ACCOUNT)
    return file


def test_every_secret_of_the_configuration_is_known_here() -> None:
    found: dict[str, tuple[str, ...]] = {}
    for section in schema.root().fields:
        name = section.encode_name
        kind = schema.element_of(section.type) or section.type
        assert isinstance(kind, inspect.StructType)
        rules = {field.encode_name: schema.rule_of(field.type) for field in kind.fields}
        secret = tuple(key for key, rule in rules.items() if rule.is_secret)
        if secret:
            found[name] = secret
        for key, rule in rules.items():
            if isinstance(rule.kind, inspect.DictType):
                assert not schema.rule_of(rule.kind.value_type).is_secret or (
                    (name, key) == ("provider", "headers")
                )
    assert found == SECRET_KEYS


def test_only_secrets_without_their_variable_get_a_stand_in() -> None:
    document = {
        "account": [
            {"name": "a", "api_key": "${GONE}"},
            {"name": "b", "token": "${HERE}", "base_url": "${GONE}"},
            {"name": "c", "api_key": "${GONE:-usual}"},
            {"name": "d", "api_key": "${"},
            "no table",
        ],
        "provider": [{"headers": {"authorization": "Bearer ${GONE}", "x": "y"}}],
        "access": {"token": "${HERE}-${GONE}"},
        "probe": "no table",
        "logs": {"directory": "${GONE}"},
    }
    before = repr(document)
    found, unset = with_stand_ins(document, {"HERE": "h"})
    expected: dict[str, Any] = {
        **document,
        "account": [{"name": "a", "api_key": STAND_IN}, *document["account"][1:]],
        "provider": [{"headers": {"authorization": STAND_IN, "x": "y"}}],
        "access": {"token": STAND_IN},
    }
    assert found == expected
    assert repr(document) == before
    assert sorted(unset) == [
        "access.token",
        "account[0].api_key",
        "provider[0].headers.authorization",
    ]


def test_only_who_looks_may_do_without(config: Path) -> None:
    with pytest.raises(ConfigInvalid, match="KEY_OF_ANOTHER_SHELL"):
        configuration.load(environ={})
    loaded = configuration.load(environ={}, looks_only=True)
    assert loaded.unset_secrets == ("account[0].api_key",)
    assert loaded.warnings == ()  # a stand-in is no secret that is written out
    config.write_text(ACCOUNT + '[access]\ntoken = "${ANOTHER_GONE}"\n')
    set_here = {"SUPERVISOR_ACCESS_TOKEN": "t"}
    loaded = configuration.load(environ=set_here, looks_only=True)
    assert loaded.unset_secrets == ("account[0].api_key",)
    config.write_text(ACCOUNT + "[server]\nport = -1\n")
    with pytest.raises(ConfigInvalid, match=re.escape("server.port")):
        configuration.load(environ={}, looks_only=True)


@pytest.mark.parametrize("command", [("logs",), ("usage",), ("explain", "r1")])
def test_logs_are_read_without_the_variables_of_the_keys(
    config: Path, invoke: Invoke, command: tuple[str, ...]
) -> None:
    elsewhere = config.parent / "elsewhere"
    config.write_text(ACCOUNT + f'[logs]\ndirectory = "{elsewhere}"\n')
    elsewhere.mkdir()
    line = encode_line(RequestLine("2026-11-21T12:00:00.000Z", "r1", "POST", "/v1/messages"))
    (elsewhere / "requests-2026-11-21.jsonl").write_bytes(line)
    done = invoke(*command)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""


def test_a_mistake_in_the_configuration_is_still_said(config: Path, invoke: Invoke) -> None:
    config.write_text(ACCOUNT + "[logs]\nkeep_days = -1\n")
    done = invoke("logs")
    assert done.exit_code == 78
    assert "logs.keep_days" in done.stderr


def test_accounts_of_a_running_instance_are_listed_without_its_variables(
    config: Path, state_dir: Path, invoke: Invoke
) -> None:
    assert invoke("auth", "list").exit_code == 78  # nothing runs: a start from here would fail, too
    with stub_instance(state_dir, config=str(config)):
        done = invoke("auth", "list")
    assert done.exit_code == 0, done.stderr
    assert "work" in done.stdout
    assert STAND_IN not in done.output


def test_an_access_token_that_is_not_known_here_is_not_made_up(config: Path) -> None:
    config.write_text(ACCOUNT + '[access]\ntoken = "written-out"\n')
    instance = Instance(
        pid=1, host="127.0.0.1", port=1, started_at="", id="", version="", config=str(config)
    )
    found = running.configuration_of(instance)
    assert found is not None
    assert found.access.token is not None
    assert found.access.token.reveal() == "written-out"
    config.write_text(ACCOUNT + '[access]\ntoken = "${ANOTHER_GONE}"\n')
    assert running.configuration_of(instance) is None

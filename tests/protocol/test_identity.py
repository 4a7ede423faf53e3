"""Who sends a request."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.identity import (
    client_credential,
    client_name,
    given_request_id,
    is_owner,
    login_name,
    session_of,
)
from protocol.inbound_keys import InboundKey
from protocol.request import Headers, Peer, RequestHead, Route
from protocol.secrets import Secret

SESSION = (b"X-Claude-Code-Session-Id", b"3f0c")


def head(*headers: tuple[bytes, bytes], loopback: bool = True) -> RequestHead:
    return RequestHead("POST", b"/v1/messages", headers, Peer("", loopback))


@pytest.mark.parametrize("value", ["a", "A.b_c-9", "x" * 128])
def test_a_request_id_in_the_allowed_form_is_kept(value: str) -> None:
    assert given_request_id(head((b"X-Request-Id", value.encode()))) == value


@pytest.mark.parametrize(
    "value", [b"", b"x" * 129, b"a b", b"a\n", b"a\r\nx: y", b"a/b", b"\xe9", b"a\x00", b"a,b"]
)
def test_any_other_request_id_is_replaced(value: bytes) -> None:
    assert given_request_id(head((b"x-request-id", value))) is None
    assert given_request_id(head()) is None


@pytest.mark.parametrize(
    ("route", "headers", "loopback", "owner"),
    [
        (Route.MESSAGES, (SESSION,), True, True),
        (Route.OTHER, (SESSION,), True, True),
        (Route.CHAT_COMPLETIONS, (SESSION,), True, True),
        (Route.MESSAGES, (), True, False),
        (Route.MESSAGES, ((b"x-claude-code-session-id", b""),), True, False),
        (Route.OTHER, (), True, False),
        (Route.CHAT_COMPLETIONS, (), True, False),
        (Route.MODELS, (), True, True),
        (Route.COUNT_TOKENS, (), True, True),
        (Route.MESSAGES, (SESSION,), False, False),
        (Route.MODELS, (), False, False),
        (Route.MESSAGES, (SESSION, (b"x-forwarded-for", b"1.2.3.4")), True, False),
        (Route.COUNT_TOKENS, ((b"forwarded", b"for=1.2.3.4"),), True, False),
    ],
)
def test_an_owner_is_on_this_machine_with_a_session_of_claude_code(
    route: Route, headers: Headers, loopback: bool, owner: bool
) -> None:
    assert is_owner(head(*headers, loopback=loopback), route) is owner


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_a_clients_name_is_the_same_for_the_same_credential_alone(one: bytes, two: bytes) -> None:
    name = client_name(head((b"x-api-key", one)), b"salt")
    assert re.fullmatch(r"client-[0-9a-f]{8}", name)
    assert client_name(head((b"X-Api-Key", one), (b"a", two)), b"salt") == name
    assert (client_name(head((b"x-api-key", two)), b"salt") == name) is (one == two)


def test_a_clients_name_cannot_be_found_without_the_salt() -> None:
    asked = head((b"authorization", b"Bearer t"))
    assert client_name(asked, b"one") != client_name(asked, b"two")
    assert client_name(asked, b"one") != client_name(head(), b"one")


def test_a_session_is_what_claude_code_calls_it_unless_it_is_nonsense() -> None:
    def session(value: bytes) -> str | None:
        return session_of(head((b"X-Claude-Code-Session-Id", value)))

    assert session(b"7f1c0f1e-1") == "7f1c0f1e-1"
    assert session(b"x" * 128) == "x" * 128
    assert session(b"x" * 129) is None
    assert session(b"") is None
    assert session_of(head()) is None


def test_a_clients_credential_is_wrapped_whichever_header_carries_it() -> None:
    """The key counts when both are sent, as it does for the name."""
    key = RequestHead("GET", b"/", ((b"X-Api-Key", b"the-key"), (b"Authorization", b"Bearer t")))
    token = RequestHead("GET", b"/", ((b"Authorization", b"Bearer the-token"),))
    assert client_credential(key) == Secret("the-key")
    assert client_credential(token) == Secret("the-token")
    assert client_credential(RequestHead("GET", b"/", ())) is None


def test_an_owners_key_is_the_owner_from_anywhere_and_another_key_from_nowhere() -> None:
    asked = (head(SESSION, loopback=True), head(SESSION, loopback=False))
    for is_his in (True, False):
        key = InboundKey("0a0b0c0d", "ci", b"", b"", owner=is_his)
        assert [is_owner(one, Route.MESSAGES, key) for one in asked] == [is_his, is_his]
    assert not is_owner(head(), Route.MESSAGES, InboundKey("0a", "ci", b"", b"", owner=True))


def test_a_client_has_one_name_whichever_header_carries_its_credential() -> None:
    name = client_name(head((b"x-api-key", b"t")), b"salt")
    assert client_name(head((b"Authorization", b"Bearer t")), b"salt") == name
    assert client_name(head((b"Authorization", b"Bearer  t ")), b"salt") == name
    assert client_name(head((b"Authorization", b"t")), b"salt") == name, "without a scheme"
    assert client_name(head((b"x-api-key", b"t"), (b"authorization", b"Bearer u")), b"salt") == name


def test_whoever_sends_a_login_is_called_as_the_login_is() -> None:
    login = b'{"claudeAiOauth":{"accessToken":"t","x":1},"y":2}'
    assert login_name(login, b"salt") == client_name(head((b"x-api-key", b"t")), b"salt")


@pytest.mark.parametrize(
    "credentials",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b'{"claudeAiOauth":{}}',
        b'{"claudeAiOauth":{"accessToken":""}}',
        b'{"claudeAiOauth":{"accessToken":5}}',
        b'{"claudeAiOauth":{"accessToken":"\xff"}}',
        b'{"claudeAiOauth":' * 5000,
    ],
)
def test_a_file_without_a_login_names_nobody(credentials: bytes) -> None:
    assert login_name(credentials, b"salt") is None

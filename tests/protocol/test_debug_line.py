"""A line of the debug log: no credential, one line, bounded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.debug_line import (
    BODY_CHARACTERS_MAX,
    DebugLine,
    encode_debug_line,
    shown,
    shown_body,
    shown_headers,
)
from protocol.secrets import Secret


@pytest.mark.parametrize(
    "name",
    [b"Authorization", b"x-api-key", b"Cookie", b"set-cookie", b"X-Supervisor-Key", b"x-auth-token",
     b"proxy-authorization", b"x-goog-api-key", b"client-secret"],
)  # fmt: skip
def test_a_header_that_carries_a_credential_is_masked_whole(name: bytes) -> None:
    ((shown_name, value),) = shown_headers(((name, b"plain words"),))
    assert (shown_name, value) == (name.decode(), "***")


def test_other_headers_are_shown_without_what_they_quote() -> None:
    known = Secret("a-plain-credential")
    headers = shown_headers(
        (
            (b"anthropic-ratelimit-tokens-remaining", b"17"),
            (b"x-note", b"sent with a-plain-credential"),
            (b"x-other", b"Bearer abcdefgh12"),
        )
    )
    assert [value for _, value in headers] == ["17", "sent with ***", "Bearer ***"]
    assert shown(b"/v1/x?key=" + known.reveal().encode()) == "/v1/x?key=***"


def test_a_credential_that_a_cut_halves_is_not_shown_in_part() -> None:
    credential = Secret("0123456789" * 40)
    for start in range(BODY_CHARACTERS_MAX - 400, BODY_CHARACTERS_MAX + 900, 13):
        text = "x" * start + credential.reveal() + "y" * 5000
        kept = shown_body(text.encode(), whole=True)
        assert "0123" not in kept
        assert len(kept) <= BODY_CHARACTERS_MAX + 600
        part = shown_body(text.encode()[: BODY_CHARACTERS_MAX + 700], whole=False)
        assert len(part) <= BODY_CHARACTERS_MAX + 600


@pytest.mark.parametrize("nasty", ["\r\n", "\x1b[2J", "\u2028", "\u2029", "\x00", "\x85", "\x7f"])
@given(text=st.text(max_size=30))
def test_nothing_in_it_can_make_a_second_line_or_reach_a_terminal(nasty: str, text: str) -> None:
    body = shown_body(f"{text}{nasty}{text}".encode("utf-8", "replace"), whole=True)
    line = DebugLine(
        at="now", request_id=nasty, attempt=1, account="a", method=nasty, url=nasty,
        request_headers=((nasty, nasty),), bytes_sent=0, detail=nasty, request_body=body,
        response_body=body,
    )  # fmt: skip
    encoded = encode_debug_line(line)
    assert encoded.endswith(b"\n")
    assert len(encoded.decode().splitlines()) == 1
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in encoded.decode()[:-1])
    assert json.loads(encoded)["attempt"] == 1

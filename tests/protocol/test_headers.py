"""What goes on and what does not, byte for byte, in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import Credential
from protocol.headers import HOP_BY_HOP, to_client, to_upstream, with_retry_after
from protocol.request import Headers
from protocol.secrets import Secret
from tests.kit import corpus

KEY = Credential(Secret("key-of-the-account"), bearer=False)
TOKEN = Credential(Secret("token-of-the-account"), bearer=True)
IDENTITY = (b"accept-encoding", b"identity")
BETA = b"anthropic-beta"

NOT_PASSED = {b"host", b"content-length", b"expect", b"accept-encoding"}
OURS = {b"x-account-name", b"x-request-id", b"x-supervisor-key"}


def test_order_case_and_duplicates_are_kept() -> None:
    sent: Headers = (
        (b"X-Stainless-OS", b"Linux"),
        (b"Anthropic-Version", b"2023-06-01"),
        (b"x-thing", b"two"),
        (b"X-Thing", b"one"),
        (b"x-thing", b""),
        (b"anthropic-beta", b"foo-2031-01-01"),
        (b"anthropic-unheard-of", b"\xff\xfe"),
    )
    assert to_upstream(sent, None) == [*sent, IDENTITY]
    assert to_client(sent, []) == list(sent)


@pytest.mark.parametrize(
    "name",
    [b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
     b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"],
)  # fmt: skip
def test_a_hop_by_hop_header_goes_no_further_in_either_direction(name: bytes) -> None:
    headers: Headers = ((name.title(), b"x"), (b"a", b"b"))
    assert to_upstream(headers, None) == [(b"a", b"b"), IDENTITY]
    assert to_client(headers, []) == [(b"a", b"b")]


def test_no_other_headers_words_are_taken_for_names_of_headers() -> None:
    headers: Headers = ((b"User-Agent", b"x-app, claude-cli"), (b"x-app", b"cli"))
    assert to_upstream(headers, None) == [*headers, IDENTITY]


def test_what_the_connection_header_names_goes_no_further() -> None:
    headers: Headers = (
        (b"Connection", b"close, X-Private"),
        (b"connection", b",  x-other ,"),
        (b"x-private", b"1"),
        (b"X-Other", b"2"),
        (b"x-stays", b"3"),
    )
    assert to_upstream(headers, None) == [(b"x-stays", b"3"), IDENTITY]
    assert to_client(headers, []) == [(b"x-stays", b"3")]


@pytest.mark.parametrize("name", sorted(NOT_PASSED | OURS))
def test_framing_and_what_is_meant_for_us_does_not_go_upstream(name: bytes) -> None:
    assert to_upstream(((name.upper(), b"1"),), None) == [IDENTITY]
    assert to_upstream(((name.upper(), b"1"),), KEY)[0] == IDENTITY


CREDENTIALS: Headers = (
    (b"Authorization", b"Bearer of-the-client"),
    (b"X-Api-Key", b"of-the-client"),
    (b"authorization", b"Basic b2Y="),
    (b"Cookie", b"session=of-the-client"),
)


def test_with_a_key_the_clients_credentials_are_replaced_by_x_api_key_alone() -> None:
    assert to_upstream(((b"a", b"1"), *CREDENTIALS, (b"b", b"2")), KEY) == [
        (b"a", b"1"),
        (b"b", b"2"),
        IDENTITY,
        (b"x-api-key", b"key-of-the-account"),
    ]


def test_with_a_token_they_are_replaced_by_a_bearer_alone_with_its_beta() -> None:
    assert to_upstream(((b"a", b"1"), *CREDENTIALS), TOKEN) == [
        (b"a", b"1"),
        IDENTITY,
        (b"authorization", b"Bearer token-of-the-account"),
        (BETA, b"oauth-2025-04-20"),
    ]


def test_in_passthrough_the_clients_own_credentials_stay() -> None:
    assert to_upstream(CREDENTIALS, None) == [*CREDENTIALS, IDENTITY]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([b"a-1,b-2"], [b"a-1,b-2,oauth-2025-04-20"]),
        ([b""], [b"oauth-2025-04-20"]),
        ([b"  "], [b"oauth-2025-04-20"]),
        ([b"a-1, oauth-2025-04-20 ,b"], [b"a-1, oauth-2025-04-20 ,b"]),
        ([b"a-1", b"b-2"], [b"a-1", b"b-2,oauth-2025-04-20"]),
        ([b"oauth-2025-04-20", b"b-2"], [b"oauth-2025-04-20", b"b-2"]),
        ([b"a-1", b"oauth-2025-04-20"], [b"a-1", b"oauth-2025-04-20"]),
        ([b"xoauth-2025-04-20"], [b"xoauth-2025-04-20,oauth-2025-04-20"]),
    ],
)
def test_the_beta_of_a_token_is_there_once(before: list[bytes], after: list[bytes]) -> None:
    sent = to_upstream(tuple((b"Anthropic-Beta", value) for value in before), TOKEN)
    assert [value for name, value in sent if name == b"Anthropic-Beta"] == after
    assert not any(name == BETA for name, _ in sent), "no second header beside the client's"


def test_what_stands_around_the_betas_stays_there() -> None:
    sent: Headers = ((b"a", b"1"), (BETA, b"a-1"), (b"b", b"2"), (b"c", b"3"))
    assert to_upstream(sent, TOKEN) == [
        (b"a", b"1"),
        (BETA, b"a-1,oauth-2025-04-20"),
        (b"b", b"2"),
        (b"c", b"3"),
        IDENTITY,
        TOKEN.header(),
    ]


def test_a_key_adds_no_beta() -> None:
    assert (BETA, b"a-1") in to_upstream(((BETA, b"a-1"),), KEY)


@pytest.mark.parametrize("name", corpus.names("claude-code"))
def test_a_real_clients_headers_pass_but_for_its_credential(name: str) -> None:
    fixture = corpus.load(name)
    sent = tuple(
        (header.encode(), value.encode())
        for header, value in fixture["exchanges"][0]["request"]["headers"]
    )
    kept = [
        pair
        for pair in sent
        if pair[0].lower() not in NOT_PASSED | HOP_BY_HOP | {b"authorization", b"x-api-key"}
    ]
    assert to_upstream(sent, KEY) == [*kept, IDENTITY, KEY.header()]


names = st.sampled_from(
    [b"A", b"x-b", b"Cookie", b"authorization", b"X-API-Key", b"anthropic-beta", b"host", b"te"]
)


@given(st.lists(st.tuples(names, st.sampled_from([b"", b"1", b"oauth-2025-04-20"]))))
def test_there_is_never_more_than_one_credential(headers: list[tuple[bytes, bytes]]) -> None:
    for credential in (KEY, TOKEN):
        sent = to_upstream(tuple(headers), credential)
        shown = [
            pair for pair in sent if pair[0].lower() in (b"authorization", b"x-api-key", b"cookie")
        ]
        assert shown == [credential.header()]
        betas = [
            token
            for name, value in sent
            if name.lower() == BETA
            for token in value.split(b",")
        ]  # fmt: skip
        given_betas = sum(n.lower() == BETA and v == b"oauth-2025-04-20" for n, v in headers)
        expected = max(given_betas, 1) if credential.bearer else given_betas
        assert betas.count(b"oauth-2025-04-20") == expected


def test_ours_come_after_the_upstreams_own() -> None:
    upstream: Headers = (
        (b"Content-Type", b"text/event-stream"),
        (b"anthropic-ratelimit-unified-status", b"allowed"),
        (b"set-cookie", b"a"),
        (b"Set-Cookie", b"b"),
        (b"Content-Length", b"3"),
    )
    added = [(b"x-supervisor-account", b"work")]
    assert to_client(upstream, added) == [*upstream, *added]


def test_a_transfer_coding_overrides_the_length() -> None:
    headers: Headers = ((b"Transfer-Encoding", b"chunked"), (b"content-length", b"7"))
    assert to_client(headers, []) == []


@pytest.mark.parametrize(
    ("value", "seconds", "expected"),
    [
        (b"60", 30, b"30"),
        (b"30", 30, b"30"),
        (b"30.0", 30, b"30.0"),
        (b"5", 0, b"0"),
        (b" 7 ", 30, b" 7 "),
        (b"0", 30, b"0"),
        (b"2.5", 30, b"2.5"),
        (b"30.5", 30, b"30"),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", 30, b"30"),
        (b"-1", 30, b"30"),
        (b"", 30, b"30"),
        (b"9" * 5000, 30, b"30"),
    ],
)
def test_a_retry_after_is_lowered_and_never_raised(
    value: bytes, seconds: int, expected: bytes
) -> None:
    headers = [(b"a", b"99"), (b"Retry-After", value)]
    assert with_retry_after(headers, seconds) == [(b"a", b"99"), (b"Retry-After", expected)]


def test_an_answer_without_retry_after_gets_none() -> None:
    assert with_retry_after([(b"a", b"99")], 3) == [(b"a", b"99")]

"""Who is let in, for every combination that a browser, a stranger or the client may send."""

from __future__ import annotations

import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.gate import (
    HEADER_BYTES_MAX,
    HEADER_COUNT_MAX,
    TARGET_BYTES_MAX,
    Rules,
    check,
    check_size,
    host_name,
    is_local,
    is_loopback_name,
)
from protocol.request import Headers, Peer, RequestHead, Route, route_of
from protocol.secrets import Secret

HOST = (b"host", b"127.0.0.1:4080")
LOCAL = Peer()
STRANGER = Peer("192.0.2.7", loopback=False)
TOKEN = "the-token-of-this-proxy"
OPEN_RULES = Rules()
TOKEN_RULES = Rules(token=Secret(TOKEN))
PASSTHROUGH_RULES = Rules(token=Secret(TOKEN), pool=False)


def status(
    method: str, path: str, *headers: tuple[bytes, bytes], rules: Rules = OPEN_RULES,
    peer: Peer = LOCAL, host: tuple[bytes, bytes] | None = HOST,
) -> int:  # fmt: skip
    """The status of the refusal, or 0."""
    sent: Headers = ((host,) if host else ()) + headers
    head = RequestHead(method, path.encode(), sent, peer)
    problem = check(head, route_of(method, head.path), rules)
    return problem.status if problem else 0


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "value",
    [
        "localhost", "localhost:4080", "LOCALHOST:4080", "localhost.", "localhost.:80",
        " localhost\t", "127.0.0.1", "127.0.0.1:1", "127.1.2.3", "127.255.255.254:80", "[::1]",
        "[::1]:4080", "[0:0:0:0:0:0:0:1]", "127.0.0.1.", "localhost:",
    ],
)  # fmt: skip
def test_loopback_has_many_names(value: str) -> None:
    assert is_loopback_name(host_name(value))
    assert status("GET", "/status", host=(b"Host", value.encode())) == 0


@pytest.mark.promise("X2")
@pytest.mark.parametrize(
    "value",
    [
        "", " ", ".", ":", ":4080", "evil.com", "127.0.0.1.evil.com", "localhost.evil.com",
        "evil.com:127.0.0.1", "evil.localhost.com", "notlocalhost", "localhost..", "user@localhost",
        "localhost@evil.com", "localhost:80@evil.com", "127.0.0.1:80@evil.com", "localhost#evil.com",
        "localhost/evil.com", "localhost?evil.com", "localhost,evil.com", "localhost evil.com",
        "localhost:80:80", "localhost:evil", "[::1", "::1", "[::1]evil.com", "[::1].evil.com",
        "[::1]:80@evil.com", "[localhost]", "[::1%evil]", "[::2]", "[fe80::1]", "0.0.0.0", "[::]",
        "128.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.01", "localhost\x00",
        "localhost\x85", "lo\u017fcalhost", "192.168.1.1",
    ],
)  # fmt: skip
def test_what_only_looks_like_loopback_is_refused_on_every_route(value: str) -> None:
    assert not is_loopback_name(host_name(value))
    host = (b"host", value.encode())
    for method, path in (("POST", "/v1/messages"), ("GET", "/status"), ("GET", "/health")):
        assert status(method, path, host=host) == 403


@pytest.mark.promise("X2")
def test_a_request_without_host_or_with_a_foreign_one_beside_ours_is_refused() -> None:
    assert status("GET", "/health", host=None) == 403
    assert status("GET", "/health", (b"Host", b"evil.com")) == 403
    assert status("GET", "/health", (b"Host", b"localhost")) == 0


def test_configured_names_are_ours() -> None:
    rules = Rules(hosts=frozenset({"proxy.lan", "fe80::1"}))
    for value in (b"proxy.lan", b"PROXY.lan.:4080", b"[FE80::1]:4080"):
        assert status("GET", "/health", rules=rules, host=(b"host", value)) == 0
    for value in (b"x.proxy.lan", b"proxy.lan.evil.com", b""):
        assert status("GET", "/health", rules=rules, host=(b"host", value)) == 403


@given(st.text())
def test_no_host_makes_it_raise_and_a_name_has_no_separators(value: str) -> None:
    assert not set(host_name(value)) & set("@/[]#? ")
    is_loopback_name(value)


# ---------------------------------------------------------------------------------------- origins


@pytest.mark.promise("X2")
@pytest.mark.parametrize("method_path", [("POST", "/v1/messages"), ("GET", "/status"),
                                         ("GET", "/health"), ("OPTIONS", "/v1/messages"),
                                         ("POST", "/status/drain"), ("HEAD", "/")])  # fmt: skip
@pytest.mark.parametrize(
    "origin",
    [b"https://evil.com", b"null", b"", b"http://127.0.0.1:4080", b"http://localhost:4080",
     b"https://app.lan.evil.com", b"http://app.lan"],
)  # fmt: skip
def test_no_origin_is_allowed_unless_it_is_configured(
    method_path: tuple[str, str], origin: bytes
) -> None:
    rules = Rules(origins=frozenset({"https://app.lan"}), token=Secret(TOKEN))
    for headers in ((), ((b"x-api-key", TOKEN.encode()),)):
        assert status(*method_path, (b"Origin", origin), *headers, rules=rules) == 403
    both = ((b"origin", b"https://app.lan"), (b"origin", origin), (b"x-api-key", TOKEN.encode()))
    assert status(*method_path, *both, rules=rules) == 403


def test_a_configured_origin_is_let_in_in_any_case() -> None:
    rules = Rules(origins=frozenset({"https://app.lan"}))
    assert status("POST", "/v1/messages", (b"origin", b"https://APP.lan"), rules=rules) == 0


@pytest.mark.promise("X2")
def test_another_sites_page_is_refused_even_without_an_origin() -> None:
    """To a browser each port of this machine is the same site: a page of another one of them may
    send a GET without an origin, with which it could list models at the expense of an account."""
    for value in (b"cross-site", b"Cross-Site ", b"same-site"):
        for path in ("/health", "/v1/models"):
            assert status("GET", path, (b"sec-fetch-site", value)) == 403
    for value in (b"none", b"same-origin"):
        assert status("GET", "/health", (b"sec-fetch-site", value)) == 0
    allowed = Rules(origins=frozenset({"http://localhost:3000"}))
    page = ((b"origin", b"http://localhost:3000"), (b"sec-fetch-site", b"same-site"))
    assert status("GET", "/health", *page, rules=allowed) == 0


# ----------------------------------------------------------------------------------------- access

MANAGEMENT = [("GET", "/"), ("GET", "/status"), ("GET", "/metrics"), ("GET", "/dashboard"),
              ("POST", "/status/drain"), ("GET", "/nothing"), ("GET", "/health/"),
              ("POST", "/health"), ("GET", "/v1/../status"), ("GET", "//v1/messages")]  # fmt: skip
RELAYED = [("POST", "/v1/messages"), ("POST", "/api/v1/messages?beta=true"), ("GET", "/v1/files")]
OPEN = [("GET", "/health"), ("GET", "/health/live"), ("HEAD", "/health"), ("HEAD", "/health/live"),
        ("HEAD", "/"), ("HEAD", "/api/hello"), ("GET", "/api/hello")]  # fmt: skip
FORWARDED = [(b"Forwarded", b"for=1.2.3.4"), (b"X-Forwarded-For", b"1.2.3.4"),
             (b"x-forwarded-host", b"a"), (b"X-Forwarded-Proto", b"https")]  # fmt: skip


@pytest.mark.parametrize("method_path", MANAGEMENT)
def test_management_without_a_token_is_for_this_machine_alone(
    method_path: tuple[str, str],
) -> None:
    assert status(*method_path) == 0
    assert status(*method_path, peer=STRANGER) == 401
    for header in FORWARDED:
        assert status(*method_path, header) == 401


@pytest.mark.parametrize("method_path", OPEN)
def test_liveness_and_the_clients_probes_are_open(method_path: tuple[str, str]) -> None:
    for rules, peer in itertools.product((OPEN_RULES, TOKEN_RULES), (Peer(), STRANGER)):
        assert status(*method_path, rules=rules, peer=peer) == 0


@pytest.mark.promise("X1")
@pytest.mark.parametrize("method_path", [*MANAGEMENT, *RELAYED])
@pytest.mark.parametrize("peer", [Peer(), STRANGER])
def test_with_a_token_everybody_needs_it(method_path: tuple[str, str], peer: Peer) -> None:
    good = TOKEN.encode()
    for rules in (TOKEN_RULES, PASSTHROUGH_RULES):
        assert status(*method_path, rules=rules, peer=peer) == 401
        for wrong in (b"", b" ", good + b"x", good[:-1], good.upper(), b"\xff\xfe", b"***"):
            for name in (b"x-supervisor-key", b"x-api-key"):
                assert status(*method_path, (name, wrong), rules=rules, peer=peer) == 401
            bearer = (b"authorization", b"Bearer " + wrong)
            assert status(*method_path, bearer, rules=rules, peer=peer) == 401
        assert status(*method_path, (b"X-Supervisor-Key", good), rules=rules, peer=peer) == 0
    for header in (
        (b"X-Api-Key", good), (b"Authorization", b"bearer " + good),
        (b"authorization", b"Bearer  " + good + b" "),
    ):  # fmt: skip
        assert status(*method_path, header, rules=TOKEN_RULES, peer=peer) == 0
    assert status(*method_path, (b"authorization", good), rules=TOKEN_RULES, peer=peer) == 401
    assert status(*method_path, (b"authorization", b"Basic " + good), rules=TOKEN_RULES) == 401


def test_in_passthrough_the_usual_headers_carry_the_clients_own_credential() -> None:
    header = (b"x-api-key", TOKEN.encode())
    assert status("POST", "/v1/messages", header, rules=PASSTHROUGH_RULES) == 401
    assert status("GET", "/status", header, rules=PASSTHROUGH_RULES) == 0


@pytest.mark.promise("X1")
def test_a_token_of_any_characters_is_compared_byte_for_byte() -> None:
    rules = Rules(token=Secret("schlüssel"))
    header = (b"x-api-key", "schlüssel".encode())
    assert status("GET", "/status", header, rules=rules) == 0
    assert status("GET", "/status", (b"x-api-key", b"schl\xfcssel"), rules=rules) == 401


@pytest.mark.promise("X1")
@pytest.mark.parametrize("says", [True, False])
def test_what_takes_the_same_time_for_any_token_is_all_that_decides(
    says: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hmac.compare_digest` has no early end; and every credential is compared, whatever the others
    were. Made to lie, it lets in who is wrong and keeps out who is right."""
    compared: list[tuple[bytes, bytes]] = []

    def lying(offered: bytes, wanted: bytes) -> bool:
        compared.append((offered, wanted))
        return says

    monkeypatch.setattr(hmac, "compare_digest", lying)
    right, wrong = TOKEN.encode(), b"wrong"
    headers = ((b"x-supervisor-key", right), (b"x-api-key", wrong), (b"authorization", b"Bearer z"))
    assert status("GET", "/status", *headers, rules=TOKEN_RULES) == (0 if says else 401)
    assert compared == [(right, right), (wrong, right), (b"z", right)]


def test_relayed_routes_without_a_token_are_open_to_whom_the_listener_reaches() -> None:
    for method_path in RELAYED:
        assert status(*method_path, peer=STRANGER) == 0


@pytest.mark.parametrize("header", FORWARDED)
def test_a_forwarded_request_is_never_local(header: tuple[bytes, bytes]) -> None:
    assert is_local(RequestHead("GET", b"/", ()))
    assert not is_local(RequestHead("GET", b"/", (header,)))
    assert not is_local(RequestHead("GET", b"/", (), STRANGER))


# ------------------------------------------------------------------------------------ media types

LENGTH = (b"content-length", b"2")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), 0),
        (((b"content-length", b"0"),), 0),
        (((b"content-length", b"0"), (b"content-type", b"text/plain")), 0),
        ((LENGTH, (b"Content-Type", b"application/json")), 0),
        ((LENGTH, (b"content-type", b"Application/JSON; charset=utf-8")), 0),
        ((LENGTH,), 415),
        ((LENGTH, (b"content-type", b"text/plain")), 415),
        ((LENGTH, (b"content-type", b"text/plain; application/json")), 415),
        ((LENGTH, (b"content-type", b"application/x-www-form-urlencoded")), 415),
        ((LENGTH, (b"content-type", b"application/jsonx")), 415),
        (((b"transfer-encoding", b"chunked"),), 415),
        (((b"transfer-encoding", b"chunked"), (b"content-length", b"0")), 415),
        (((b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")), 0),
    ],
)
def test_a_management_post_wants_json_or_nothing(headers: Headers, expected: int) -> None:
    assert status("POST", "/status/reload", *headers) == expected


def test_a_relayed_body_may_be_of_any_type() -> None:
    assert status("POST", "/v1/files", LENGTH, (b"content-type", b"multipart/form-data")) == 0


# ----------------------------------------------------------------------------------------- bounds


@pytest.mark.promise("C5")
@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        (b"/" * TARGET_BYTES_MAX, (), 0),
        (b"/" * (TARGET_BYTES_MAX + 1), (), 414),
        (b"/", ((b"a", b"b"),) * HEADER_COUNT_MAX, 0),
        (b"/", ((b"a", b"b"),) * (HEADER_COUNT_MAX + 1), 431),
        (b"/", ((b"a", b"b" * (HEADER_BYTES_MAX - 1)),), 0),
        (b"/", ((b"a", b"b" * HEADER_BYTES_MAX),), 431),
    ],
)
def test_a_request_head_is_bounded(target: bytes, headers: Headers, expected: int) -> None:
    problem = check_size(target, headers)
    assert (problem.status if problem else 0) == expected


def test_the_bounds_are_those_that_are_documented() -> None:
    assert (TARGET_BYTES_MAX, HEADER_COUNT_MAX, HEADER_BYTES_MAX) == (8192, 100, 65536)


def test_a_refusal_says_what_to_do_and_quotes_little() -> None:
    head = RequestHead("GET", b"/status", ((b"host", b"x" * 9000),))
    problem = check(head, Route.OWN, OPEN_RULES)
    assert problem is not None
    assert "allowed_hosts" in problem.message
    assert len(problem.message) < 300


OWN_KEY = "llm-supervisor-0123456789abcdef"


@pytest.mark.parametrize(
    ("pool", "header", "expected"),
    [
        (False, (b"authorization", b"Bearer " + OWN_KEY.encode()), 401),
        (False, (b"x-api-key", OWN_KEY.encode()), 401),
        (False, (b"authorization", b"Bearer another"), 0),
        (True, (b"authorization", b"Bearer " + OWN_KEY.encode()), 0),
    ],
)
def test_our_own_key_goes_to_no_upstream(
    pool: bool, header: tuple[bytes, bytes], expected: int
) -> None:
    rules = Rules(pool=pool, own_key=Secret(OWN_KEY))
    assert status("POST", "/v1/messages", header, rules=rules) == expected
    assert status("GET", "/status", header, rules=rules) == 0


@pytest.mark.parametrize(
    ("method", "target"),
    [("CONNECT", b"api.anthropic.com:443"), ("POST", b"http://api.anthropic.com/v1/messages")],
)
def test_who_takes_us_for_a_forward_proxy_is_told_so_and_not_to_add_the_upstreams_name(
    method: str, target: bytes
) -> None:
    head = RequestHead(method, target, ((b"host", b"api.anthropic.com"),))
    problem = check(head, route_of(method, head.path), OPEN_RULES)
    assert problem is not None
    assert problem.status == 403
    assert "not a forward proxy" in problem.message
    assert "allowed_hosts" not in problem.message

"""Who is let in where keys are asked for, and what everybody else is told to do."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import Problem
from protocol.gate import Rules, check, shown_key
from protocol.inbound_keys import InboundKey, Keyring
from protocol.request import Peer, RequestHead, route_of
from protocol.secrets import Secret
from tests.protocol.test_gate import HOST, LOCAL, OPEN, OWN_KEY, STRANGER, TOKEN
from tests.protocol.test_inbound_keys import NOW, key

OWNERS, OWNERS_SECRET = key("mine", number=1, owner=True)
GUESTS, GUESTS_SECRET = key("theirs", number=2, days=1, text="b" * 43)
GONE, GONE_SECRET = key("gone", number=3, text="c" * 43)
KEYRING = Keyring({
    one.id: one for one in (OWNERS, GUESTS, msgspec.structs.replace(GONE, revoked=NOW - 5))
})  # fmt: skip
KEYS = Rules(keyring=KEYRING)
KEYS_AND_OWN = Rules(keyring=KEYRING, own_key=Secret(OWN_KEY))
KEYS_AND_TOKEN = Rules(keyring=KEYRING, token=Secret(TOKEN))
MESSAGES, STATUS = ("POST", "/v1/messages"), ("GET", "/status")
TOMORROW = NOW + 86400


def refused(
    method_path: tuple[str, str], secret: str | Secret | None, rules: Rules = KEYS,
    name: bytes = b"x-api-key", now: float = NOW, peer: Peer = LOCAL,
) -> Problem | None:  # fmt: skip
    shown = secret.reveal() if isinstance(secret, Secret) else secret
    headers = (HOST,) if shown is None else (HOST, (name, shown.encode()))
    method, path = method_path
    head = RequestHead(method, path.encode(), headers, peer)
    return check(head, route_of(method, head.path), rules, now)


def status(problem: Problem | None) -> int:
    return problem.status if problem else 0


@pytest.mark.promise("X1")
@pytest.mark.parametrize("peer", [LOCAL, STRANGER])
@pytest.mark.parametrize(
    ("secret", "requests", "management"),
    [
        (OWNERS_SECRET, 0, 0),
        (GUESTS_SECRET, 0, 403),
        (GONE_SECRET, 401, 401),
        ("sk-sup-00000000-" + "x" * 43, 401, 401),
        ("anything", 401, 401),
        (None, 401, 401),
    ],
)
def test_a_valid_key_sends_requests_and_only_an_owners_manages(
    secret: Secret | str | None, requests: int, management: int, peer: Peer
) -> None:
    assert status(refused(MESSAGES, secret, peer=peer)) == requests
    assert status(refused(STATUS, secret, peer=peer)) == management


def test_what_is_open_needs_no_key() -> None:
    for method_path in OPEN:
        assert refused(method_path, None, peer=STRANGER) is None


def test_a_key_that_has_expired_and_one_that_was_revoked_are_told_apart() -> None:
    expired, gone = refused(MESSAGES, GUESTS_SECRET, now=TOMORROW), refused(MESSAGES, GONE_SECRET)
    assert expired is not None
    assert gone is not None
    assert (expired.status, "has expired" in expired.message) == (401, True)
    assert (gone.status, "is revoked" in gone.message) == (401, True)
    assert refused(MESSAGES, GUESTS_SECRET, now=TOMORROW - 1) is None


def test_without_accounts_a_key_comes_in_the_proxys_own_header_alone() -> None:
    """The usual ones carry the client's own credential upstream."""
    rules = Rules(keyring=KEYRING, pool=False)
    assert status(refused(MESSAGES, OWNERS_SECRET, rules)) == 401
    assert refused(MESSAGES, OWNERS_SECRET, rules, name=b"x-supervisor-key") is None
    assert refused(STATUS, OWNERS_SECRET, rules) is None


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("method_path", [MESSAGES, STATUS])
@pytest.mark.parametrize("asks_for", ["keys", "token"])
def test_the_header_that_a_refusal_names_is_one_that_lets_in(
    asks_for: str, method_path: tuple[str, str], pool: bool
) -> None:
    rules = Rules(pool=pool, keyring=KEYRING) if asks_for == "keys" else Rules(
        pool=pool, token=Secret(TOKEN)
    )  # fmt: skip
    secret = OWNERS_SECRET if asks_for == "keys" else Secret(TOKEN)
    told = refused(method_path, None, rules)
    assert told is not None
    usual = pool or method_path == STATUS
    named = "x-api-key" if usual else "x-supervisor-key"
    assert f" in the {named} header" in told.message
    assert refused(method_path, secret, rules, name=named.encode()) is None


@pytest.mark.parametrize("rules", [KEYS, Rules(token=Secret(TOKEN))])
@pytest.mark.parametrize(
    "method_path",
    [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/models/x")],
)
def test_clients_of_openais_dialect_are_told_what_they_can_do(
    rules: Rules, method_path: tuple[str, str]
) -> None:
    """They have one setting, the API key, and send it as a bearer token."""
    told = refused(method_path, None, rules)
    assert told is not None
    assert "as Authorization: Bearer" in told.message
    assert "x-api-key" not in told.message
    secret = OWNERS_SECRET if rules is KEYS else Secret(TOKEN)
    bearer = f"Bearer {secret.reveal()}"
    assert refused(method_path, bearer, rules, name=b"authorization") is None


def test_the_clients_of_this_machine_are_let_in_with_what_they_were_given() -> None:
    for method_path in (MESSAGES, STATUS):
        assert refused(method_path, OWN_KEY, KEYS_AND_OWN) is None
        assert status(refused(method_path, OWN_KEY, KEYS_AND_OWN, peer=STRANGER)) == 401
        assert status(refused(method_path, OWN_KEY + "x", KEYS_AND_OWN)) == 401
        assert status(refused(method_path, None, KEYS_AND_OWN)) == 401
        assert status(refused(method_path, OWN_KEY)) == 401, "nobody was given any"


def test_beside_keys_the_token_opens_everything_too() -> None:
    for method_path in (MESSAGES, STATUS):
        assert refused(method_path, TOKEN, KEYS_AND_TOKEN, peer=STRANGER) is None
        assert status(refused(method_path, GONE_SECRET, KEYS_AND_TOKEN)) == 401


@pytest.mark.parametrize(
    ("rules", "secret", "found"),
    [
        (KEYS, GUESTS_SECRET, GUESTS.id),
        (KEYS, GONE_SECRET, GONE.id),  # whoever asks looks at its state
        (KEYS, "anything", None),
        (Rules(), GUESTS_SECRET, None),
    ],
)
def test_whose_key_a_request_shows(rules: Rules, secret: Secret | str, found: str | None) -> None:
    shown = secret.reveal() if isinstance(secret, Secret) else secret
    head = RequestHead("POST", b"/v1/messages", (HOST, (b"x-api-key", shown.encode())))
    key: InboundKey | None = shown_key(head, route_of("POST", head.path), rules)
    assert (key.id if key else None) == found

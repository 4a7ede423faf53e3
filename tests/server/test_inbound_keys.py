"""Clients with keys of this proxy, from the wire: who comes in, what it costs them, what is logged."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol import inbound_keys, key_file
from protocol.inbound_keys import InboundKey, KeyLimits
from server.scripted import text_message
from supervisor.key_store import KeyStore
from tests.kit.live import Live, accounts, serve_live

ASKED = json.dumps(
    {"model": "claude-opus-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
).encode()
SESSION = ("x-claude-code-session-id", "3f0c7a5e")
KEYS = "[access]\nkeys = true\n"


@contextlib.asynccontextmanager
async def live(config: str, state: Path) -> AsyncGenerator[Live, None]:
    state.mkdir(mode=0o700)
    async with trio.open_nursery() as nursery:
        one = await nursery.start(serve_live, config, state)
        for credential in ("key-work", "sk-ant-oat01-of-the-owner", "a-key-of-the-clients"):
            one.upstream.script(credential, then=text_message("hello"))
        yield one
        nursery.cancel_scope.cancel()


class Keyed:
    """A program whose clients need keys, and its key file."""

    def __init__(self, one: Live, store: KeyStore) -> None:
        self.live = one
        self.store = store

    def make(self, name: str = "ci", *, owner: bool = False, days: float = 9, **limits: Any) -> str:
        """A new key, in the file."""
        key, secret = inbound_keys.made(
            name,
            secrets.token_bytes(inbound_keys.RANDOM_BYTES),
            time.time(),
            days=days,
            owner=owner,
            limits=KeyLimits(**limits),
            text=secrets.token_urlsafe(32),
        )
        self.store.change(lambda file: key_file.added(file, key))
        return secret.reveal()

    def entry(self, name: str = "ci") -> InboundKey:
        return next(key for key in self.store.read().keys if key.name == name)

    async def look(self) -> None:
        """The program has read the file as it is now. The owner of the machine may always say so."""
        answered = await self.live.ask("POST", "/status/keys/reload", self.own())
        assert answered.status == 200, answered

    def own(self) -> list[tuple[str, str]]:
        """What the commands of this machine's owner send."""
        text = (self.store.path.parent / "client.key").read_text().strip()
        return [("authorization", f"Bearer {text}")]

    async def message(self, *headers: tuple[str, str]) -> Any:
        return await self.live.ask("POST", "/v1/messages", list(headers), ASKED)


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    state = tmp_path / "state"
    async with live(accounts("work") + "\n" + KEYS, state) as one:
        await one.ask("GET", "/status")  # the first request makes the owner's key
        yield Keyed(one, KeyStore(state))


def key_header(key: str) -> tuple[str, str]:
    return ("x-api-key", key)


async def test_without_a_key_nobody_comes_in_and_hears_how_to_get_one(keyed: Keyed) -> None:
    for headers in ([], [key_header("sk-ant-api03-mine")], [("authorization", "Bearer x")]):
        answered = await keyed.message(*headers)
        assert answered.status == 401
        error = json.loads(answered.body)["error"]
        assert error["type"] == "authentication_error"
        assert "supervisor keys create" in error["message"]
    assert keyed.live.upstream.requests == []


async def test_who_asks_for_models_in_openais_way_is_refused_in_openais_shape(keyed: Keyed) -> None:
    version = ("anthropic-version", "2023-06-01")
    theirs = await keyed.live.ask("GET", "/v1/models", [])
    anthropics = await keyed.live.ask("GET", "/v1/models", [version])
    assert (theirs.status, anthropics.status) == (401, 401)
    assert json.loads(theirs.body).keys() == {"error"}
    assert "as Authorization: Bearer" in json.loads(theirs.body)["error"]["message"]
    assert json.loads(anthropics.body)["type"] == "error"
    assert "x-api-key" in json.loads(anthropics.body)["error"]["message"]


@pytest.mark.parametrize(
    "shown",
    [
        lambda key: ("x-api-key", key),
        lambda key: ("authorization", f"Bearer {key}"),
        lambda key: ("x-supervisor-key", key),
    ],
)
async def test_a_key_comes_in_by_any_of_its_headers_and_goes_to_no_upstream(
    keyed: Keyed, shown: Any
) -> None:
    key = keyed.make()
    await keyed.look()
    answered = await keyed.message(shown(key))
    assert answered.status == 200
    (seen,) = keyed.live.upstream.requests
    assert all(key.encode() not in value for _, value in seen.headers)
    assert seen.header("x-api-key") == "key-work"


async def test_a_new_key_is_noticed_without_being_told(keyed: Keyed) -> None:
    key = keyed.make()
    with trio.fail_after(10):
        while (await keyed.message(key_header(key))).status != 200:  # noqa: ASYNC110 - a file
            await trio.sleep(0.05)


async def test_a_revoked_key_is_turned_away_on_an_open_connection_too(keyed: Keyed) -> None:
    key = keyed.make()
    await keyed.look()
    async with await keyed.live.connect() as wire:
        headers = [key_header(key)]
        assert (await wire.ask("POST", "/v1/messages", headers, ASKED)).status == 200
        key_id = keyed.entry().id
        keyed.store.change(lambda file: key_file.revoked(file, key_id, time.time()))
        await keyed.look()
        answered = await wire.ask("POST", "/v1/messages", headers, ASKED)
    assert answered.status == 401
    assert "revoked" in json.loads(answered.body)["error"]["message"]


async def test_a_key_that_expires_is_turned_away_from_that_moment_on(keyed: Keyed) -> None:
    key = keyed.make(days=2 / 86400)
    await keyed.look()
    async with await keyed.live.connect() as wire:
        headers = [key_header(key)]
        assert (await wire.ask("POST", "/v1/messages", headers, ASKED)).status == 200
        expires = keyed.entry().expires
        assert expires is not None
        await trio.sleep(max(0.0, expires - time.time()))
        answered = await wire.ask("POST", "/v1/messages", headers, ASKED)
    assert answered.status == 401


async def test_an_owners_key_that_is_over_manages_nothing(keyed: Keyed) -> None:
    expiring, revoked = keyed.make("a", owner=True, days=1 / 86400), keyed.make("b", owner=True)
    key_id = keyed.entry("b").id
    keyed.store.change(lambda file: key_file.revoked(file, key_id, time.time()))
    expires = keyed.entry("a").expires
    assert expires is not None
    await trio.sleep(max(0.0, expires - time.time()))
    await keyed.look()
    for key, said in ((expiring, "expired"), (revoked, "revoked")):
        answered = await keyed.live.ask("GET", "/status", [key_header(key)])
        assert answered.status == 401
        assert said in json.loads(answered.body)["error"]["message"]


async def test_only_an_owners_key_manages(keyed: Keyed) -> None:
    plain, owner = keyed.make("ci"), keyed.make("me", owner=True)
    await keyed.look()
    assert (await keyed.live.ask("GET", "/status")).status == 401
    assert (await keyed.live.ask("GET", "/status", [key_header(plain)])).status == 403
    answered = await keyed.live.ask("GET", "/status", [key_header(owner)])
    assert answered.status == 200
    listed = await keyed.live.ask("GET", "/status/keys", [key_header(owner)])
    names = [key["name"] for key in json.loads(listed.body)["keys"]]
    assert names == ["ci", "me"]
    assert plain.encode() not in listed.body
    assert (await keyed.live.ask("GET", "/health/live")).status == 200


async def test_the_machines_owner_always_manages_and_is_served(keyed: Keyed) -> None:
    assert (await keyed.live.ask("GET", "/status", keyed.own())).status == 200
    assert (await keyed.message(*keyed.own())).status == 200
    forwarded = [*keyed.own(), ("x-forwarded-for", "192.0.2.7")]
    assert (await keyed.message(*forwarded)).status == 401


async def test_requests_a_minute_are_counted_by_key(keyed: Keyed) -> None:
    first = keyed.make("a", requests_per_minute=2)
    second = keyed.make("b", requests_per_minute=2)
    await keyed.look()
    statuses = [(await keyed.message(key_header(first))).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    limited = await keyed.message(key_header(first))
    assert 1 <= int(limited.header("retry-after") or 0) <= 60
    assert (await keyed.message(key_header(second))).status == 200


async def test_what_was_spent_stops_the_next_request(keyed: Keyed) -> None:
    key = keyed.make(budget_per_day=0.000001)
    await keyed.look()
    assert (await keyed.message(key_header(key))).status == 200
    with trio.fail_after(20):
        while (answered := await keyed.message(key_header(key))).status == 200:  # noqa: ASYNC110
            await trio.sleep(0.1)  # the price is worked out after the answer
    assert answered.status == 429
    assert "today" in json.loads(answered.body)["error"]["message"]


async def test_the_keys_name_is_the_client_of_the_log(keyed: Keyed) -> None:
    key = keyed.make("team-blue")
    await keyed.look()
    await keyed.message(key_header(key), ("user-agent", "curl/8"))
    with trio.fail_after(10):
        while True:
            answered = await keyed.live.ask("GET", "/status/requests", keyed.own())
            lines = json.loads(answered.body)["requests"]
            if lines:
                break
            await trio.sleep(0.02)
    assert lines[0]["client"] == "team-blue"
    assert key not in json.dumps(lines)


async def test_a_subscription_serves_an_owners_key_and_nobody_elses(tmp_path: Path) -> None:
    subscription = '[[account]]\nname = "mine"\ntoken = "sk-ant-oat01-of-the-owner"\n'
    state = tmp_path / "state"
    async with live(subscription + KEYS, state) as one:
        await one.ask("GET", "/status")
        keyed = Keyed(one, KeyStore(state))
        plain, owner = keyed.make("ci"), keyed.make("me", owner=True)
        await keyed.look()
        assert (await keyed.message(key_header(plain), SESSION)).status == 503
        assert (await keyed.message(key_header(owner), SESSION)).status == 200
        assert (await keyed.message(key_header(owner))).status == 503
        assert (await keyed.message(*keyed.own(), SESSION)).status == 200


async def test_without_accounts_the_key_travels_beside_the_clients_own_credential(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    async with live(KEYS, state) as one:
        await one.ask("GET", "/status")
        keyed = Keyed(one, KeyStore(state))
        key = keyed.make()
        await keyed.look()
        theirs = ("x-api-key", "a-key-of-the-clients")
        assert (await keyed.message(theirs)).status == 401
        assert (await keyed.message(key_header(key))).status == 401
        assert (await keyed.message(theirs, ("x-supervisor-key", key))).status == 200
    (seen,) = one.upstream.requests
    assert seen.header("x-api-key") == "a-key-of-the-clients"
    assert seen.header("x-supervisor-key") is None


async def test_keys_that_are_switched_on_count_from_the_reload_on(tmp_path: Path) -> None:
    async with live(accounts("work"), tmp_path / "state") as one:
        assert (await one.ask("POST", "/v1/messages", [], ASKED)).status == 200
        text = f'[upstream]\nbase_url = "{one.upstream_url}"\n{accounts("work")}\n{KEYS}'
        one.program.change(text)
        assert (await one.ask("POST", "/status/reload")).status == 200
        assert (await one.ask("POST", "/v1/messages", [], ASKED)).status == 401


async def test_metrics_have_the_keys_name_and_never_what_a_client_calls_itself(
    keyed: Keyed,
) -> None:
    key = keyed.make("team-blue", requests_per_minute=2)
    await keyed.look()
    for agent in ("curl/8", "evil-1", "evil-2"):
        await keyed.message(key_header(key), ("user-agent", agent))
    await keyed.message(*keyed.own(), ("user-agent", "evil-3"))
    with trio.fail_after(20):
        while True:
            text = (await keyed.live.ask("GET", "/metrics", keyed.own())).body.decode()
            if 'team-blue",status="429"' in text and 'status="200"' in text:
                break
            await trio.sleep(0.05)
    assert 'supervisor_client_requests_total{client="team-blue",status="200"} 2.0' in text
    assert 'supervisor_client_requests_total{client="team-blue",status="429"} 1.0' in text
    assert 'supervisor_client_tokens_total{client="team-blue",kind="output"}' in text
    assert "evil" not in text
    assert "curl" not in text
    assert key not in text


async def test_status_shows_the_keys_with_what_they_have_spent(keyed: Keyed) -> None:
    key = keyed.make("ci", requests_per_minute=9, budget_per_day=5)
    await keyed.look()
    assert (await keyed.message(key_header(key))).status == 200
    for target in ("/status", "/status/keys"):
        (shown,) = json.loads((await keyed.live.ask("GET", target, keyed.own())).body)["keys"]
        assert (shown["name"], shown["requests_per_minute"]) == ("ci", 9)
        assert shown["used"]["requests_last_minute"] == 1
        assert shown["used"]["tokens_last_minute"] is None
        assert shown["last_used"] is not None, "the file has it only after a while"
        assert "last_used" not in shown["used"]
        assert key not in json.dumps(shown)


async def test_without_keys_status_has_none(tmp_path: Path) -> None:
    async with live(accounts("work"), tmp_path / "state") as one:
        assert json.loads((await one.ask("GET", "/status")).body)["keys"] is None


async def test_an_owners_key_counts_behind_a_reverse_proxy_too(tmp_path: Path) -> None:
    subscription = '[[account]]\nname = "mine"\ntoken = "sk-ant-oat01-of-the-owner"\n'
    state = tmp_path / "state"
    forwarded = ("x-forwarded-for", "192.0.2.7")
    async with live(subscription + KEYS, state) as one:
        await one.ask("GET", "/status")
        keyed = Keyed(one, KeyStore(state))
        plain, owner = keyed.make("ci"), keyed.make("me", owner=True)
        await keyed.look()
        assert (await keyed.message(key_header(owner), SESSION, forwarded)).status == 200
        assert (await keyed.message(key_header(plain), SESSION, forwarded)).status == 503

"""Bugs, planted by replacing a function of the program, to see that the checker finds them.

Each names the one function that it spoils, the faults without which nobody would notice, and how
many seeds it may take. To plant another: write a spoiler, add a row to `PLANTS`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import msgspec
import trio

from actors.login_writing import LoginWriter
from actors.mailbox import Inbox
from actors.reply import Reply
from protocol import account as account_machine
from protocol import eligibility, gate, local_limit, repeats
from protocol.benches import CooldownPolicy
from protocol.inbound_keys import InboundKey
from server import relay
from server.attempt import Served
from server.client_stream import ClientStream
from server.delivery import Delivery
from server.desk import Desk
from server.upstream_connection import UpstreamConnection
from server.upstream_port import UpstreamFault
from supervisor.access import Access
from supervisor.engine import CHECK_EVERY, Supervisor
from tests.kit.memory_credentials import MemoryCredentials
from tests.sim.history import Account
from tests.sim.scenario import API, FAR, KEY_FAULTS, Scenario, draw

Spoil = Callable[[Any], Any]
"""Gets the real function, gives the bad one."""


@dataclass(frozen=True)
class Plant:
    """`rule` is the one that must find it, within `seeds` seeds."""

    name: str
    owner: Any
    function: str
    spoil: Spoil
    rule: str
    seeds: int
    rates: dict[str, float] = field(default_factory=dict)


def _every(nth: int) -> Callable[[], bool]:
    counted = itertools.count(1)
    return lambda: next(counted) % nth == 0


def lost_reply(real: Any) -> Any:
    now = _every(50)
    return lambda reply, value: True if now() else real(reply, value)


def double_answer(real: Any) -> Any:
    async def send_all(stream: ClientStream, data: bytes) -> None:
        await real(stream, data)
        if bytes(data).endswith(b"0\r\n\r\n"):
            await real(stream, b"0\r\n\r\n")

    return send_all


def forgotten_cooldown(_: Any) -> Any:
    return lambda known, *_, **__: known


def leaked_lease(real: Any) -> Any:
    now = _every(9)

    async def release(desk: Desk, lease: Any) -> None:
        if not now():
            await real(desk, lease)

    return release


def not_durable(_: Any) -> Any:
    async def replace_unseen(
        disk: MemoryCredentials, path: Any, before: bytes | None, data: bytes
    ) -> bool:
        # In the page cache: whoever reads the file sees it, a power cut loses it.
        disk.files[path] = (data, disk.files[path][1] + 1)
        return True

    return replace_unseen


def unwritten_pair(_: Any) -> Any:
    async def write(writer: LoginWriter, unwritten: Any) -> bool:
        return True

    return write


def replay(real: Any) -> Any:
    async def attempt(*arguments: Any, **named: Any) -> Any:
        result = await real(*arguments, **named)
        if isinstance(result, Served) and result.terminal == "upstream_closed":
            result = await real(*arguments, **named)
        return result

    return attempt


def wrong_host(real: Any) -> Any:
    now = _every(7)

    async def fresh(desk: Desk, lease: Any) -> Any:
        lease = await real(desk, lease)
        return msgspec.structs.replace(lease, base_url=f"http://{FAR}") if now() else lease

    return fresh


def never_disabled(_: Any) -> Any:
    return lambda state, enabled: state


def reordered(real: Any) -> Any:
    now = _every(11)

    async def add(delivery: Delivery, chunk: bytes) -> None:
        await real(delivery, chunk[5:10] + chunk[:5] + chunk[10:] if now() else chunk)

    return add


def long_bench(real: Any) -> Any:
    return lambda policy, level: 100 * policy.maximum


def not_redelivered(real: Any) -> Any:
    return lambda inbox, *, redeliver: real(inbox, redeliver=False)


def truncated(real: Any) -> Any:
    async def read(connection: UpstreamConnection, *arguments: Any) -> bytes:
        try:
            data: bytes = await real(connection, *arguments)
        except UpstreamFault:
            return b""
        return data

    return read


def always_free(_: Any) -> Any:
    return lambda sent, limit, now: None


def always_valid(_: Any) -> Any:
    return lambda key, now: "valid"


def never_prepared(_: Any) -> Any:
    async def prepare(access: Access, config: Any) -> None:
        return

    return prepare


def open_to_strangers(real: Any) -> Any:
    return lambda key, *rest: None if key is None else real(key, *rest)


def impatient(_: Any) -> Any:
    async def watch(engine: Supervisor) -> None:
        while True:
            await trio.sleep(CHECK_EVERY)
            for group in engine._groups.values():
                group.check(trio.current_time(), 0.0)

    return watch


def tried_again(real: Any) -> Any:
    def passed_over(state: Any, account: Any, ask: Any, now: float) -> str | None:
        anew = msgspec.structs.replace(ask, tried=(), shunned=())
        found: str | None = real(state, account, anew, now)
        return found

    return passed_over


def endless_budget(real: Any) -> Any:
    return lambda known, firsts: (known, True)


PLANTS = (
    Plant("a lost reply", Reply, "send", lost_reply, "refusals_have_reasons", 3),
    Plant("a double answer", ClientStream, "send_all", double_answer, "every_request_has_one_end", 2),
    Plant("a cooldown forgotten", account_machine, "benched", forgotten_cooldown,
          "told_rests_are_kept", 3, {"429 retry-after": 0.3}),
    Plant("a lease leaked", Desk, "release", leaked_lease, "quiet_is_perfect", 2),
    Plant("a token used before it is durable", MemoryCredentials, "replace", not_durable,
          "tokens_are_durable_and_current", 2),
    Plant("a used refresh token sent again", LoginWriter, "write", unwritten_pair,
          "tokens_are_durable_and_current", 2),
    Plant("a replay after the first byte", relay, "attempt", replay,
          "nothing_is_replayed", 3, {"cut": 0.3}),
    Plant("a credential at the wrong host", Desk, "fresh", wrong_host, "credentials_are_at_home", 2),
    Plant("an attempt on a disabled account", account_machine, "set_enabled", never_disabled,
          "the_disabled_rest", 6, {"disable": 1.0}),
    Plant("bytes out of order", Delivery, "add", reordered, "bytes_are_the_upstreams", 2),
    Plant("a bench beyond its cap", CooldownPolicy, "step", long_bench,
          "benches_end", 3, {"429 bare": 0.3}),
    Plant("a request lost with its crash", Inbox, "abandon", not_redelivered,
          "quiet_is_perfect", 4, {"crash with message": 0.15}),
    Plant("a part shown as the whole", UpstreamConnection, "read", truncated,
          "bytes_are_the_upstreams", 3, {"cut": 0.3}),
    Plant("retries without end", eligibility, "passed_over", tried_again,
          "attempts_stay_in_budget", 4, {"5xx": 0.6}),
    Plant("repeats without a budget", repeats, "asked", endless_budget,
          "repeats_stay_in_budget", 3, {"5xx": 0.9, "529": 0.9}),
    Plant("a revoked key that opens", InboundKey, "state", always_valid,
          "keys_open_what_they_should", 3, {"key revoked": 1.0}),
    Plant("a key's limit forgotten", local_limit, "free_at", always_free,
          "keys_open_what_they_should", 4, {"key revoked": 0.1}),
    Plant("keys asked for before they are known", Access, "prepare", never_prepared,
          "keys_open_what_they_should", 4, {"keys switched": 1.0}),
    Plant("a door that is open without a key", gate, "_check_key", open_to_strangers,
          "keys_open_what_they_should", 2, {"keys switched": 0.1}),
    Plant("a pause taken for a stuck actor", Supervisor, "_watch", impatient,
          "the_log_knows_no_surprise", 6, {"stopped": 1.0, "slow answer": 0.1}),
)  # fmt: skip


@contextlib.contextmanager
def planted(plant: Plant) -> Generator[None, None, None]:
    """Inside, the program has the bug."""
    with mock.patch.object(
        plant.owner, plant.function, plant.spoil(getattr(plant.owner, plant.function))
    ):
        yield


def short(seed: int, rates: dict[str, float]) -> Scenario:
    """A run with these faults alone, over in a few minutes."""
    drawn, storm = draw(seed), 40.0
    keyed = any(kind in rates for kind in KEY_FAULTS)
    keys = tuple(
        Account(f"key{number}", f"sk-ant-api03-key{number}-0123456789", API, enabled=True)
        for number in range(2)
    )
    return replace(
        drawn,
        accounts=(Account("login0", "", API, enabled=True), *keys),
        settings={
            **drawn.settings, "max_attempts": 0, "max_wait": 0.0, "max_hold": 0.0,
            "maximum": 30.0, "auth": 20.0,
        },
        strategy="round-robin",
        fallback=False,
        passthrough=False,
        keyed=keyed,
        asked=keyed,
        lanes=("express", "express"),
        storm=storm,
        clients=5,
        pause=1.0,
        token_lifetime=70.0,
        rates=rates,
        windows=dict.fromkeys(rates, ((0.0, storm),)),
    )  # fmt: skip

"""Clients of a run: Claude Code and others, patient and not, each request recorded byte by byte."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11
import trio

from server.scripted import MemoryStream
from tests.kit.http_client import MemoryClient, Received
from tests.kit.memory_keys import OWNER_KEY
from tests.sim.history import Ended, Got, Head, Left, Sent, Status
from tests.sim.upstream import mark

if TYPE_CHECKING:
    from tests.sim.world import World

PATIENCE = 1500.0
"""Seconds that a client waits for anything; longer than the program may take for anything."""

STALLED_AFTER = 55.0
"""The program may cut off a client that takes nothing for about a minute."""

OWN_KEY = "client-own-key-0123456789"
PATHS = {"count": "/v1/messages/count_tokens", "chat": "/v1/chat/completions"}
CLIENT_KEYS = 3
"""So many inbound keys are in use at a time, where they are asked for."""

KEYS_PER_MINUTE = (0, 0, 8)
"""What each of them may send; 0: any number."""

STRANGERS = 0.05
"""How many requests come from somebody without a key, where others have one."""

MODELS = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5")


@dataclass(frozen=True)
class Wish:
    """What a request asks for, and how its client behaves: reads `at_once`, is `slow`, has
    `stopped` reading, or is a `leaver` after so many bytes (-1: before the head)."""

    method: str
    target: str
    body: bytes | None
    headers: dict[str, str]
    stream: bool = False
    relayed: bool = True
    manner: str = "at once"
    leaves_after: int = 0
    dialect: str = "anthropic"


def wish(world: World, rng: random.Random, number: int, session: str) -> Wish:
    """Any request that a client may have."""
    kind = rng.choices(
        ("stream", "plain", "count", "models", "health", "status", "pinned", "odd", "chat"),
        weights=(50, 20, 8, 5, 3, 5, 4, 3, 8),
    )[0]
    headers = {"x-api-key": _own_key(world, rng), "anthropic-version": "2023-06-01"}
    if rng.random() < 0.7:
        headers["x-claude-code-session-id"] = session
    query = f"?beta=true&mark={mark(number)}"
    if kind in ("health", "status"):
        return Wish("GET", f"/{kind}", None, owner_headers(world), relayed=False)
    if kind == "models":
        # With providers the list is the program's own.
        return Wish("GET", f"/v1/models{query}", None, headers, relayed=not world.scenario.fallback)
    if kind == "odd":
        target = rng.choice(("/v1/messages", "/v1/files", "/v1/messages/batches"))
        return Wish("POST", target + query, b"{not json", headers)
    if kind == "pinned" and world.scenario.accounts:
        headers["x-account-name"] = rng.choice(world.scenario.accounts).name
    streams = kind != "plain" and rng.random() < 0.8
    return _message(world, rng, number, headers, PATHS.get(kind, "/v1/messages"), streams=streams)


def _own_key(world: World, rng: random.Random) -> str:
    """What a client shows: a key of the program's where there are some, else whatever it has."""
    if not world.scenario.keyed or (not world.calm and rng.random() < STRANGERS):
        return OWN_KEY
    return world.made_keys[-1 - rng.randrange(CLIENT_KEYS)][1]


def owner_headers(world: World) -> dict[str, str]:
    """Of a request that manages."""
    return {"authorization": f"Bearer {OWNER_KEY}"} if world.scenario.keyed else {}


def _message(
    world: World,
    rng: random.Random,
    number: int,
    headers: dict[str, str],
    path: str,
    *,
    streams: bool,
) -> Wish:
    streams = streams and path != PATHS["count"]
    words = f"{mark(number)} " + "please " * rng.choice((1, 10, 1000))
    document: dict[str, Any] = {
        "model": rng.choice(MODELS),
        "max_tokens": 100,
        "messages": [{"role": "user", "content": words}],
    }
    if streams:
        document["stream"] = True
    target = f"{path}?mark={mark(number)}"
    manner, leaves = _manner(world, rng, number)
    return Wish(
        "POST", target, json.dumps(document).encode(), headers,
        streams, True, manner, leaves, "openai" if path == PATHS["chat"] else "anthropic",
    )  # fmt: skip


def _manner(world: World, rng: random.Random, number: int) -> tuple[str, int]:
    for kind in ("slow client", "stopped client", "leaver"):
        if world.dice.hit(kind, f"request {number}"):
            return kind, rng.choice((-1, 0, 1, 300, 5000))
    return "at once", 0


class Session:
    """A client with one connection at a time."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._random = world.dice.stream(f"client {name}")
        self._client: MemoryClient | None = None
        self._life = 0
        self._patience = trio.CancelScope()

    async def run(self) -> None:
        """Asks again and again until the storm is over."""
        while not self._world.dice.calm:
            await trio.sleep(self._random.expovariate(1 / self._world.scenario.pause))
            for _ in range(self._random.choice((1, 1, 2, 5))):
                number = self._world.number()
                got = await self.ask(number, wish(self._world, self._random, number, self._name))
                if got is None or got.status >= 400:
                    await trio.sleep(self._random.uniform(0.5, 10))
                if self._random.random() < 0.3:
                    await self.hang_up()
        await self.hang_up()

    async def ask(self, number: int, wish: Wish) -> Received | None:
        """One request to its end, whatever that is."""
        world = self._world
        if self._client is not None and _is_over(self._client):
            await self.hang_up()
        if self._client is None:
            stream, self._life = await world.connect()
            self._client = MemoryClient(stream)
        client = self._client
        life, lane = self._life, world.lane(self._life)
        world.history.add(
            Sent(
                trio.current_time(), number, life, lane, wish.method, wish.target, wish.stream,
                wish.relayed, wish.headers.get("x-account-name", ""),
                wish.headers.get("x-api-key", ""), wish.dialect, world.calm,
            )
        )  # fmt: skip
        how, stalled, received = "silence", False, None
        try:
            with trio.move_on_after(PATIENCE) as self._patience:
                how, stalled, received = await self._exchange(number, wish, client)
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            how = "broken"
        unasked = b""
        if how == "complete":
            unasked = await _unasked(client)
        world.history.add(Ended(trio.current_time(), number, how, unasked, stalled))
        closes = received is not None and received.header("connection") == "close"
        if how != "complete" or closes or unasked:
            await self.hang_up()
        return received

    async def _exchange(
        self, number: int, wish: Wish, client: MemoryClient
    ) -> tuple[str, bool, Received | None]:
        # Refused in the middle of the body, there may be an answer all the same.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await client.send(wish.method, wish.target, wish.body, wish.headers)
        leaver = wish.manner == "leaver"
        if leaver and wish.leaves_after < 0:
            await trio.sleep(self._random.uniform(0, 2))
            return "left", False, None
        received = await client.receive_head()
        if received.status == 0:
            return "broken", False, None
        history = self._world.history
        headers = tuple((key.decode(), value.decode("latin-1")) for key, value in received.headers)
        history.add(Head(trio.current_time(), number, received.status, headers))
        seen, stalled = 0, False
        while True:
            if leaver and seen >= wish.leaves_after:
                return "left", stalled, received
            stalled = await self._dawdle(wish, seen) or stalled
            more = await client.receive_more(received)
            if len(received.body) > seen:
                history.add(Got(trio.current_time(), number, received.body[seen:]))
                seen = len(received.body)
            if not more:
                break
        self._note_status(wish, received)
        return ("complete" if received.complete else "broken"), stalled, received

    async def _dawdle(self, wish: Wish, seen: int) -> bool:
        """Waits before the next read; True if for so long that the program may give up."""
        seconds = 0.0
        if wish.manner == "slow client":
            seconds = self._random.choice((0.0, 0.1, 3.0))
        elif wish.manner == "stopped client" and seen >= wish.leaves_after:
            seconds = self._random.choice((10.0, 200.0))
        self._patience.deadline += seconds  # it does not count its own waits
        await trio.sleep(seconds)
        return seconds > STALLED_AFTER

    def _note_status(self, wish: Wish, received: Received) -> None:
        if wish.target == "/status" and received.status == 200 and received.complete:
            world = self._world
            try:
                document = received.json()
            except ValueError:
                document = None
            if not isinstance(document, dict):
                world.history.add(Left(trio.current_time(), "status that cannot be read", 1))
                return
            world.history.add(Status(trio.current_time(), document, world.wall(), world.calm))

    async def hang_up(self) -> None:
        """Closes the connection, if there is one."""
        if self._client is not None:
            await self._client.leave()
            self._client = None


def _is_over(client: MemoryClient) -> bool:
    """Whether the program has closed an idle connection."""
    assert isinstance(client.stream, MemoryStream)
    return client.stream.is_readable


async def _unasked(client: MemoryClient) -> bytes:
    """What has come although the answer was complete."""
    await trio.sleep(0.01)
    found = bytes(client._parser.trailing_data[0])
    stream = client.stream
    assert isinstance(stream, MemoryStream)
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while stream.is_readable and (data := await stream.receive_some()):
            found += data
    return found


async def post(world: World, target: str) -> tuple[int, Any]:
    """The owner's own request to a management route."""
    stream, _ = await world.connect()
    client = MemoryClient(stream)
    with trio.move_on_after(120):
        try:
            received = await client.post(target, b"", owner_headers(world))
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            return 0, None
        finally:
            await trio.aclose_forcefully(stream)
        return (received.status if received.complete else 0), (
            received.json() if received.complete and received.body else None
        )
    return 0, None

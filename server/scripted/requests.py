"""What the scripted upstream saw: one record per request, and a gate to hold answers at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import trio

Outcome: TypeAlias = Literal["complete", "left", "cut", "reset", "cancelled", "failed"]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


@dataclass(slots=True, eq=False)
class SeenRequest:
    """A request as it came over the wire, and what became of it.

    `connection` counts the connections of the upstream from 0, `nth_on_connection` the requests of
    that connection from 0, `number` all requests from 0. `started_at` and `left_at` are trio times.

    `outcome` stays None while the request is being answered, then it is one of: `complete` (the
    whole answer was handed over), `left` (the peer went first), `cut` and `reset` (the script ended
    the answer), `cancelled` (the upstream was stopped), `failed` (the answer could not be
    played, see `ScriptedUpstream.script_errors`).
    """

    number: int
    connection: int
    nth_on_connection: int
    method: bytes
    target: bytes
    headers: RawHeaders = field(repr=False)
    started_at: float
    http_version: bytes = b"1.1"
    body: bytes = field(default=b"", repr=False)
    left_at: float | None = None
    outcome: Outcome | None = None
    left: trio.Event = field(default_factory=trio.Event, repr=False)
    done: trio.Event = field(default_factory=trio.Event, repr=False)

    @property
    def completed(self) -> bool:
        """Whether the whole answer was handed over."""
        return self.outcome == "complete"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.split(b"?", 1)[0].decode("latin-1")

    @property
    def endpoint(self) -> str:
        """The path from `/v1/` on, whatever prefix a base URL put before it; else the path."""
        path = self.path
        at = path.find("/v1/")
        return path[at:] if at >= 0 else path

    @property
    def query(self) -> str:
        """What follows the question mark of the target."""
        return self.target.partition(b"?")[2].decode("latin-1")

    def header(self, name: str) -> str | None:
        """The first header of that name, in whatever case; None without one."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None

    @property
    def api_key(self) -> str | None:
        """The `x-api-key` header."""
        return self.header("x-api-key")

    @property
    def bearer(self) -> str | None:
        """The token of an `Authorization: Bearer` header."""
        kind, _, token = (self.header("authorization") or "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else None

    @property
    def credential(self) -> str | None:
        """The API key, else the bearer token, else None."""
        return self.api_key if self.api_key is not None else self.bearer

    @property
    def both_credentials(self) -> bool:
        """Whether both credential headers came, which a proxy must never send."""
        return self.api_key is not None and self.bearer is not None

    def json(self) -> dict[str, object]:
        """The body as a JSON object.

        Raises ValueError when it is not one, or is nested too deeply to read.
        """
        try:
            value: object = json.loads(self.body)
        except RecursionError:
            raise ValueError("the body is nested too deeply") from None
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")
        return cast("dict[str, object]", value)


class Gate:
    """Holds the answers that wait at it; opened for good, or for so many passages."""

    def __init__(self) -> None:
        self._passages = trio.Semaphore(0)
        self._open = False

    @property
    def waiting(self) -> int:
        """How many answers stand at the gate."""
        return self._passages.statistics().tasks_waiting

    def open(self) -> None:
        """Let everybody pass from now on."""
        self._open = True
        self.step(self.waiting)

    def step(self, passages: int = 1) -> None:
        """Let that many waits pass, of those that stand here or come later."""
        for _ in range(passages):
            self._passages.release()

    async def wait(self) -> None:
        """Pass when allowed. Without a deadline: the one who steps the gate says when."""
        if self._open:
            await trio.lowlevel.checkpoint()
        else:
            await self._passages.acquire()

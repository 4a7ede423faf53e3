"""What the scripted upstream answers, as plain data.

An `Answer` says everything that reaches the wire: status, headers, body and how the body is framed,
when each part of it is sent, and how the answer ends when it does not end well. Nothing here does
I/O; `connection.py` plays it. Builders for the Anthropic API are in `messages.py` and `errors.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from server.scripted.requests import SeenRequest

Headers: TypeAlias = tuple[tuple[str, str], ...]
Framing: TypeAlias = Literal["auto", "content-length", "chunked", "close"]
InsteadOfHead: TypeAlias = Literal["close", "reset", "stall"]


class Waitable(Protocol):
    """Anything a stream can be held at: a `trio.Event`, a `Gate`, or a test's own object."""

    async def wait(self) -> object: ...


class Send(msgspec.Struct, frozen=True):
    """Send these bytes of the body."""

    data: bytes


class Pause(msgspec.Struct, frozen=True):
    """Send nothing for this many seconds."""

    seconds: float


class Wait(msgspec.Struct, frozen=True):
    """Hold the answer until the gate lets it pass: a name (`ScriptedUpstream.gate`) or an object."""

    gate: str | Waitable


class Cut(msgspec.Struct, frozen=True):
    """Close the connection here, without the end that the framing promises."""


class Reset(msgspec.Struct, frozen=True):
    """Reset the connection here: the peer gets an error instead of an end (TCP: RST)."""


class Stall(msgspec.Struct, frozen=True):
    """Send nothing more, for as long as the peer stays."""


Step: TypeAlias = Send | Pause | Wait | Cut | Reset | Stall


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to one request.

    `body` is sent at once; `parts`, when given, takes its place and is sent step by step.
    `framing` "auto" means content-length for a `body` and chunked for `parts`; "close" ends the
    body by closing. A `content-length` in `headers` is sent as it stands, true or not; a
    `connection: close` there closes the connection after the answer.
    `piece_bytes` splits what is sent into pieces of that many bytes, each its own write (and chunk).
    `delay` is the time in seconds before anything is sent; `instead_of_head` is what happens then
    in place of an answer: the connection is closed, reset, or kept without a word.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    parts: tuple[Step, ...] | None = None
    framing: Framing = "auto"
    piece_bytes: int | None = None
    delay: float = 0.0
    instead_of_head: InsteadOfHead | None = None

    def header(self, name: str) -> str | None:
        """The first header of that name, in whatever case; None without one."""
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    def with_headers(self, headers: Mapping[str, str] | Headers) -> Answer:
        """The same answer with more headers; one of the same name replaces what was there."""
        added = tuple(headers.items()) if isinstance(headers, Mapping) else headers
        names = {name.lower() for name, _ in added}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in names)
        return msgspec.structs.replace(self, headers=kept + added)

    def after(self, seconds: float) -> Answer:
        """The same answer, its first byte this many seconds later."""
        return msgspec.structs.replace(self, delay=self.delay + seconds)

    def in_pieces(self, piece_bytes: int) -> Answer:
        """The same answer, its body sent in pieces of at most that many bytes."""
        return msgspec.structs.replace(self, piece_bytes=piece_bytes)

    def interrupted(self, sends: int, *steps: Step) -> Answer:
        """The same answer up to and with its first `sends` parts, then `steps` (a cut by default).

        For a stream a part is an event, so `text_stream("hi").interrupted(1)` is cut right after
        `message_start`.
        """
        kept: list[Step] = []
        left = sends
        for step in self.steps():
            if isinstance(step, Send):
                if left == 0:
                    break
                left -= 1
            kept.append(step)
        framing = "content-length" if self.parts is None else self.framing
        answer = msgspec.structs.replace(self, parts=(*kept, *(steps or (Cut(),))), framing=framing)
        if framing == "content-length" and self.header("content-length") is None:
            return answer.with_headers({"content-length": str(self.body_length())})
        return answer

    def steps(self) -> tuple[Step, ...]:
        """What is to be done after the head."""
        if self.parts is not None:
            return self.parts
        return (Send(self.body),) if self.body else ()

    def body_length(self) -> int:
        """Bytes of body that this answer sends when nobody interrupts it."""
        return sum(len(step.data) for step in self.steps() if isinstance(step, Send))

    def whole_body(self) -> bytes:
        """The body that a patient client reads."""
        return b"".join(step.data for step in self.steps() if isinstance(step, Send))


Answerer: TypeAlias = "Callable[[SeenRequest], Answer]"
"""Looks at a request (its body too) and answers it."""

Source: TypeAlias = "Answer | Answerer"
"""One line of a script."""


def no_answer(*, delay: float = 0.0) -> Answer:
    """The connection is closed before any byte of an answer."""
    return Answer(instead_of_head="close", delay=delay)


def reset_before_head(*, delay: float = 0.0) -> Answer:
    """The connection is reset before any byte of an answer."""
    return Answer(instead_of_head="reset", delay=delay)


def stall_before_head() -> Answer:
    """The request is taken and never answered, for as long as the client stays."""
    return Answer(instead_of_head="stall")


def paced(sends: Iterable[bytes], pause: float = 0.0) -> tuple[Step, ...]:
    """One `Send` each, with `pause` seconds between two of them."""
    steps: list[Step] = []
    for data in sends:
        if steps and pause:
            steps.append(Pause(pause))
        steps.append(Send(data))
    return tuple(steps)

"""What a client does in these tests: streams that the test holds open until it has seen enough."""

from __future__ import annotations

import json
from types import TracebackType

import msgspec
import trio

from server.scripted import Answer, Wait, text_stream
from tests.kit.process import Supervised
from tests.kit.wire import Answered, Headers, Wire

JSON = [("content-type", "application/json"), ("anthropic-version", "2023-06-01")]
GATE = "end"


def question(*, stream: bool) -> bytes:
    """The body of a request for a message."""
    turns = [{"role": "user", "content": "hello"}]
    asked = {"model": "claude-opus-5-5", "max_tokens": 64, "stream": stream, "messages": turns}
    return json.dumps(asked).encode()


def held_stream(gate: str = GATE) -> Answer:
    """A stream that stops after its first words until the upstream's gate of that name opens."""
    whole = text_stream("one two three")
    steps = whole.steps()
    return msgspec.structs.replace(whole, parts=(*steps[:4], Wait(gate), *steps[4:]))


async def ask(process: Supervised, headers: Headers | None = None) -> Answered:
    """One whole message, on a connection of its own."""
    return await process.ask(
        "POST", "/v1/messages", [*JSON, *(headers or [])], question(stream=False)
    )


class Stream:
    """A streamed request whose first words have come."""

    def __init__(self, wire: Wire, head: Answered) -> None:
        self.wire = wire
        self.head = head

    @classmethod
    async def begun(cls, url: str, headers: Headers | None = None) -> Stream:
        """Opens a connection and a stream on it."""
        wire = await Wire.to(url)
        await wire.send("POST", "/v1/messages", [*JSON, *(headers or [])], question(stream=True))
        head = await wire.answer_head()
        assert head.status == 200, (head, await wire.ended())
        await wire.read_until(b"content_block_delta")
        return cls(wire, head)

    @property
    def account(self) -> str | None:
        """Who serves it."""
        return self.head.header("x-supervisor-account")

    async def ended_well(self) -> bool:
        """Reads it to its end; whether that is the one upstream sent."""
        rest = await self.wire.read_until(b"\r\n0\r\n\r\n")
        return b"message_stop" in rest

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await trio.aclose_forcefully(self.wire.stream)

"""What the tests of this folder say and read."""

from __future__ import annotations

import json

import trio

ASK: dict[str, object] = {
    "model": "claude-opus-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "hi"}],
}
ASK_STREAM = {**ASK, "stream": True}
GET = b"GET /v1/models HTTP/1.1\r\nhost: upstream.test\r\n\r\n"


def events_of(body: bytes) -> list[dict[str, object]]:
    """The data of each event of a stream; that its name matches its type is checked here."""
    events = []
    for block in body.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


async def connect(base_url: str) -> trio.SocketStream:
    """A raw TCP connection to the upstream."""
    host, port = base_url.removeprefix("http://").split(":")
    return await trio.open_tcp_stream(host, int(port))


async def read_until(stream: trio.abc.Stream, mark: bytes) -> bytes:
    """What arrives up to the mark, and what came with it; ends early at the end of the stream."""
    seen = b""
    while mark not in seen:
        data = await stream.receive_some(65536)
        if not data:
            break
        seen += data
    return seen


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    """All that arrives until the peer ends."""
    return b"".join([bytes(data) async for data in stream])

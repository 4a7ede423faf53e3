"""The benchmark's upstream: fixed bytes over raw sockets, so that it is never the bottleneck.

A process of its own: prints its port, then serves until it is terminated. What it answers is the
value of `bench` in the query of the request:

    json        2 KB of JSON at once
    late-json   the same after LATE_SECONDS
    short       a stream of SHORT_EVENTS events, at once and complete
    flood       a stream without end, as fast as it is read, one write per event
    paced       a stream without end, an event every PACE_SECONDS that says when it was written
    hold        a stream that is silent after its first events
    close-idle  closes every idle connection, then this one after its answer
    state       how many connections there ever were, and how many have an answer under way
"""

from __future__ import annotations

import gc
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable

import trio
from wire import STAMP_DIGITS, Line

ANSWER_BYTES = 2048
SHORT_EVENTS = 8
PACE_SECONDS = 0.05
LATE_SECONDS = 0.1
LISTEN_BACKLOG = 1024

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODE = re.compile(rb"[?&]bench=([a-z-]+)")


def _json_body() -> bytes:
    message = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-bench-1",
        "content": [{"type": "text", "text": ""}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 345},
    }
    filler = "x" * (ANSWER_BYTES - len(json.dumps(message)))
    return json.dumps({**message, "content": [{"type": "text", "text": filler}]}).encode()


def _json_answer(body: bytes, *, close: bool = False) -> bytes:
    lines = [
        b"HTTP/1.1 200 OK",
        b"content-type: application/json",
        b"request-id: req_bench",
        b"anthropic-ratelimit-requests-limit: 4000",
        b"anthropic-ratelimit-requests-remaining: 3999",
        b"content-length: %d" % len(body),
        *([b"connection: close"] if close else []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _event(name: str, **fields: object) -> bytes:
    data = json.dumps({"type": name, **fields}, separators=(",", ":"))
    event = f"event: {name}\ndata: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


def _delta(text: str) -> bytes:
    return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


ANSWER = _json_answer(_json_body())
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\nrequest-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
PREFACE = _event("message_start", message={"id": "msg_bench", "content": []}) + _event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)
DELTA = _delta("y" * STAMP_DIGITS)
BEFORE_STAMP, _, AFTER_STAMP = DELTA.partition(b"y" * STAMP_DIGITS)
STREAM_END = _event("message_stop") + b"0\r\n\r\n"


class Upstream:
    """Serves connections; counts them."""

    def __init__(self) -> None:
        self._idle: set[Line] = set()
        self._busy: set[Line] = set()
        self._accepted = 0
        self._answers: dict[bytes, Callable[[Line], Awaitable[bool]]] = {
            b"json": self._json,
            b"late-json": self._late_json,
            b"short": self._short,
            b"flood": self._flood,
            b"paced": self._paced,
            b"hold": self._hold,
            b"close-idle": self._close_idle,
            b"state": self._state,
        }

    async def serve(self, accepted: trio.SocketStream) -> None:
        """One connection, to its end."""
        line = Line(socket.socket(fileno=accepted.socket.detach()))
        self._idle.add(line)
        self._accepted += 1
        try:
            await self._requests(line)
        except (OSError, trio.ClosedResourceError):
            return  # the client has left
        finally:
            self._idle.discard(line)
            self._busy.discard(line)
            line.close()

    async def _requests(self, line: Line) -> None:
        received = b""
        while True:
            while (end := received.find(b"\r\n\r\n")) < 0:
                if not (data := await line.receive()):
                    return
                received += data
            length = _LENGTH.search(received, 0, end + 2)
            size = end + 4 + (int(length[1]) if length else 0)
            while len(received) < size:
                if not (data := await line.receive()):
                    return
                received += data
            mode = _MODE.search(received, 0, received.find(b"\r\n"))
            received = received[size:]
            self._idle.discard(line)
            self._busy.add(line)
            if not await self._answers[mode[1] if mode else b"json"](line):
                return
            self._busy.discard(line)
            self._idle.add(line)

    # Each returns whether the connection goes on.

    async def _json(self, line: Line) -> bool:
        await line.send(ANSWER)
        return True

    async def _late_json(self, line: Line) -> bool:
        await trio.sleep(LATE_SECONDS)
        return await self._json(line)

    async def _short(self, line: Line) -> bool:
        await line.send(STREAM_HEAD + PREFACE)
        for _ in range(SHORT_EVENTS - 3):
            await line.send(DELTA)
        await line.send(STREAM_END)
        return True

    async def _flood(self, line: Line) -> bool:
        await line.send(STREAM_HEAD + PREFACE)
        while True:
            await line.send(DELTA)

    async def _paced(self, line: Line) -> bool:
        await line.send(STREAM_HEAD + PREFACE)
        due = trio.current_time()
        while True:
            due += PACE_SECONDS
            await trio.sleep_until(due)
            stamp = b"%0*d" % (STAMP_DIGITS, time.monotonic_ns())
            await line.send(BEFORE_STAMP + stamp + AFTER_STAMP)

    async def _hold(self, line: Line) -> bool:
        await line.send(STREAM_HEAD + PREFACE)
        await line.ended()
        return False

    async def _close_idle(self, line: Line) -> bool:
        for idle in list(self._idle):
            idle.close()
        await line.send(_json_answer(b"{}", close=True))
        return False

    async def _state(self, line: Line) -> bool:
        # Without the connection that asks.
        counts = {"accepted": self._accepted - 1, "busy": len(self._busy) - 1}
        await line.send(_json_answer(json.dumps(counts).encode()))
        return True


async def main() -> None:
    """Serves on a free port of the loopback interface, for ever."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=LISTEN_BACKLOG)
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(Upstream().serve, listeners)


if __name__ == "__main__":
    gc.freeze()
    trio.run(main)

"""The benchmark's upstream: fixed bytes over raw sockets, so that it is never the bottleneck.

A process of its own: prints its port, then serves until it is terminated. What it answers is the
value of `bench` or `answer` in the query of the request, or in a path `/as/ANSWER/...`:

    json        2 KB of JSON at once
    late-json   the same after LATE_SECONDS
    short       a stream of SHORT_EVENTS events, at once and complete
    flood       a stream without end, as fast as it is read, one write per event
    paced       a stream without end, an event every PACE_SECONDS that says when it was written
    hold        a stream that is silent after its first events
    close-idle  closes every idle connection, then this one after its answer
    turns       a stream of TURN_EVENTS events, paced like that, and complete
    limited     429 to the credential LIMITED, `json` to everybody else; the moments of both are noted
    noted       milliseconds from each 429 to the request after it, since this was asked last
    state       how many connections there ever were, and how many have an answer under way
    2KB.json, 200KB.json, 2MB.json, stream.sse
                what nginx answers as an upstream, for where there is none (`recorded.py`)
"""

from __future__ import annotations

import gc
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable

import recorded
import trio
from wire import STAMP_DIGITS, Line

ANSWER_BYTES = 2048
SHORT_EVENTS = 8
TURN_EVENTS = 100
LIMITED = b"made-up-one"
PACE_SECONDS = 0.05
LATE_SECONDS = 0.1
LISTEN_BACKLOG = 1024

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODE = re.compile(rb"[?&](?:bench|answer)=([A-Za-z0-9.-]+)|/as/([^/ ]+)/")
_CREDENTIAL = re.compile(rb"\r\n(?:x-api-key: *|authorization: *bearer +)([^\r]+)", re.IGNORECASE)


def _answer(body: bytes, *, status: bytes = b"200 OK", close: bool = False) -> bytes:
    lines = [
        b"HTTP/1.1 " + status,
        b"content-type: application/json",
        b"request-id: req_bench",
        b"anthropic-ratelimit-requests-limit: 4000",
        b"anthropic-ratelimit-requests-remaining: 3999",
        b"content-length: %d" % len(body),
        *([b"connection: close"] if close else []),
        *([b"retry-after: 60"] if status.startswith(b"429") else []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _event(name: str, **fields: object) -> bytes:
    data = json.dumps({"type": name, **fields}, separators=(",", ":"))
    event = f"event: {name}\ndata: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


def _delta(text: str) -> bytes:
    return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


ANSWER = _answer(recorded.message(ANSWER_BYTES))
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
STOPPED = _event("content_block_stop", index=0) + _event(
    "message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": TURN_EVENTS}
)
REFUSED = _answer(
    b'{"type":"error","error":{"type":"rate_limit_error","message":"made up"}}',
    status=b"429 Too Many Requests",
)
FILES = {
    **{
        f"{name}.json".encode(): _answer(recorded.message(size))
        for name, size in recorded.SIZES.items()
    },
    b"stream.sse": STREAM_HEAD
    + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in recorded.events())
    + b"0\r\n\r\n",
}


class Upstream:
    """Serves connections; counts them."""

    def __init__(self) -> None:
        self._idle: set[Line] = set()
        self._busy: set[Line] = set()
        self._accepted = 0
        self._refused_at = 0.0
        self._noted: list[float] = []
        self._answers: dict[bytes, Callable[[Line], Awaitable[bool]]] = {
            b"json": self._json,
            b"late-json": self._late_json,
            b"short": self._short,
            b"flood": self._flood,
            b"paced": self._paced,
            b"hold": self._hold,
            b"close-idle": self._close_idle,
            b"turns": self._turns,
            b"noted": self._tell,
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
            found = _MODE.search(received, 0, received.find(b"\r\n"))
            mode = (found[1] or found[2]) if found else b"json"
            credential = _CREDENTIAL.search(received, 0, end + 2) if mode == b"limited" else None
            received = received[size:]
            self._idle.discard(line)
            self._busy.add(line)
            if mode in FILES:
                await line.send(FILES[mode])
            elif mode == b"limited":
                await self._limited(line, credential[1] if credential else b"")
            elif not await self._answers[mode](line):
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

    async def _turns(self, line: Line) -> bool:
        await line.send(STREAM_HEAD + PREFACE)
        due = trio.current_time()
        for _ in range(TURN_EVENTS):
            due += PACE_SECONDS
            await trio.sleep_until(due)
            await line.send(DELTA)
        await line.send(STOPPED + STREAM_END)
        return True

    async def _limited(self, line: Line, credential: bytes) -> None:
        if credential == LIMITED:
            self._refused_at = time.perf_counter()
            await line.send(REFUSED)
            return
        if self._refused_at:
            self._noted.append((time.perf_counter() - self._refused_at) * 1000)
            self._refused_at = 0.0
        await line.send(ANSWER)

    async def _tell(self, line: Line) -> bool:
        body, self._noted = json.dumps({"ms": self._noted}).encode(), []
        await line.send(_answer(body))
        return True

    async def _hold(self, line: Line) -> bool:
        await line.send(STREAM_HEAD + PREFACE)
        await line.ended()
        return False

    async def _close_idle(self, line: Line) -> bool:
        for idle in list(self._idle):
            idle.close()
        await line.send(_answer(b"{}", close=True))
        return False

    async def _state(self, line: Line) -> bool:
        # Without the connection that asks.
        counts = {"accepted": self._accepted - 1, "busy": len(self._busy) - 1}
        await line.send(_answer(json.dumps(counts).encode()))
        return True


async def main() -> None:
    """Serves on a free port of the loopback interface, for ever."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=LISTEN_BACKLOG)
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(Upstream().serve, listeners)


if __name__ == "__main__":
    gc.freeze()
    trio.run(main)

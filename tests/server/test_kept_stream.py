"""Signs of life on a stream of ours, never in the middle of something else."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio

from protocol.held_stream import PING
from protocol.request import RequestHead
from server.held_stream import HeldStream
from server.kept_stream import KeptStream


class Client:
    """An exchange that notes what it is sent; `slow`: each piece takes so many seconds."""

    def __init__(self, slow: float = 0.0) -> None:
        self.head = RequestHead("POST", b"/v1/messages", ())
        self.started: list[int] = []
        self.sent: list[bytes] = []
        self.finished = False
        self.slow = slow
        self.busy = False

    async def body(self) -> AsyncGenerator[bytes, None]:
        yield b""

    async def gone(self) -> None:
        await trio.sleep_forever()

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await trio.lowlevel.checkpoint()
        self.started.append(status)

    async def send(self, chunk: bytes) -> None:
        assert not self.busy
        assert not self.finished
        self.busy = True
        await trio.sleep(self.slow)
        self.busy = False
        self.sent.append(chunk)

    async def finish(self) -> None:
        self.finished = True
        await trio.sleep(self.slow)


async def test_silence_opens_the_stream_and_the_answer_follows_on_it(
    autojump_clock: object,
) -> None:
    client = Client()
    kept = KeptStream(client)
    async with kept.kept_alive():
        await trio.sleep(31)
        await kept.start(200, [])
        await kept.send(b"event")
        await trio.sleep(16)
    await kept.finish()
    assert client.started == [200]
    assert client.sent == [PING, PING, b"event", PING]
    assert (client.finished, kept.opened) == (True, True)


async def test_a_lively_stream_gets_no_pings(autojump_clock: object) -> None:
    client = Client()
    kept = KeptStream(client)
    async with kept.kept_alive():
        await kept.start(200, [])
        for _ in range(10):
            await trio.sleep(14)
            await kept.send(b"event")
    assert client.sent == [b"event"] * 10


async def test_the_end_does_not_cut_a_ping_in_two(autojump_clock: object) -> None:
    client = Client(slow=5.0)
    kept = KeptStream(client)
    async with kept.kept_alive():
        await trio.sleep(16)  # a ping is on its way
    assert client.sent == [PING]
    assert not client.busy


@pytest.mark.parametrize("silence", [1, 16])
async def test_nothing_follows_an_end_that_its_client_is_slow_to_take(
    autojump_clock: object, silence: float
) -> None:
    client = Client(slow=40.0)
    kept = KeptStream(client)
    async with kept.kept_alive():
        await trio.sleep(silence)
        await kept.start(200, [])
        await kept.send(b"event")
        await kept.finish()
    assert client.finished


async def test_outside_of_an_attempt_it_passes_everything_on(autojump_clock: object) -> None:
    client = Client()
    kept = KeptStream(client)
    await trio.sleep(100)
    await kept.start(429, [])
    await kept.send(b"limited")
    await kept.finish()
    assert (client.started, client.sent, client.finished) == ([429], [b"limited"], True)


async def test_an_error_on_an_opened_stream_becomes_an_event(autojump_clock: object) -> None:
    client = Client()
    kept = KeptStream(client)
    async with kept.kept_alive():
        await trio.sleep(16)
    await kept.start(503, [])
    await kept.send(b'{"type":"error","error":{"type":"api_error","message":"out"}}')
    await kept.finish()
    assert client.started == [200]
    assert client.sent[-1].startswith(b"event: error\n")


@pytest.mark.parametrize(("coding", "readable"), [(b"gzip", False), (b"Identity", True)])
async def test_an_answer_in_a_coding_that_the_head_did_not_say_becomes_an_event(
    coding: bytes, readable: bool, autojump_clock: object
) -> None:
    """The head has gone out: whoever read on would read noise."""
    client = Client()
    held = HeldStream(client)
    await held.open([])
    await held.start(200, [(b"content-encoding", coding)])
    await held.send(b"event: x\n\n")
    await held.finish()
    assert client.sent[1].startswith(b"event: x" if readable else b"event: error\n")
    assert len(client.sent) == 2

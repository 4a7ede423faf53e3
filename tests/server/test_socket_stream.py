"""A stream that reschedules only when it must: trio's own rules hold all the same."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from server.socket_stream import TURN_OPERATIONS, SocketStream


async def pair() -> tuple[SocketStream, SocketStream]:
    ours, theirs = socket.socketpair()
    return SocketStream(ours), SocketStream(theirs)


async def clogged() -> tuple[SocketStream, SocketStream]:
    ours, theirs = await pair()
    while True:  # noqa: ASYNC913 - ends when the buffer is full
        try:
            ours.socket.send(b"x" * 65536)
        except BlockingIOError:
            return ours, theirs


async def test_it_keeps_what_trio_asks_of_a_stream() -> None:
    ours, theirs = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, b"abc" * 500_000)
        received = b""
        while len(received) < 1_500_000:
            received += await theirs.receive_some()
    assert received == b"abc" * 500_000
    with pytest.raises(ValueError, match="max_bytes"):
        await theirs.receive_some(0)
    await ours.send_eof()
    assert await theirs.receive_some() == b""
    await theirs.send_all(b"still")
    assert await ours.receive_some(2) == b"st"
    await theirs.aclose()
    for _ in range(2):
        await ours.aclose()
    for call in (ours.receive_some, ours.send_eof, ours.wait_send_all_might_not_block):
        with pytest.raises(trio.ClosedResourceError):
            await call()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        ours.send_nowait(b"x")


async def test_a_close_wakes_who_waits() -> None:
    for wait in ("receive", "send"):
        ours, theirs = await clogged()

        async def waiting(stream: SocketStream = ours, wait: str = wait) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await (stream.receive_some() if wait == "receive" else stream.send_all(b"x"))

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waiting)
                await trio.testing.wait_all_tasks_blocked()
                ours.close()
        theirs.close()


async def test_a_cancelled_read_takes_nothing() -> None:
    ours, theirs = await pair()
    with trio.move_on_after(0.01):
        await ours.receive_some()
    await theirs.send_all(b"abc")
    assert await ours.receive_some() == b"abc"
    ours.close()
    theirs.close()


async def test_a_peer_that_reset_breaks_reads_and_writes() -> None:
    ours, theirs = await pair()
    await ours.send_all(b"x")  # unread data makes the close a reset
    theirs.close()
    with pytest.raises(trio.BrokenResourceError):
        await ours.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError):
        ours.send_nowait(b"x")
    ours.close()


async def test_whether_it_is_readable_takes_no_byte() -> None:
    ours, theirs = await pair()
    assert not ours.is_readable
    await theirs.send_all(b"x")
    assert ours.is_readable
    assert await ours.receive_some() == b"x"
    assert not ours.is_readable
    theirs.close()
    assert ours.is_readable
    ours.close()
    assert ours.is_readable


async def test_a_flood_lets_others_have_their_turn() -> None:
    """Reads that never wait still go through the scheduler every so often."""
    ours, theirs = await pair()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(10 * TURN_OPERATIONS):
            await theirs.send_all(b"x")
            await ours.receive_some()
        assert turns >= 10
        for _ in range(TURN_OPERATIONS + 1):
            taken = ours.send_nowait(b"x")
        assert taken == 0
        nursery.cancel_scope.cancel()
    ours.close()
    theirs.close()


class Counting(socket.socket):
    """Counts the reads that are tried."""

    tries = 0

    def recv(self, *arguments: int) -> bytes:
        self.tries += 1
        return super().recv(*arguments)


async def test_reads_that_find_nothing_again_and_again_are_not_tried_before_they_wait() -> None:
    one, other = socket.socketpair()
    counting = Counting(fileno=one.detach())
    ours, theirs = SocketStream(counting), SocketStream(other)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(60):  # each comes when somebody waits for it
                nursery.start_soon(ours.receive_some)
                await trio.testing.wait_all_tasks_blocked()
                await theirs.send_all(b"x")
                await trio.testing.wait_all_tasks_blocked()
        assert 60 <= counting.tries <= 60 + 8
        began = counting.tries
        await theirs.send_all(b"abc")
        for letter in b"abc":  # and what is there is read all the same
            assert await ours.receive_some(1) == bytes([letter])
        assert counting.tries - began == 3
    await ours.aclose()
    await theirs.aclose()

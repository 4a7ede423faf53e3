"""In-memory streams behave like trio's own, and hold a bounded number of bytes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from server.scripted import MemoryStream, stream_pair


async def test_a_memory_stream_keeps_every_promise_of_a_trio_stream() -> None:
    async def pair() -> tuple[MemoryStream, MemoryStream]:
        return stream_pair()

    async def clogged() -> tuple[MemoryStream, MemoryStream]:
        ours, theirs = stream_pair(1)
        await ours.send_all(b"x")
        await theirs.send_all(b"x")
        return ours, theirs

    await check_half_closeable_stream(pair, clogged)


async def test_a_sender_waits_when_the_buffer_is_full_and_goes_on_when_it_is_read(
    nursery: trio.Nursery,
) -> None:
    ours, theirs = stream_pair(10)
    sent = trio.Event()

    async def send() -> None:
        await ours.send_all(b"x" * 25)
        sent.set()

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    assert not sent.is_set()
    assert await theirs.receive_some() == b"x" * 10
    await wait_all_tasks_blocked()
    assert not sent.is_set()
    assert await theirs.receive_some() == b"x" * 10
    assert await theirs.receive_some() == b"x" * 5
    await wait_all_tasks_blocked()
    assert sent.is_set()


async def test_a_reset_loses_what_is_under_way_and_breaks_both_directions() -> None:
    ours, theirs = stream_pair()
    await ours.send_all(b"lost")
    ours.reset()
    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")


async def test_what_was_sent_before_a_close_is_still_read() -> None:
    ours, theirs = stream_pair()
    await ours.send_all(b"last words")
    await ours.aclose()
    assert await theirs.receive_some() == b"last words"
    assert await theirs.receive_some() == b""


async def test_a_stream_is_readable_when_a_read_would_not_wait() -> None:
    ours, theirs = stream_pair()
    readings = [theirs.is_readable]
    await ours.send_all(b"x")
    readings.append(theirs.is_readable)
    await theirs.receive_some()
    readings.append(theirs.is_readable)
    ours.close()
    readings.append(theirs.is_readable)
    assert readings == [False, True, False, True]

"""Reads with a deadline and no scope: as exact, and nobody else is ended by them."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trio.testing
import trustme

from actors.overdue import Overdue, overdue
from server.socket_stream import SocketStream, receive_by


class Reading:
    """A wait that notes when it was ended."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.ended_at: list[float] = []

    def expire(self) -> None:
        self.ended_at.append(trio.current_time())


async def test_each_wait_ends_at_its_own_moment_whatever_the_order(autojump_clock: object) -> None:
    start = trio.current_time()
    waits = [Reading(start + seconds) for seconds in (600, 5, 60, 5.5)]
    for waiting in waits:
        overdue().add(waiting)
    await trio.sleep(1000)
    assert [one.ended_at for one in waits] == [[one.due] for one in waits]


async def test_whoever_waits_no_more_is_not_ended(autojump_clock: object) -> None:
    over, late = Reading(trio.current_time() + 5), Reading(trio.current_time() + 7)
    overdue().add(over)
    overdue().add(late)
    overdue().discard(over)
    late.due += 100  # it began to wait anew, without having left
    await trio.sleep(50)
    assert (over.ended_at, late.ended_at) == ([], [])
    await trio.sleep(100)
    assert late.ended_at == [late.due]


async def test_one_run_has_one() -> None:
    assert overdue() is overdue()
    assert isinstance(overdue(), Overdue)


async def pair() -> tuple[SocketStream, SocketStream]:
    ours, theirs = socket.socketpair()
    return SocketStream(ours), SocketStream(theirs)


async def test_a_read_past_its_deadline_is_too_slow_and_the_connection_goes_on() -> None:
    ours, theirs = await pair()
    for _ in range(2):
        with pytest.raises(trio.TooSlowError):
            await receive_by(ours, ours, trio.current_time() + 0.02)
    await theirs.send_all(b"late")
    assert await receive_by(ours, ours, trio.current_time() + 5) == b"late"
    theirs.close()
    assert await receive_by(ours, ours, trio.current_time() + 5) == b""
    ours.close()


async def test_a_read_that_is_to_end_ends_also_when_it_only_takes_its_turn() -> None:
    """Between the call and the wait there may be a turn of the scheduler."""
    ours, theirs = await pair()
    ended: list[bool] = []

    async def read(begun: trio.Event) -> None:
        begun.set()
        with pytest.raises(trio.TooSlowError):
            await receive_by(ours, ours, trio.current_time() + 60)
        ended.append(True)

    for turns in range(20):
        ours._in_a_row = turns
        async with trio.open_nursery() as nursery:
            begun = trio.Event()
            nursery.start_soon(read, begun)
            await begun.wait()
            ours.expire()
            with trio.move_on_after(5) as limit:
                while len(ended) <= turns:  # noqa: ASYNC110 - nobody tells
                    await trio.lowlevel.checkpoint()
            assert not limit.cancelled_caught
    ours.close()
    theirs.close()


async def test_a_connection_that_is_closed_meanwhile_is_no_slow_one() -> None:
    ours, theirs = await pair()
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await receive_by(ours, ours, trio.current_time() + 60)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        ours.close()
    theirs.close()


async def test_tls_over_such_a_connection_has_the_deadline_too() -> None:
    ours, theirs = await pair()
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    secure = trio.SSLStream(ours, trusting, server_hostname="localhost")
    other = trio.SSLStream(theirs, server, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(secure.do_handshake)
        nursery.start_soon(other.do_handshake)
    with pytest.raises(trio.TooSlowError):
        await receive_by(secure, ours, trio.current_time() + 0.05)
    await other.send_all(b"late")
    assert await receive_by(secure, ours, trio.current_time() + 5) == b"late"
    ours.close()
    theirs.close()


async def test_in_memory_a_scope_does_it(autojump_clock: object) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    began = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await receive_by(ours, None, began + 7)
    assert trio.current_time() == began + 7
    await theirs.send_all(b"x")
    assert await receive_by(ours, None, began + 9) == b"x"

"""Streams that move much take turns, and those that move little go on between them."""

from __future__ import annotations

import socket
from collections import Counter
from itertools import pairwise

import pytest
import trio

from server import socket_stream
from server.socket_stream import LIGHT_BYTES, RECEIVE_BYTES, TURN_BYTES, SocketStream
from server.turnstile import Turnstile

STREAMS = 30
PIECES = 4 * LIGHT_BYTES // 4096


async def test_one_goes_on_in_each_round_in_the_order_in_which_they_came(
    nursery: trio.Nursery,
) -> None:
    turnstile, rounds = Turnstile(), 0
    passed: list[tuple[int, int]] = []

    async def count() -> None:
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async def go(number: int) -> None:
        await turnstile.turn()
        passed.append((number, rounds))

    async with trio.open_nursery() as going:
        for number in range(10):
            going.start_soon(go, number)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(turnstile.run)
        nursery.start_soon(count)
    assert [number for number, _ in passed] == list(range(10))
    in_a_round = Counter(round for _, round in passed)
    assert max(in_a_round.values()) <= 2, "one before the counting task's turn and one after it"
    nursery.cancel_scope.cancel()


async def test_whoever_is_cancelled_while_it_waits_holds_up_nobody(nursery: trio.Nursery) -> None:
    turnstile = Turnstile()
    async with trio.open_nursery() as leaving:
        for _ in range(3):
            leaving.start_soon(turnstile.turn)
        await trio.testing.wait_all_tasks_blocked()
        leaving.cancel_scope.cancel()
    nursery.start_soon(turnstile.run)
    with trio.fail_after(10):
        await turnstile.turn()
        await turnstile.turn()
    nursery.cancel_scope.cancel()


async def filled() -> SocketStream:
    """A connection on which more has come than may be read without a turn."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
    theirs.setblocking(False)
    try:
        for _ in range(PIECES):
            theirs.send(b"x" * 4096)
    except BlockingIOError:
        pass  # this system keeps less
    theirs.close()
    return SocketStream(ours)


@pytest.mark.parametrize("guarded", [True, False])
async def test_many_floods_at_once_take_no_longer_between_two_turns_than_one(
    guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the guard all of them move as much as they like in each round."""
    if not guarded:
        monkeypatch.setattr(socket_stream, "LIGHT_BYTES", 1 << 40)
    most = STREAMS * LIGHT_BYTES + 2 * TURN_BYTES
    streams = [await filled() for _ in range(STREAMS)]
    moved, in_a_round = 0, [0]

    async def other() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            in_a_round.append(moved)

    async def read(stream: SocketStream) -> None:
        nonlocal moved
        while data := await stream.receive_some(RECEIVE_BYTES):
            moved += len(data)
        stream.close()

    async with trio.open_nursery() as running:
        running.start_soon(other)
        async with trio.open_nursery() as readers:
            for stream in streams:
                readers.start_soon(read, stream)
        running.cancel_scope.cancel()
    in_a_round.append(moved)
    assert moved > 1.5 * most, "there was nothing that could flood"
    assert (max(after - before for before, after in pairwise(in_a_round)) <= most) is guarded

"""The acceptor: shortages, restarts, and the end."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import AsyncGenerator

import pytest
import trio

from actors.front_end import FrontEndActor
from actors.mailbox import Mailbox
from actors.runtime import Context
from supervisor.listening import listen
from tests.actors.living import living
from tests.kit.raw_client import until


class Acceptor:
    """A front end on a listening socket, and what it let in."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.admitted: list[trio.abc.Stream] = []
        self.left = False
        self.actor = FrontEndActor(lambda: listening, self.admitted.append, self._leave)

    def context(self) -> Context[None, None]:
        mailbox: Mailbox[None] = Mailbox("front-end")
        return Context("front-end", 1, mailbox.open_inbox())

    async def connect(self) -> trio.SocketStream:
        host, port = self.listening.getsockname()
        return await trio.open_tcp_stream(host, port)

    async def _leave(self) -> None:
        self.left = True


@pytest.fixture
async def acceptor() -> AsyncGenerator[Acceptor, None]:
    with listen("127.0.0.1", 0) as listening:
        acceptor = Acceptor(listening)
        yield acceptor
        for stream in acceptor.admitted:
            await stream.aclose()


async def test_who_begins_when_the_door_is_closed_for_good_waits_for_the_end(
    acceptor: Acceptor,
) -> None:
    """A stop at once closes it first; who was just being restarted comes too late."""
    acceptor.listening.close()
    async with living(acceptor.actor.run):
        assert not acceptor.left
    assert acceptor.left


@pytest.mark.promise("C8")
@pytest.mark.parametrize("shortage", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_shortage_pauses_and_is_told_once(
    acceptor: Acceptor,
    shortage: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accept = trio.SocketListener.accept
    failures = 3

    async def short(self: trio.SocketListener) -> trio.SocketStream:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(shortage, os.strerror(shortage))
        return await accept(self)

    monkeypatch.setattr(trio.SocketListener, "accept", short)
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(acceptor.actor.run, acceptor.context())
        async with await acceptor.connect():
            await until(lambda: len(acceptor.admitted) == 1)
        assert trio.current_time() - began >= 0.3
        nursery.cancel_scope.cancel()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


async def test_another_error_ends_this_life_and_the_next_one_serves_who_waited(
    acceptor: Acceptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: trio.SocketListener) -> trio.SocketStream:
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patch:
        patch.setattr(trio.SocketListener, "accept", broken)
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            await acceptor.actor.run(acceptor.context())
    assert not acceptor.left
    waiting = await acceptor.connect()  # not refused: the socket outlives the acceptor
    async with waiting, trio.open_nursery() as nursery:
        nursery.start_soon(acceptor.actor.run, acceptor.context())
        await until(lambda: len(acceptor.admitted) == 1)
        nursery.cancel_scope.cancel()


async def test_asked_to_stop_it_accepts_nobody_and_then_leaves(acceptor: Acceptor) -> None:
    context = acceptor.context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor.actor.run, context)
        async with await acceptor.connect():
            await until(lambda: len(acceptor.admitted) == 1)
            context.stopping.set()
            await until(lambda: acceptor.left)
        async with await acceptor.connect():
            await trio.sleep(0.05)
    assert len(acceptor.admitted) == 1

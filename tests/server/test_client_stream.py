"""A client's stream that cannot hold us."""

from __future__ import annotations

import socket
import sys

import pytest
import trio
import trio.testing

from protocol.request import Peer
from server.client_stream import WRITE_PIECE_BYTES, ClientStream
from server.scripted import stream_pair


async def tcp_pair(host: str = "127.0.0.1") -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a TCP connection."""
    listener = (await trio.open_tcp_listeners(0, host=host))[0]
    async with listener:
        ours = await trio.testing.open_stream_to_socket_listener(listener)
        return ours, await listener.accept()


async def test_a_write_without_progress_ends_the_connection(autojump_clock: object) -> None:
    ours, theirs = stream_pair(1000)
    client = ClientStream(theirs, 60)
    began = trio.current_time()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"x" * 100_000)
    assert trio.current_time() - began == pytest.approx(60)
    with pytest.raises(trio.ClosedResourceError):
        await theirs.send_all(b"x")
    await ours.aclose()


async def test_a_write_may_take_long_if_every_piece_of_it_is_in_time(
    autojump_clock: object,
) -> None:
    ours, theirs = stream_pair(1000)
    client = ClientStream(theirs, 60)
    size = 10 * WRITE_PIECE_BYTES
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"x" * size)
        while size:
            size -= len(await ours.receive_some(500))
            await trio.sleep(1)
    assert trio.current_time() > 300


async def test_a_cut_reaches_a_write_that_is_shielded(autojump_clock: object) -> None:
    _, theirs = stream_pair(1000)
    client = ClientStream(theirs, 60)

    async def write() -> None:
        with trio.CancelScope(shield=True), pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x" * 100_000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        await client.cut()
        await client.cut()
    assert trio.current_time() < 1


async def test_an_end_of_stream_never_raises() -> None:
    """Whoever ends a connection need not know whether it is over."""
    ours, theirs = stream_pair()
    client = ClientStream(theirs, 60)
    await client.send_eof()
    assert await ours.receive_some() == b""
    await client.cut()
    await client.send_eof()
    ours, there = await tcp_pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await ours.aclose()
    await trio.sleep(0.05)
    await ClientStream(there, 60).send_eof()
    await there.aclose()


async def test_a_peer_is_who_the_socket_says() -> None:
    ours, theirs = await tcp_pair()
    assert ClientStream(theirs, 60).peer() == Peer("127.0.0.1", loopback=True)
    assert ClientStream(stream_pair()[1], 60).peer() == Peer("", loopback=True)
    await ours.aclose()
    await theirs.aclose()


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.168.1.2", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1", False),
        ("0.0.0.0", False),
    ],
)
def test_loopback_is_this_machine_alone(
    address: str, loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ClientStream(stream_pair()[1], 60)
    monkeypatch.setattr(client.socket, "getpeername", lambda: (address, 1234))
    assert client.peer() == Peer(address, loopback=loopback)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("how", ["close", "reset", "half-close", "our own close"])
async def test_a_departure_is_seen_behind_unread_bytes(how: str) -> None:
    ours, theirs = await tcp_pair()
    client = ClientStream(theirs, 60)
    await ours.send_all(b"unread")
    await trio.sleep(0.05)
    assert client.socket.is_established()
    if how == "our own close":
        await client.cut()
    elif how == "half-close":
        await ours.send_eof()
    else:
        if how == "reset":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await ours.aclose()
    await trio.sleep(0.05)
    assert not client.socket.is_established()
    await ours.aclose()
    await theirs.aclose()

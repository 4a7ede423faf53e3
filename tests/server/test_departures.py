"""A client that leaves is noticed without a task of its own, and nobody else is taken for it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncGenerator

import pytest
import trio
import trustme

from protocol.request import RequestHead
from server.connections import Connections
from server.departures import Departures, ended_by_departure
from server.exchange import Exchange
from server.express_lane import ExpressLane
from server.reference_lane import FrontDoor, ReferenceLane
from server.scripted import stream_pair
from server.socket_stream import SocketStream
from tests.kit.raw_client import until

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs socket pairs")


@pytest.fixture
async def departures(nursery: trio.Nursery) -> AsyncGenerator[Departures, None]:
    departures = Departures()
    nursery.start_soon(departures.run)
    yield departures
    nursery.cancel_scope.cancel()


async def connected() -> tuple[SocketStream, socket.socket]:
    """Our end of a TCP connection, and a client's."""
    listening = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = socket.create_connection(listening[0].socket.getsockname())
    ours = SocketStream.adopt(await listening[0].accept())
    await listening[0].aclose()
    return ours, client


@pytest.mark.parametrize(
    "how", ["close", "reset", "half-close", "close behind unread bytes", "cut"]
)
async def test_whoever_leaves_is_told_once(how: str, departures: Departures) -> None:
    ours, client = await connected()
    told: list[str] = []
    end = departures.watch(ours, lambda: told.append("left"))
    assert end is not None
    await trio.sleep(0.02)
    assert told == []
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half-close":
        client.shutdown(socket.SHUT_WR)
    elif how == "cut":
        ours.close()
    else:
        client.send(b"x" * 1000 if "unread" in how else b"")
        client.close()
    await until(lambda: told == ["left"])
    end()
    ours.close()
    client.close()
    await trio.sleep(0.02)
    assert told == ["left"]


async def test_what_a_client_sends_ahead_is_no_departure_and_stays_unread(
    departures: Departures,
) -> None:
    ours, client = await connected()
    told: list[str] = []
    end = departures.watch(ours, lambda: told.append("left"))
    client.send(b"GET / HTTP/1.1")
    await trio.sleep(0.05)
    assert told == []
    assert await ours.receive_some() == b"GET / HTTP/1.1"
    assert end is not None
    end()
    client.close()
    await trio.sleep(0.05)
    assert told == []
    ours.close()


async def test_a_number_that_is_used_again_belongs_to_its_new_owner(departures: Departures) -> None:
    """Descriptors are small numbers that come back at once."""
    first, client = await connected()
    told: list[str] = []
    end_first = departures.watch(first, lambda: told.append("first"))
    number = first.socket.fileno()
    first.close()
    client.close()
    second, other = await connected()
    while second.socket.fileno() != number:
        second, other = await connected()
    end_second = departures.watch(second, lambda: told.append("second"))
    assert end_first is not None
    assert end_second is not None
    end_first()
    other.close()
    await until(lambda: told == ["first", "second"])
    second.close()


class Asked:
    """An exchange as far as a departure is concerned."""

    head = RequestHead("POST", b"/", ())

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def gone(self) -> None:
        while await self._stream.receive_some():
            pass


async def test_without_a_socket_a_task_waits_for_the_client(autojump_clock: object) -> None:
    ours, theirs = stream_pair()
    left: list[bool] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_leave_after, theirs, 5)
        async with ended_by_departure(Asked(ours), lambda: left.append(True)):  # type: ignore[arg-type]
            await trio.sleep(100)
        assert trio.current_time() < 10
    assert left == [True]


async def _leave_after(stream: trio.abc.Stream, seconds: float) -> None:
    await trio.sleep(seconds)
    await stream.aclose()


@pytest.mark.parametrize("secured", [True, False])
async def test_a_client_of_the_express_lane_leaves_over_tls_as_over_tcp(
    secured: bool, departures: Departures, nursery: trio.Nursery
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    left: list[bool] = []
    serving = trio.Event()

    async def handle(exchange: Exchange, own: object) -> None:
        body = b"".join([chunk async for chunk in exchange.body()])
        if body == b"answer":
            await exchange.start(200, [(b"content-length", b"2")])
            await exchange.send(b"ok")
            await exchange.finish()
            return
        async with ended_by_departure(exchange, lambda: left.append(True)):
            serving.set()
            await trio.sleep_forever()

    lane = ExpressLane(handle, ReferenceLane(FrontDoor(handle)), departures)  # type: ignore[arg-type]
    connections = Connections(
        nursery, lane.open, lambda: 10, (lambda: context) if secured else None
    )
    listening = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listening[0].socket.getsockname()[1]
    client: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    connections.admit(await listening[0].accept())
    await listening[0].aclose()
    if secured:
        client = trio.SSLStream(
            client, trusting, server_hostname="127.0.0.1", https_compatible=True
        )
    head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
    for _ in range(3):
        await client.send_all(head % (6, b"answer"))
        assert bytes(await client.receive_some(1000)).endswith(b"\r\n\r\nok")
    await client.send_all(head % (4, b"wait"))
    await serving.wait()
    await trio.sleep(0.05)
    assert left == []
    await client.aclose()
    await until(lambda: left == [True] and not len(connections))

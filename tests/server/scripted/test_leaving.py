"""Clients that leave are noticed at once; clients that misbehave end their own connection only."""

from __future__ import annotations

import socket
import struct

import httpx
import pytest
import trio

from server.scripted import (
    Answer,
    Pause,
    ScriptedUpstream,
    Send,
    Stall,
    Wait,
    stall_before_head,
    text_message,
)
from tests.server.scripted.conversation import GET, connect, read_to_end

MEGABYTE = 1 << 20
PHASES = {
    "delay": text_message("Hello").after(60),
    "stall before the head": stall_before_head(),
    "stall": Answer(parts=(Send(b"x"), Stall())),
    "pause": Answer(parts=(Send(b"x"), Pause(60), Send(b"y"))),
    "wait": Answer(parts=(Send(b"x"), Wait("never"))),
    "endless writing": Answer(parts=(Send(b"x" * MEGABYTE),) * 64),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_is_noticed_in_every_phase(
    upstream: ScriptedUpstream, base_url: str, phase: str, how: str
) -> None:
    upstream.default(PHASES[phase])
    stream = await connect(base_url)
    await stream.send_all(GET)
    (seen,) = await upstream.wait_for_requests(1)
    await trio.sleep(0.01)
    left_at = trio.current_time()
    if how == "half-close":
        await stream.send_eof()
    else:
        if how == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
    with trio.fail_after(10):
        await seen.left.wait()
        await upstream.wait_until_closed()
    await stream.aclose()
    assert seen.outcome == "left"
    assert seen.left_at is not None
    assert seen.left_at - left_at < 10
    assert upstream.active_requests == 0


async def test_a_client_that_leaves_amid_its_body_is_recorded_with_what_came(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    async with await connect(base_url) as stream:
        await stream.send_all(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf")
        with trio.fail_after(10):
            await upstream.wait_for(lambda: upstream.active_requests == 1)
        assert upstream.requests == []
    with trio.fail_after(10):
        (seen,) = await upstream.wait_for_requests(1)
        await upstream.wait_until_closed()
    assert (seen.body, seen.outcome) == (b"half", "left")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"x" * 300_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x00",
    ],
)
async def test_a_client_that_talks_nonsense_ends_its_own_connection_only(
    upstream: ScriptedUpstream, base_url: str, client: httpx.AsyncClient, nonsense: bytes
) -> None:
    async with await connect(base_url) as stream:
        try:
            await stream.send_all(nonsense)
            await stream.send_eof()
            await read_to_end(stream)
        except trio.BrokenResourceError:
            pass
    with trio.fail_after(10):
        await upstream.wait_until_closed()
    assert (await client.get("/v1/models")).status_code == 200
    assert upstream.script_errors == []


async def test_a_malformed_request_is_told_so(base_url: str) -> None:
    async with await connect(base_url) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 400 Bad Request\r\n")

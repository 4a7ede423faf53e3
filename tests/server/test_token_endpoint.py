"""The way to a token endpoint: bounded, honest, and never redirected."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from protocol.oauth import EndpointUnreachable
from server.scripted import (
    Answer,
    MemoryNetwork,
    ScriptedUpstream,
    Send,
    no_answer,
    reset_before_head,
    stall_before_head,
)
from server.token_endpoint import ANSWER_BYTES_MAX, TokenEndpoint
from server.upstream import DirectUpstream, Upstreams, tls_context
from server.upstream_port import Limits


class Scene:
    """An endpoint on a real socket, and the way to it."""

    def __init__(self, url: str, upstream: ScriptedUpstream, seconds: float) -> None:
        self.url = f"{url}/v1/oauth/token"
        self.upstream = upstream
        limits, tls = Limits(), tls_context("")
        self.upstreams = Upstreams(lambda base_url: DirectUpstream(base_url, limits, tls))
        self.endpoint = TokenEndpoint(self.upstreams, lambda: seconds, "1.2.3")

    async def post(self) -> tuple[int, bytes]:
        return await self.endpoint.post(self.url, b'{"grant_type": "refresh_token"}')


@pytest.fixture
async def scene(nursery: trio.Nursery) -> AsyncIterator[Scene]:
    """With half a second for each exchange."""
    upstream = ScriptedUpstream(default=Answer(body=b'{"a": 1}'))
    url = await nursery.start(upstream.serve_tcp)
    scene = Scene(url, upstream, 0.5)
    yield scene
    await scene.upstreams.aclose()
    nursery.cancel_scope.cancel()


async def test_json_goes_there_and_an_answer_comes_back(scene: Scene) -> None:
    assert await scene.post() == (200, b'{"a": 1}')
    (seen,) = scene.upstream.requests
    assert (seen.method, seen.path) == (b"POST", "/v1/oauth/token")
    assert seen.json() == {"grant_type": "refresh_token"}
    assert seen.header("content-type") == "application/json"
    assert seen.header("user-agent") == "llm-supervisor/1.2.3"
    assert seen.header("authorization") is None


async def test_a_refusal_is_an_answer_too(scene: Scene) -> None:
    refusal = Answer(status=400, body=b'{"error": "invalid_grant"}')
    scene.upstream.default(refusal)
    status, body = await scene.post()
    assert status == 400
    assert json.loads(body) == {"error": "invalid_grant"}


@pytest.mark.promise("X6")
async def test_a_redirect_is_not_followed(scene: Scene) -> None:
    """X6: a token goes to the configured place and nowhere else."""
    scene.upstream.default(Answer(status=307, headers=(("location", f"{scene.url}/elsewhere"),)))
    assert (await scene.post())[0] == 307
    assert len(scene.upstream.requests) == 1


@pytest.mark.parametrize("answer", [stall_before_head(), reset_before_head(), no_answer()])
async def test_no_answer_in_time_is_said_without_a_secret(scene: Scene, answer: Answer) -> None:
    scene.upstream.default(answer)
    began = time.monotonic()
    with pytest.raises(EndpointUnreachable):
        await scene.post()
    assert time.monotonic() - began < 20


async def test_an_answer_without_end_is_cut(scene: Scene) -> None:
    scene.upstream.default(Answer(parts=(Send(b"x" * (ANSWER_BYTES_MAX + 1)),)))
    with pytest.raises(EndpointUnreachable, match="without end"):
        await scene.post()


class Dying:
    """Answers the first request and hangs up on every one after it, having read it."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        received = b""
        while data := await stream.receive_some():
            received += data
            if not received.endswith(b"}"):
                continue
            self.seen.append(received)
            received = b""
            if len(self.seen) > 1:
                break
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await stream.aclose()


@pytest.mark.promise("K2")
async def test_a_token_is_sent_once_whatever_becomes_of_its_connection(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    """K2: it may have been used up by who hung up; a second one could cost the whole login."""
    dying = Dying()
    network = MemoryNetwork(nursery, default=dying.serve)
    limits, tls = Limits(), tls_context("")
    upstreams = Upstreams(
        lambda url: DirectUpstream(url, limits, tls, network.open_tcp, environment={})
    )
    endpoint = TokenEndpoint(upstreams, lambda: 5.0, "1")
    assert await endpoint.post("http://login.test/token", b'{"refresh_token": "first"}') == (
        200,
        b"{}",
    )
    with pytest.raises(EndpointUnreachable):
        await endpoint.post("http://login.test/token", b'{"refresh_token": "second"}')
    assert [b"second" in request for request in dying.seen] == [False, True]
    await upstreams.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.promise("K2")
@pytest.mark.parametrize("paused", [10.0, 100.0])
async def test_an_answer_that_came_while_the_process_was_stopped_is_not_lost(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, paused: float
) -> None:
    """K2: its time may be over by then, and the old token is used up all the same."""
    upstream = ScriptedUpstream(default=Answer(body=b'{"a": 1}').after(4.0))
    network = MemoryNetwork(nursery, default=upstream.serve_stream)
    limits, tls = Limits(), tls_context("")
    upstreams = Upstreams(
        lambda url: DirectUpstream(url, limits, tls, network.open_tcp, environment={})
    )
    endpoint = TokenEndpoint(upstreams, lambda: 5.0, "1")

    async def stop_and_go_on() -> None:
        await trio.sleep(1)
        autojump_clock.jump(paused)

    nursery.start_soon(stop_and_go_on)
    assert await endpoint.post("http://login.test/token", b"{}") == (200, b'{"a": 1}')
    upstream.default(stall_before_head())
    began = trio.current_time()
    with pytest.raises(EndpointUnreachable, match="no answer within 5 s"):
        await endpoint.post("http://login.test/token", b"{}")
    assert trio.current_time() - began == pytest.approx(5.0)
    await upstreams.aclose()
    nursery.cancel_scope.cancel()

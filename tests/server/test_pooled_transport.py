"""httpx over our own connections: its interface, its exceptions, and none of its pool."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator

import httpx
import pytest
import trio

from server.pooled_transport import PooledTransport
from server.scripted import (
    Answer,
    MemoryNetwork,
    ScriptedUpstream,
    Send,
    Stall,
    no_answer,
    stall_before_head,
    text_message,
    text_stream,
)
from server.upstream import DirectUpstream, Limits, Upstreams, tls_context
from tests.kit.rounds import rounds

TLS = tls_context("")


@contextlib.asynccontextmanager
async def client_of(
    scripted: ScriptedUpstream, **limits: float
) -> AsyncGenerator[tuple[httpx.AsyncClient, Upstreams, MemoryNetwork], None]:
    """A client in memory, under every host name."""
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, default=scripted.serve_stream)
        bounds = Limits(**limits)  # type: ignore[arg-type]
        upstreams = Upstreams(lambda url: DirectUpstream(url, bounds, TLS, network.open_tcp, {}))
        async with httpx.AsyncClient(
            transport=PooledTransport(upstreams), base_url="http://api.test", timeout=30
        ) as client:
            yield client, upstreams, network
        await upstreams.aclose()
        nursery.cancel_scope.cancel()


async def test_a_request_goes_out_as_httpx_made_it(autojump_clock: object) -> None:
    scripted = ScriptedUpstream(Answer(body=b"fine", headers=(("X-Odd", "1"),)))
    async with client_of(scripted) as (client, upstreams, _):
        answer = await client.post("/oauth/token?x=%20", json={"a": 1}, headers={"X-Own": "2"})
        assert (answer.status_code, answer.content, answer.headers["x-odd"]) == (200, b"fine", "1")
        await client.get("/other")
        assert upstreams("http://api.test").pool.opened == 1
    first, second = scripted.requests
    assert (first.target, first.body, first.header("x-own")) == (
        b"/oauth/token?x=%20", b'{"a":1}', "2",
    )  # fmt: skip
    assert (first.header("host"), first.header("content-length")) == ("api.test", "7")
    assert (second.method, second.header("content-length")) == (b"GET", None)


async def test_each_host_has_connections_of_its_own(autojump_clock: object) -> None:
    scripted = ScriptedUpstream(text_message("x"))
    async with client_of(scripted) as (client, upstreams, _):
        await client.get("http://a.test/")
        await client.get("http://b.test:81/")
        assert upstreams("http://a.test").pool.idle == 1
        assert upstreams("http://b.test:81").pool.idle == 1
    assert [seen.header("host") for seen in scripted.requests] == ["a.test", "b.test:81"]


async def test_a_redirect_is_followed_only_by_who_asks_for_it(autojump_clock: object) -> None:
    scripted = ScriptedUpstream(Answer(status=307, headers=(("location", "http://b.test/"),)))
    async with client_of(scripted) as (client, _, _network):
        assert (await client.get("/")).status_code == 307
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (no_answer(), httpx.ReadError),
        (stall_before_head(), httpx.ReadTimeout),
        (text_stream("x").interrupted(2), httpx.ReadError),
        (Answer(parts=(Send(b"x"), Stall())), httpx.ReadTimeout),
    ],
)
async def test_faults_become_the_exceptions_of_httpx(
    answer: Answer, expected: type[Exception], autojump_clock: object
) -> None:
    async with client_of(ScriptedUpstream(answer)) as (client, upstreams, _):
        with pytest.raises(expected):
            await client.get("/", timeout=5)
        assert upstreams("http://api.test").in_use == 0


async def test_refused_and_crowded_are_told_apart(autojump_clock: object) -> None:
    scripted = ScriptedUpstream(stall_before_head())
    async with client_of(scripted, max_connections=1, connect_timeout=2) as (client, _, network):
        network.refuse("gone.test")
        with pytest.raises(httpx.ConnectError):
            await client.get("http://gone.test/")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/")
            await scripted.wait_for_requests(1)
            with pytest.raises(httpx.PoolTimeout):
                await client.get("/")
            nursery.cancel_scope.cancel()


@pytest.mark.sweep
async def test_cancelled_requests_under_a_contended_limit_leave_httpx_serving() -> None:
    """The churn that httpx's own pool dies of (`test_upstream.py` has that control)."""
    scripted = ScriptedUpstream(text_stream("hello", events=3, pause=0.002))
    async with client_of(scripted, max_connections=10) as (client, upstreams, _):
        for seed in range(rounds(quick=1, full=20)):
            rng = random.Random(seed)

            async def churn(rng: random.Random = rng) -> None:
                for _ in range(25):
                    with (
                        trio.move_on_after(rng.random() * 0.01),
                        contextlib.suppress(httpx.HTTPError),
                    ):
                        await client.get("/v1/models")

            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(churn)
            assert upstreams("http://api.test").in_use == 0
            for _ in range(20):
                assert (await client.get("/v1/models")).status_code == 200

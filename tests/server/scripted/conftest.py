"""A scripted upstream on a port of its own, one in memory, and raw talk with either."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from server.scripted import MemoryNetwork, ScriptedUpstream
from tests.kit.httpx_network import memory_transport


@pytest.fixture
async def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
async def base_url(upstream: ScriptedUpstream, nursery: trio.Nursery) -> str:
    url: str = await nursery.start(upstream.serve_tcp)
    return url


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def network(upstream: ScriptedUpstream, nursery: trio.Nursery) -> MemoryNetwork:
    return MemoryNetwork(nursery, default=upstream.serve_stream)


@pytest.fixture
async def memory_client(network: MemoryNetwork) -> AsyncIterator[httpx.AsyncClient]:
    transport = memory_transport(network)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://upstream.test", timeout=600
    ) as client:
        yield client

"""A scripted upstream beside the processes under test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from server.scripted import ScriptedUpstream


class Upstream(ScriptedUpstream):
    """With its address."""

    url = ""


@pytest.fixture
async def upstream(nursery: trio.Nursery) -> AsyncIterator[Upstream]:
    """An upstream that answers as the real one would."""
    upstream = Upstream()
    upstream.url = await nursery.start(upstream.serve_tcp)
    yield upstream
    nursery.cancel_scope.cancel()
    assert upstream.script_errors == []


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where a test writes its configuration."""
    return tmp_path / "config.toml"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that does not exist yet."""
    return tmp_path / "state"


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of the loopback interface on which somebody else listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]

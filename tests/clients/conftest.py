from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from tests.clients.claude_code import BINARY_VARIABLE, find_binary
from tests.clients.sessions import Session, session
from tests.kit.live import Live, accounts, serve_live

Start: TypeAlias = Callable[..., Awaitable[Live]]
Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Session]]


@pytest.fixture(scope="session")
def claude_code_binary() -> Path:
    """The real program; the test is skipped where it is not installed."""
    binary = find_binary()
    if binary is None:
        pytest.skip(
            "Claude Code is not installed: run `make clients` (needs npm), "
            f"or name a binary in {BINARY_VARIABLE}"
        )
    assert binary.exists(), f"{binary}, named in {BINARY_VARIABLE}, does not exist"
    return binary


@pytest.fixture
def start(nursery: trio.Nursery, tmp_path: Path) -> Start:
    """`await start("first", "second")`: the proxy with these accounts, in front of an upstream.

    Without names it passes the client's own credential through. `extra` is more configuration.
    """

    async def start(*names: str, extra: str = "") -> Live:
        live: Live = await nursery.start(serve_live, f"{extra}\n{accounts(*names)}", tmp_path)
        return live

    return start


@pytest.fixture
def opened(claude_code_binary: Path, tmp_path: Path) -> Open:
    """`async with opened() as running`: an interactive session between two upstreams."""
    return partial(session, claude_code_binary, tmp_path / "home")


@pytest.fixture(params=["pool", "passthrough"])
async def live(request: pytest.FixtureRequest, start: Start) -> Live:
    """The proxy in each of its modes: with one account, `first`, and with none."""
    return await start("first") if request.param == "pool" else await start()

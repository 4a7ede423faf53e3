"""A network of in-memory hosts, underneath an upstream's connections or for a test's own.

network = MemoryNetwork(nursery, default=upstream.serve_stream)
upstream = DirectUpstream(base_url, limits, tls, network.open_tcp)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from server.scripted.memory import BUFFER_BYTES, MemoryStream, stream_pair

Serve: TypeAlias = Callable[[trio.abc.Stream], Awaitable[object]]


class MemoryNetwork:
    """Connects to in-memory servers by host name; their tasks run in `nursery`.

    A host that nobody listens on goes to `default`, or is refused without one. `buffer_bytes` is
    what each direction of a connection holds before its sender waits.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        default: Serve | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._nursery = nursery
        self._default = default
        self._buffer_bytes = buffer_bytes
        self._hosts: dict[str, Serve | None] = {}
        self._silent: set[str] = set()

    def listen(self, host: str, serve: Serve) -> None:
        """Connections to this host are served by `serve`, each with its own stream."""
        self._silent.discard(host)
        self._hosts[host] = serve

    def refuse(self, host: str) -> None:
        """Connections to this host are refused."""
        self._silent.discard(host)
        self._hosts[host] = None

    def go_silent(self, host: str) -> None:
        """Connections to this host are never answered: they last until their own timeout."""
        self._silent.add(host)

    async def open_stream(self, host: str = "localhost") -> MemoryStream:
        """A connection to the host. Raises OSError when it is refused."""
        await trio.lowlevel.checkpoint()
        if host in self._silent:
            await trio.sleep_forever()  # the caller's connect timeout ends this
        serve = self._hosts.get(host, self._default)
        if serve is None:
            raise ConnectionRefusedError(f"nobody listens on {host}")
        ours, theirs = stream_pair(self._buffer_bytes)
        self._nursery.start_soon(serve, theirs)
        return ours

    async def open_tcp(self, host: str, port: int) -> MemoryStream:
        """The same, as an upstream's connections ask for it; ports mean nothing here."""
        return await self.open_stream(host)

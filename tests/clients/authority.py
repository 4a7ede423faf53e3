"""A CONNECT proxy on loopback that answers for the client's own hosts, under a test authority.

Whoever is told `HTTPS_PROXY` and `NODE_EXTRA_CA_CERTS` takes a scripted upstream for the real host.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import trustme

HEAD_BYTES_MAX = 65536

Serve = Callable[[trio.abc.Stream], Awaitable[None]]


class Authority:
    """`serve` answers, by host. `asked` are the hosts that were asked for, in order; a host without
    an entry is refused."""

    def __init__(self, serve: dict[str, Serve], directory: Path) -> None:
        self.asked: list[str] = []
        self._serve = serve
        self._authority = trustme.CA()
        self.certificate = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.certificate))
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What makes a client come here."""
        return {"HTTPS_PROXY": self.url, "NODE_EXTRA_CA_CERTS": str(self.certificate)}

    async def run(self, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started(self.url)
        await trio.serve_listeners(self._connection, listeners)

    async def _connection(self, stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                host = await self._connect(stream)
                if host is not None:
                    await self._serve[host](self._secured(stream, host))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the client left

    async def _connect(self, stream: trio.abc.Stream) -> str | None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
            more = await stream.receive_some()
            if not more:
                return None
            head += more
        method, _, rest = head.decode("latin-1").partition(" ")
        host = rest.partition(" ")[0].rpartition(":")[0]
        self.asked.append(host)
        if method != "CONNECT" or host not in self._serve:
            await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return None
        await stream.send_all(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        return host

    def _secured(self, stream: trio.abc.Stream, host: str) -> trio.SSLStream[trio.abc.Stream]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert(host).configure_cert(context)
        return trio.SSLStream(stream, context, server_side=True, https_compatible=True)

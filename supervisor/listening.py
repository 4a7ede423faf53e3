"""The listening socket: made before anything else, and outliving the acceptor."""

from __future__ import annotations

import socket
import sys

BACKLOG = 1024
"""Connections that wait while the acceptor is down or behind; the kernel may allow fewer."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `host`:`port` (0: any free one). Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let a second server share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def address_of(listening: socket.socket) -> tuple[str, int]:
    """Host and port it is bound to."""
    name = listening.getsockname()
    return str(name[0]), int(name[1])

"""One request at a time, in turns direct and through a relay: a blocking client, a process of its own.

Takes its plan as JSON in the first argument and prints its figures as JSON, in milliseconds. Blocking
sockets, because a scheduler of our own would be part of both figures, and its hiccups of their tails.
"""

from __future__ import annotations

import gc
import json
import socket
import ssl
import sys
import time
from typing import Any

from client import LENGTH, request, whole
from figures import median, percentile
from wire import READ_BYTES

WARM_REQUESTS = 100
WARM_SECONDS = 1.0
TIMEOUT = 30.0


class Link:
    """A kept connection; opened anew when the other side does not keep it."""

    def __init__(self, place: dict[str, Any], answer: str) -> None:
        self._place = place
        self._asked = request(
            place["port"], answer, prefix=place["prefix"], headers=place["headers"], size=2_048
        )
        self._socket: socket.socket | None = None

    def ask(self) -> float:
        """One request and its whole answer; seconds. Raises OSError, ValueError."""
        began = time.perf_counter()
        link = self._socket or self._connect()
        link.sendall(self._asked)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more(link)
        length = LENGTH.search(received, 0, end + 2)
        while not whole(received, end + 4, length):
            received += self._more(link)
        took = time.perf_counter() - began
        if not received.startswith(b"HTTP/1.1 200"):
            raise ValueError(received[:300].decode("latin-1"))
        if b"\r\nconnection: close" in received[:end].lower():
            link.close()
            self._socket = None
        return took

    @staticmethod
    def _more(link: socket.socket) -> bytes:
        data = link.recv(READ_BYTES)
        if not data:
            raise ConnectionError("closed in the middle of an answer")
        return data

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self._place["port"]), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if ca_file := self._place["ca_file"]:
            context = ssl.create_default_context(cafile=ca_file)
            self._socket = context.wrap_socket(plain, server_hostname="localhost")
        return self._socket


def measure(plan: dict[str, Any]) -> dict[str, Any]:
    """Windows of alternating requests; of each percentile the median over the windows.

    The 99th percentile of a whole run is that of its worst disturbance; over windows a disturbance
    spoils one of them.
    """
    links = {name: Link(plan[name], plan["answer"]) for name in ("direct", "relay")}
    for link in links.values():
        until = time.perf_counter() + WARM_SECONDS
        for _ in range(WARM_REQUESTS):
            link.ask()
            if time.perf_counter() > until:
                break
    windows: list[dict[str, list[float]]] = []
    for _ in range(plan["windows"]):
        samples: dict[str, list[float]] = {name: [] for name in links}
        until = time.perf_counter() + plan["seconds"] / plan["windows"]
        while time.perf_counter() < until:
            for name, link in links.items():
                samples[name].append(link.ask() * 1000)
        windows.append(samples)

    def over(name: str, share: float) -> float:
        return median(percentile(window[name], share) for window in windows)

    def added(share: float) -> float:
        return median(
            percentile(window["relay"], share) - percentile(window["direct"], share)
            for window in windows
        )

    figures = {"p50": 0.5, "p99": 0.99}
    return {
        "requests": sum(len(window["relay"]) for window in windows),
        "direct": {name: over("direct", share) for name, share in figures.items()},
        "relay": {name: over("relay", share) for name, share in figures.items()},
        "added": {name: added(share) for name, share in figures.items()},
    }


if __name__ == "__main__":
    gc.freeze()
    try:
        print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)
    except (OSError, ValueError) as error:
        sys.exit(f"one at a time: {error!r}")

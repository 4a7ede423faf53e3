"""Whether everything came back: what is still open, in flight or kept after the clients left."""

from __future__ import annotations

import time

import psutil
import running
from running import Process

SETTLE_SECONDS = 5.0


def state(upstream: Process, proxy: Process) -> dict[str, float]:
    """What must not grow from one wave of cancelled requests to the next."""
    # Before we open a connection of our own.
    descriptors, kept = proxy.descriptors(), clients_connections(proxy)
    status = running.get(proxy.port, "/status")
    serving = running.get(upstream.port, "/?bench=state")
    return {
        "RSS": proxy.rss(),
        "descriptors": descriptors,
        "in_flight on /status": status["in_flight"],
        "in_flight of all accounts": sum(known["in_flight"] for known in status["accounts"]),
        "answers still under way upstream": serving["busy"],
        "clients' connections not closed": kept,
        "restarts of actors": sum(actor["restarts"] for actor in status["actors"]),
    }


def settle(upstream: Process, proxy: Process, descriptors: int) -> None:
    """Waits until nothing is in flight, and no more descriptors are open than these (0: any).

    Bounded: what does not come back is for the caller to report.
    """
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        # The first closes all others at the upstream; at the next the proxy's pool sees it.
        for _ in range(2):
            running.get(proxy.port, "/v1/bench?answer=close-idle")
        calm = not running.get(proxy.port, "/status")["in_flight"]
        calm = calm and not running.get(upstream.port, "/?bench=state")["busy"]
        time.sleep(0.1)  # our own connections of just now go as well
        calm = calm and not clients_connections(proxy)
        if calm and (not descriptors or proxy.descriptors() <= descriptors):
            return


def clients_connections(proxy: Process) -> int:
    """Connections of clients that the proxy has not let go of."""
    return sum(
        connection.laddr.port == proxy.port and connection.status != psutil.CONN_LISTEN
        for connection in proxy.seen.net_connections("tcp")
        if connection.laddr
    )

"""The probe's question on its way: one small request through the same upstream as any other."""

from __future__ import annotations

from collections.abc import Callable

import trio

from protocol.peek import error_info
from protocol.probe_answers import ProbeAnswer, request_body, request_headers
from protocol.probing import Probe
from protocol.verdict import FaultKind
from server.upstream_port import Upstream, UpstreamFault, UpstreamRequest, UpstreamResponse

PROBE_SECONDS = 30.0
"""For the whole of it (`peers.md` 3, limits of others)."""

BODY_BYTES_MAX = 64 * 1024
"""A message of one token; what is longer is given up, and with it the connection."""

TARGET = b"/v1/messages"


class QuotaProbe:
    """`upstream` gives the upstream at a base URL; `user_agent` is our own name."""

    def __init__(self, upstream: Callable[[str], Upstream], user_agent: str) -> None:
        self._upstream = upstream
        self._user_agent = user_agent

    async def ask(self, probe: Probe) -> ProbeAnswer:
        """The answer, or how there came none; raises nothing of the network's."""
        request = UpstreamRequest(
            "POST", TARGET, request_headers(probe, self._user_agent), request_body(probe)
        )
        try:
            with trio.fail_after(PROBE_SECONDS):
                async with self._upstream(probe.base_url).send(request) as response:
                    body = await _read(response)
                    return ProbeAnswer(response.status, response.headers, error_info(body))
        except UpstreamFault as fault:
            return ProbeAnswer(fault=fault.kind)
        except trio.TooSlowError:
            return ProbeAnswer(fault=FaultKind.TIMEOUT)


async def _read(response: UpstreamResponse) -> bytes:
    """To its end, so that the connection can be used again."""
    body = b""
    async with response.chunks() as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                break
    return body

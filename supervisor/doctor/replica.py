"""A second program of the same configuration, in this process and on a free port, in front of a
built-in upstream: the running one cannot be asked what it does without sending something to the
real upstream, and costing money.

What differs: accounts are made up (an API key and a subscription's token, where there are any),
providers are left out, nobody's settings are touched, its state is temporary.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
import trio

from protocol.config import Access, Account, Config, Logs, Probe
from protocol.secrets import Secret
from protocol.status_view import utc
from supervisor import instance, logs
from supervisor.doctor.contract import LOGIN, Replay, breaches
from supervisor.doctor.contract import Upstream as ReplayedUpstream
from supervisor.doctor.facts import Breach
from supervisor.instance import Instance
from supervisor.listening import address_of, listen
from supervisor.parts import Parts
from supervisor.program import Program
from supervisor.version import version

ALL_SECONDS = 60.0


def replayed(config: Config, *, pool: bool) -> list[Breach]:
    """The rules that a program with this configuration does not keep."""
    logs.configure("error")
    with tempfile.TemporaryDirectory(prefix="llm-supervisor-doctor-") as directory:
        return trio.run(_replayed, config, pool, Path(directory))


async def _replayed(config: Config, pool: bool, state: Path) -> list[Breach]:
    upstream = ReplayedUpstream()
    found = [Breach("all of them", f"they took longer than {ALL_SECONDS:g} s")]
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(ALL_SECONDS):
            base_url: str = await nursery.start(upstream.server.serve_tcp)
            with listen("127.0.0.1", 0) as listening:
                host, port = address_of(listening)
                parts_config = likened(config, base_url, port, pool=pool)
                parts = Parts(parts_config, lambda: parts_config, state, listening)
                told = Instance(
                    pid=os.getpid(), host=host, port=port, id=instance.new_id(), version=version(),
                    started_at=utc(parts.wall_clock()),
                )  # fmt: skip
                program = Program(parts, told, nursery)
                async with trio.open_nursery() as running:
                    await running.start(program.run)
                    found = await breaches(Replay(told.url, upstream, pool=pool))
                    program.stop()
        nursery.cancel_scope.cancel()
    return found


def likened(config: Config, base_url: str, port: int, *, pool: bool) -> Config:
    """`config`, with everything that leads out of this process replaced."""
    accounts = (
        Account("doctor-token", token=Secret(LOGIN)),
        Account("doctor-key", api_key=Secret("sk-ant-api03-doctor")),
    )
    change = msgspec.structs.replace
    return change(
        config,
        server=change(
            config.server, host="127.0.0.1", port=port, tls_certificate="", tls_key="",
            drain_seconds=1.0,
        ),
        upstream=change(config.upstream, base_url=base_url, ca_file=""),
        accounts=accounts if pool else (),
        routing=change(config.routing, max_hold=0.0),
        probe=Probe(enabled=False),
        providers=(),
        fallbacks=(),
        routes=(),
        redirect=type(config.redirect)(),
        client=change(config.client, manage=False, usage_file=""),
        access=Access(),
        logs=Logs(level="error"),
    )  # fmt: skip

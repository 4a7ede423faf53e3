"""The whole program inside a test: every actor and the front door, over TCP or in memory."""

from __future__ import annotations

import contextlib
import random
import tomllib
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.runtime import Run
from protocol.config import Config, decode
from protocol.secrets import Secret
from server.scripted import MemoryNetwork, ScriptedUpstream
from server.upstream import DirectUpstream, tls_context
from server.upstream_port import Limits
from supervisor import program as program_module
from supervisor.certificate_pair import server_pair
from supervisor.child import GroupSpec
from supervisor.instance import Instance
from supervisor.listening import address_of, listen
from supervisor.parts import Parts
from supervisor.program import Program
from tests.kit import canaries
from tests.kit.memory_clients import MemoryClients
from tests.kit.memory_credentials import MemoryCredentials
from tests.kit.memory_disk import MemoryDisk
from tests.kit.memory_keys import OWNER_KEY, MemoryKeys

EPOCH = 1_790_000_000.0
"""The wall clock of a program in virtual time, when that begins."""

UPSTREAM = "http://api.test"


def wall_time() -> float:
    """Epoch seconds in virtual time."""
    return EPOCH + trio.current_time()


def configured(text: str) -> Config:
    """The configuration that a file with `text` would mean."""
    return decode(tomllib.loads(text), variables={}, source="test.toml")


class RunningProgram:
    """A program under test. `change` is what a reload will read from then on."""

    def __init__(self, parts: Parts, program: Program, url: str) -> None:
        self.parts = parts
        self.program = program
        self.url = url

    def change(self, text: str) -> None:
        """Replaces the configuration that the next reload reads (it may be invalid)."""
        self.parts.load = lambda: configured(text)

    async def connect(self) -> trio.abc.Stream:
        """A client's connection in memory (programs without a socket)."""
        from server.scripted import stream_pair

        ours, theirs = stream_pair()
        self.program.connections.admit(theirs)
        return ours


@contextlib.asynccontextmanager
async def program_over_tcp(config: str, state: Path) -> AsyncGenerator[RunningProgram, None]:
    """Serves on an ephemeral port of the loopback interface; stops, drained, at the end."""
    parsed = configured(config)
    listening = listen("127.0.0.1", 0)
    with listening:
        host, port = address_of(listening)
        parts = Parts(parsed, lambda: parsed, state, listening)
        parts.load = lambda: parts.config
        pair = server_pair(parsed)
        if pair is not None:
            parts.secure(pair)
        scheme = "http" if pair is None else "https"
        async with _running(parts, f"{scheme}://{host}:{port}", port) as running:
            yield running


@contextlib.contextmanager
def wrapped_actors(wrap: Mapping[str, Callable[[Run], Run]]) -> Generator[None, None, None]:
    """Programs that start inside run the named actors through their wrappers (`tests.kit.crashes`)."""
    original = program_module.tree

    def wrapping(*arguments: Any) -> tuple[GroupSpec, ...]:
        return tuple(_with_wrapped(group, wrap) for group in original(*arguments))

    program_module.tree = wrapping
    try:
        yield
    finally:
        program_module.tree = original


def _with_wrapped(group: GroupSpec, wrap: Mapping[str, Callable[[Run], Run]]) -> GroupSpec:
    children = tuple(
        msgspec.structs.replace(child, run=wrap[child.name](child.run))
        if child.name in wrap
        else child
        for child in group.children
    )
    return msgspec.structs.replace(group, children=children)


@contextlib.asynccontextmanager
async def program_in_memory(
    config: str,
    upstream: ScriptedUpstream,
    *,
    seed: int = 1,
    environ: Mapping[str, str] | None = None,
    credentials: MemoryCredentials | None = None,
    wall_clock: Callable[[], float] | None = None,
    keys: MemoryKeys | None = None,
) -> AsyncGenerator[RunningProgram, None]:
    """Everything in memory, for virtual time: disk, upstream and clients; no socket at all.

    `credentials` has the token store and login files (empty without it); `wall_clock` gives epoch
    seconds in place of `wall_time`; `keys` has the inbound keys, for a configuration that asks for
    them, and the owner's is `OWNER_KEY` then. The upstream answers under every host name. There is no front end that accepts: clients come
    in by `RunningProgram.connect`.
    """
    parsed = configured(
        f'{config}\n[upstream]\nbase_url = "{UPSTREAM}"\n' if "[upstream]" not in config else config
    )
    async with trio.open_nursery() as network_nursery:
        network = MemoryNetwork(network_nursery, default=upstream.serve_stream)
        tls = tls_context("")
        limits = _limits(parsed)

        def make(base_url: str) -> DirectUpstream:
            return DirectUpstream(base_url, limits, tls, network.open_tcp)

        disk = MemoryDisk()
        canaries.kept_on(disk)
        parts = Parts(
            parsed,
            lambda: parsed,
            Path("/state"),
            listen("127.0.0.1", 0),
            disk=disk,
            wall_clock=wall_clock or wall_time,
            rng=random.Random(seed),
            make_upstream=make,
            environ=environ,
            credential_disk=credentials or MemoryCredentials(wall_time),
            key_disk=keys or MemoryKeys(),
        )
        parts.clients = clients = MemoryClients(lambda: parts.config)
        clients.key = Secret(OWNER_KEY) if keys is not None else None
        with parts.listening_socket():
            async with _running(parts, "http://localhost", 0) as running:
                yield running
        network_nursery.cancel_scope.cancel()


def _limits(config: Config) -> Limits:
    upstream = config.upstream
    return Limits(
        upstream.connect_timeout,
        upstream.response_timeout,
        upstream.idle_timeout,
        upstream.max_connections,
    )


@contextlib.asynccontextmanager
async def _running(parts: Parts, url: str, port: int) -> AsyncGenerator[RunningProgram, None]:
    instance = Instance(
        pid=1, host="127.0.0.1", port=port, started_at="", id="test-instance", version="test"
    )
    canaries.written_to(parts.state_directory)
    async with trio.open_nursery() as connections:
        program = Program(parts, instance, connections)
        async with trio.open_nursery() as running:
            await running.start(program.run)
            try:
                yield RunningProgram(parts, program, url)
            finally:
                program.stop()
                with trio.move_on_after(20, shield=True):
                    await program.engine.stopped.wait()
        connections.cancel_scope.cancel()

"""What is compared: how each relay is started, and what it is known by afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nginx
import running
from nginx import Upstream
from running import HERE, START_SECONDS, Failed

CONNECTIONS = "max_connections = 4000\n"
"""The default lets in 1,000; with that many open streams the bench itself would stand outside."""

HEARD: list[str] = []
"""What this program complained of on its standard error while it was measured."""


@dataclass(frozen=True)
class Relay:
    """Something between client and upstream.

    `pid` None: nothing is, and the client may have to speak TLS, trusting `ca_file`. `prefix` begins
    every path; `start_seconds` went by until it was ready.
    """

    name: str
    port: int
    pid: int | None
    ca_file: str = ""
    start_seconds: float | None = None
    prefix: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"{'https' if self.ca_file else 'http'}://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Of all its processes so far."""
        return 0.0 if self.pid is None else running.cpu_seconds(self.pid)

    def resident(self) -> float | None:
        """Megabytes of all its processes."""
        return None if self.pid is None else running.resident(self.pid)


Started = contextlib.AbstractContextManager[Relay]
Start = Callable[[Path, Upstream], Started]


@dataclass(frozen=True)
class Contender:
    """A relay that can be started, in front of the plain upstream or of the one with TLS."""

    name: str
    start: Start
    tls: bool = False
    lane: bool = False
    """Whether it is one of ours."""


@contextlib.contextmanager
def direct(_home: Path, upstream: Upstream) -> Iterator[Relay]:
    """No relay at all."""
    yield Relay("direct", upstream.port, None, upstream.ca_file)


@contextlib.contextmanager
def node_pipe(home: Path, upstream: Upstream) -> Iterator[Relay]:
    """`pipe.js`. Raises Failed."""
    command = [str(node()), str(HERE / "pipe.js"), upstream.url, upstream.ca_file]
    with spawned(command, home) as (process, began):
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line:
            raise Failed(f"the Node pipe did not start: {complaints(home)}")
        took = time.perf_counter() - began
        yield Relay("node", int(line.rpartition(":")[2]), process.pid, start_seconds=took)


@contextlib.contextmanager
def nginx_relay(home: Path, upstream: Upstream) -> Iterator[Relay]:
    """nginx with one worker."""
    began = time.perf_counter()
    with nginx.relay(home, upstream) as (port, pid):
        yield Relay("nginx", port, pid, start_seconds=time.perf_counter() - began)


def lane(*, express: bool) -> Start:
    """This program as a user starts it, with two accounts."""

    @contextlib.contextmanager
    def started(home: Path, upstream: Upstream) -> Iterator[Relay]:
        trust = f'ca_file = "{upstream.ca_file}"\n' if upstream.ca_file else ""
        with running.proxy(
            upstream.url, home, express=express, in_upstream=trust, in_server=CONNECTIONS
        ) as process:
            yield Relay("lane", process.port, process.root, start_seconds=process.start_seconds)
            if said := [line for line in process.complaints().splitlines() if " INFO " not in line]:
                HEARD.append(f"the program wrote {len(said)} complaints, the first: {said[0]}")

    return started


EXPRESS = Contender("express lane", lane(express=True), lane=True)
EXPRESS_TLS = Contender("express lane, TLS", lane(express=True), tls=True, lane=True)
REFERENCE = Contender("reference lane", lane(express=False), lane=True)
DIRECT = Contender("direct", direct)
DIRECT_TLS = Contender("direct, TLS", direct, tls=True)
NODE = Contender("a bare Node pipe", node_pipe)
NODE_TLS = Contender("a bare Node pipe, TLS", node_pipe, tls=True)
NGINX = Contender("nginx", nginx_relay)
NGINX_TLS = Contender("nginx, TLS", nginx_relay, tls=True)


def contenders() -> list[Contender]:
    """Those whose programs are installed, in the order of the table."""
    there = [DIRECT, REFERENCE, EXPRESS]
    if node():
        there.append(NODE)
    if not nginx.found():
        return there
    there += [NGINX, DIRECT_TLS, EXPRESS_TLS]
    return [*there, NODE_TLS, NGINX_TLS] if node() else [*there, NGINX_TLS]


def node() -> str | None:
    """The program."""
    return shutil.which("node")


@contextlib.contextmanager
def spawned(
    command: list[str],
    home: Path,
    *,
    environment: dict[str, str] | None = None,
    output: int | None = subprocess.PIPE,
) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """A process in a session of its own, and when it was started; all of it is ended.

    Its standard error goes to `home/stderr`, and so does its output when `output` is None.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "stderr").open("wb") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output if output is not None else errors,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield process, began
    finally:
        _end(process)


def complaints(home: Path) -> str:
    """The end of what it wrote to its standard error."""
    return (home / "stderr").read_text("utf-8", "replace").strip()[-1500:]


def _end(process: subprocess.Popen[str]) -> None:
    """The whole family: what a peer starts does not always end with it."""
    members = running.family(process.pid) if process.poll() is None else []
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    for member in members:
        with contextlib.suppress(running.psutil.NoSuchProcess):
            member.kill()
    process.wait(START_SECONDS)
    if process.stdout is not None:
        process.stdout.close()


def environment(**more: str) -> dict[str, str]:
    """What a program needs to run, and nothing that configures it or a client."""
    kept = ("PATH", "LANG", "TMPDIR")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **more}

"""The processes of a benchmark: upstream, proxy and load client, each started and ended here."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 40.0
LOAD_SECONDS = 60.0
"""Past these something hangs; no figure comes near them."""

DESCRIPTORS = 65_536
DESCRIPTORS_MIN = 4_096

CONFIGURATION = """\
[upstream]
base_url = "{url}"
{upstream}
[[account]]
name = "one"
api_key = "made-up-one"
[[account]]
name = "two"
api_key = "made-up-two"
"""


class Failed(Exception):
    """A process did not do what a benchmark needs of it."""


def _environment(home: Path) -> dict[str, str]:
    """What Python needs, a made-up home, and nothing that configures the proxy or a client."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "TMPDIR", "SYSTEMROOT") or name.startswith(("PYTHON", "LC_"))
    }
    # An installed program has its byte code; without it each start compiles four hundred files.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "HOME": str(home), "SUPERVISOR_STATE_DIR": str(home / "state")}


class Process:
    """A process of which the first line of output is awaited."""

    def __init__(self, command: list[str], home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._errors = home / "stderr"
        began = time.perf_counter()
        with self._errors.open("wb") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=_environment(home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._popen.stdout is not None
        self.first_line = self._popen.stdout.readline().strip()
        self.start_seconds = time.perf_counter() - began
        self.pid = self.root = self._popen.pid
        if not self.first_line:
            self.stop()
            raise Failed(f"{' '.join(command)} did not start: {self.complaints()[-2000:]}")
        self.seen = psutil.Process(self.pid)
        for worker in self.seen.children():  # the program: what it does is done in there
            self.pid, self.seen = worker.pid, worker

    @property
    def port(self) -> int:
        """The port at the end of its first line."""
        return int(self.first_line.rpartition(":")[2])

    def running(self) -> bool:
        """Whether it still does."""
        return self._popen.poll() is None

    def complaints(self) -> str:
        """Everything on its standard error."""
        return self._errors.read_text("utf-8", "replace").strip()

    def rss(self) -> float:
        """Resident memory in MB."""
        return float(self.seen.memory_info().rss) / 1e6

    def descriptors(self) -> int:
        """Open files and sockets."""
        return int(self.seen.num_fds())

    def stop(self) -> float:
        """Asks it to end and waits; seconds it took."""
        began = time.perf_counter()
        if self.running():
            self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        return time.perf_counter() - began


@contextlib.contextmanager
def upstream(home: Path) -> Iterator[Process]:
    """The upstream, until the end of the block."""
    process = Process([str(HERE / "upstream.py")], home)
    try:
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def proxy(
    upstream: int | str,
    home: Path,
    *,
    extra: str = "",
    in_upstream: str = "",
    express: bool = True,
    in_server: str = "",
) -> Iterator[Process]:
    """The program as a user starts it, in front of that upstream (a port of this machine, or a URL).

    `extra` is more configuration, `in_upstream` and `in_server` are more for those tables. Without
    `express` the reference lane serves.
    """
    in_server += "" if express else "express = false\n"
    extra += f"[server]\n{in_server}" if in_server else ""
    url = upstream if isinstance(upstream, str) else f"http://127.0.0.1:{upstream}"
    home.mkdir(parents=True, exist_ok=True)
    file = home / "config.toml"
    file.write_text(CONFIGURATION.format(url=url, upstream=in_upstream) + extra, "utf-8")
    file.chmod(0o600)
    process = Process(
        ["-m", "supervisor", "run", str(file), "--port", "0", "--quiet", "--no-client"], home
    )
    try:
        yield process
    finally:
        process.stop()


def _start_load(plan: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "load.py"), json.dumps(plan)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started: what a user pays for."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        raise Failed(f"process {pid} has died") from None


def cpu_seconds(pid: int) -> float:
    """Processor time of the family so far, user and system."""
    spent = 0.0
    for member in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            spent += sum(member.cpu_times()[:2])
    return spent


def resident(pid: int) -> float:
    """Resident memory of the family in MB; pages that two of them share count twice."""
    held = 0
    for member in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            held += int(member.memory_info().rss)
    return held / 1e6


def ended_like_interrupted() -> None:
    """From now on SIGTERM, too, ends what we have started: by an exception, not at once."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


def many_descriptors() -> None:
    """As many open files as are permitted, for us and for what we start. Raises Failed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft < DESCRIPTORS_MIN:
        raise Failed(
            f"a process may have {soft} open files here, and {DESCRIPTORS_MIN} are needed: "
            f"say `ulimit -n {DESCRIPTORS_MIN}` first, or ask who limits it"
        )


def load(scenario: str, **plan: object) -> dict[str, Any]:
    """What the load client measured; raises Failed when it could not."""
    client = _start_load({"scenario": scenario, **plan})
    return _result(client, scenario)


@contextlib.contextmanager
def held_streams(port: int, streams: int, **plan: object) -> Iterator[int]:
    """Silent streams that stay open in the block; how many there are."""
    with _meanwhile("hold", {"port": port, "streams": streams, **plan}) as (opened, _):
        yield opened


@contextlib.contextmanager
def company(
    port: int, streams: int, mode: str, **plan: object
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Streams with events in the block; how many there are, and after it what became of them."""
    with _meanwhile("company", {"port": port, "streams": streams, "mode": mode, **plan}) as both:
        yield both


@contextlib.contextmanager
def _meanwhile(scenario: str, plan: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    client = _start_load({"scenario": scenario, **plan})
    measured: dict[str, Any] = {}
    try:
        assert client.stdout is not None
        told = client.stdout.readline()  # bounded: the client gives up by itself
        if not told:
            raise Failed("the load client could not open streams")
        yield int(json.loads(told)["open"]), measured
    finally:
        measured.update(_result(client, scenario))


def _result(client: subprocess.Popen[str], scenario: str) -> dict[str, Any]:
    try:
        output, _ = client.communicate("\n", timeout=LOAD_SECONDS)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise Failed(f"{scenario} did not end within {LOAD_SECONDS:g} s") from None
    if client.returncode:
        raise Failed(f"the load client failed in {scenario}; its error is above")
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measured


def get(port: int, target: str) -> dict[str, Any]:
    """A JSON document of the proxy or of the upstream; raises Failed when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", target, headers={"Connection": "close"})
        document: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Failed(f"GET {target} of port {port}: {error!r}") from error
    finally:
        connection.close()
    return document

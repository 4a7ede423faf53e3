"""The processes of a benchmark: upstream, proxy and load client, each started and ended here."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
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
        self.pid = self._popen.pid
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
    upstream: int | str, home: Path, *, extra: str = "", in_upstream: str = "", express: bool = True
) -> Iterator[Process]:
    """The program as a user starts it, in front of that upstream (a port of this machine, or a URL).

    `extra` is more configuration, and `in_upstream` more for its table `[upstream]`. Without
    `express` the reference lane serves.
    """
    extra += "" if express else "[server]\nexpress = false\n"
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


def load(scenario: str, **plan: object) -> dict[str, Any]:
    """What the load client measured; raises Failed when it could not."""
    client = _start_load({"scenario": scenario, **plan})
    return _result(client, scenario)


@contextlib.contextmanager
def held_streams(port: int, streams: int) -> Iterator[int]:
    """Streams that stay open in the block; how many there are."""
    client = _start_load({"scenario": "hold", "port": port, "streams": streams})
    try:
        assert client.stdout is not None
        told = client.stdout.readline()
        if not told:
            raise Failed("the load client could not open streams")
        yield int(json.loads(told)["open"])
    finally:
        _result(client, "hold")


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

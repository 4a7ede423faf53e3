"""A stand-in for a running instance: it holds the lock, publishes itself and answers over HTTP.

`python -m tests.supervisor.stub_instance STATE_DIR` runs one as a process of its own; it stops on
SIGTERM, and on `POST /status/drain`.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from supervisor import instance

STARTED_AT = "2026-11-21T13:00:00Z"


class StubServer(ThreadingHTTPServer):
    """Answers `answers[(method, path without query)]`, each a status and a JSON value."""

    daemon_threads = True

    def __init__(self, instance_id: str, token: str = "") -> None:
        self.token = token
        self.seen: list[tuple[str, str, str | None]] = []
        self.drained = threading.Event()
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {
            ("GET", "/health/live"): (200, {"status": "ok", "instance": instance_id}),
            ("GET", "/status"): (200, {"version": "0.1.0", "mode": "passthrough"}),
            ("GET", "/status/requests"): (200, {"requests": []}),
            ("POST", "/status/reload"): (200, {"restart_needed": []}),
            ("POST", "/status/drain"): (202, {}),
        }
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: StubServer

    def _answer(self) -> None:
        server, path = self.server, self.path.split("?")[0]
        authorization = self.headers.get("authorization")
        server.seen.append((self.command, self.path, authorization))
        status, body = server.answers.get((self.command, path), (404, _error("not here")))
        wanted = f"Bearer {server.token}"
        if server.token and path.startswith("/status") and authorization != wanted:
            status, body = 401, _error("a token is needed")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        if path == "/status/drain" and status == 202:
            server.drained.set()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *values: object) -> None:
        """Quiet: what it prints would be taken for the command's own."""


def _error(message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "x", "message": message}}


@contextmanager
def stub_instance(
    state_dir: Path,
    *,
    token: str = "",
    config: str = "",
    tls: ssl.SSLContext | None = None,
    patience: float = 0.0,
) -> Iterator[StubServer]:
    """A running instance inside this process; its lock is held until the end of the block."""
    instance_id = instance.new_id()
    with (
        instance.acquire(state_dir, patience=patience) as lock,
        StubServer(instance_id, token) as server,
    ):
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        lock.publish(
            instance.Instance(
                pid=os.getpid(),
                host="127.0.0.1",
                port=server.server_address[1],
                started_at=STARTED_AT,
                id=instance_id,
                version="0.1.0",
                scheme="http" if tls is None else "https",
                config=config,
            )
        )
        try:
            yield server
        finally:
            server.shutdown()


def start_process(state_dir: Path, *words: str) -> subprocess.Popen[str]:
    """This module as a process; with the word `deaf` it refuses to drain."""
    command = [sys.executable, "-m", __name__, str(state_dir), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextmanager
def process_holding(state_dir: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs until the end of the block, if nobody ends it before."""
    process = start_process(state_dir, *words)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def main(state_dir: Path, deaf: bool) -> None:
    try:
        with stub_instance(state_dir, patience=20.0) as server:
            if deaf:
                server.answers["POST", "/status/drain"] = (500, _error("deaf"))
            signal.signal(signal.SIGTERM, lambda *_: server.drained.set())
            print("ready", flush=True)  # noqa: T201 - the test waits for it
            server.drained.wait(30)
    except instance.AlreadyRunning as error:
        print(error, flush=True)  # noqa: T201
        sys.exit(73)


if __name__ == "__main__":
    main(Path(sys.argv[1]), deaf="deaf" in sys.argv[2:])

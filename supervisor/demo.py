"""`supervisor demo`: the whole program against a built-in upstream, with one account running dry.

Nothing of the user's is touched: the state directory is temporary, the ports are free ones, the
accounts and the upstream are made up, and no client's settings are changed.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import trio

from protocol.config import Account, Config, Cooldown, Server, Upstream
from protocol.request import RequestHead
from protocol.secrets import Secret
from protocol.status_view import utc
from server.scripted import Answer, ScriptedUpstream, SeenRequest, rate_limited, reply_to
from server.upstream import DirectUpstream, tls_context
from server.upstream_port import Limits, UpstreamRequest
from supervisor import exit_codes, instance, logs
from supervisor.elapsed_clock import ElapsedClock
from supervisor.instance import Instance
from supervisor.listening import address_of, listen
from supervisor.parts import Parts
from supervisor.program import Program
from supervisor.version import version

ACCOUNTS = ("one", "two", "three")
REQUESTS_BEFORE_DRY = 3
DRY_SECONDS = 20.0
SHOWN_REQUESTS = 6
PAUSE_SECONDS = 0.7


class RunningDry:
    """An account that serves a few requests and then is limited for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = REQUESTS_BEFORE_DRY
        self._dry_until = 0.0

    def __call__(self, seen: SeenRequest) -> Answer:
        """The next answer."""
        now = self._clock()
        if now < self._dry_until:
            return rate_limited(retry_after=max(round(self._dry_until - now), 1))
        if self._left == 0:
            self._dry_until = now + DRY_SECONDS
            self._left = REQUESTS_BEFORE_DRY
            return rate_limited(retry_after=round(DRY_SECONDS))
        self._left -= 1
        return reply_to(seen)


def run() -> int:
    """Serves until Ctrl-C; gives back the exit code."""
    logs.configure("warning")
    with tempfile.TemporaryDirectory(prefix="llm-supervisor-demo-") as directory:
        return trio.run(_main, Path(directory), clock=ElapsedClock())


async def _main(state: Path) -> int:
    upstream = ScriptedUpstream(scripts={_key("one"): [RunningDry(trio.current_time)]})
    async with trio.open_nursery() as nursery:
        url = await nursery.start(upstream.serve_tcp)
        with listen("127.0.0.1", 0) as listening, instance.acquire(state) as lock:
            host, port = address_of(listening)
            config = _config(url, port)
            parts = Parts(config, lambda: config, state, listening)
            told = Instance(
                pid=os.getpid(),
                host=host,
                port=port,
                started_at=utc(parts.wall_clock()),
                id=instance.new_id(),
                version=version(),
            )
            program = Program(parts, told, nursery)
            async with trio.open_nursery() as running:
                await running.start(_stop_on_signal, program)
                await running.start(program.run)
                lock.publish(told)
                _introduce(told, state)
                running.start_soon(_show_requests, told.url, state)
                await program.engine.stopped.wait()
                running.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    return exit_codes.STOPPED_AS_ASKED


def _key(name: str) -> str:
    return f"demo-key-{name}"


def _config(upstream_url: str, port: int) -> Config:
    return Config(
        server=Server(port=port, drain_seconds=2.0),
        upstream=Upstream(base_url=upstream_url),
        cooldown=Cooldown(maximum=60.0),
        accounts=tuple(Account(name=name, api_key=Secret(_key(name))) for name in ACCOUNTS),
    )


def _say(text: str = "") -> None:
    click.echo(text)


def _introduce(told: Instance, state: Path) -> None:
    _say(f"listening on {told.url}")
    _say(f"  a demonstration: accounts {', '.join(ACCOUNTS)} on a built-in upstream, nothing real")
    _say(f"  account one serves {REQUESTS_BEFORE_DRY} requests, then it is limited for "
         f"{DRY_SECONDS:g} s")  # fmt: skip
    _say()


async def _show_requests(url: str, state: Path) -> None:
    """A few requests of our own, told one by one."""
    client = DirectUpstream(url, Limits(response_timeout=30), tls_context(""))
    for number in range(1, SHOWN_REQUESTS + 1):
        _say(f"  request {number}: {await _one_request(client)}")
        await trio.sleep(PAUSE_SECONDS)
    _say()
    _say("  still serving; try it yourself, and end it with Ctrl-C:")
    _say(f"    ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=demo claude -p hello")
    _say(f"    curl -s {url}/v1/messages -H 'content-type: application/json' \\")
    _say('      -d \'{"model": "claude-opus-5-5", "max_tokens": 64, '
         '"messages": [{"role": "user", "content": "hello"}]}\'')  # fmt: skip
    # As it was started: `make demo` leaves the command outside of the PATH.
    command = sys.argv[0] if Path(sys.argv[0]).name == "supervisor" else "supervisor"
    _say(f"    SUPERVISOR_STATE_DIR={state} {command} status --watch")


async def _one_request(client: DirectUpstream) -> str:
    body = msgspec.json.encode(
        {
            "model": "claude-opus-5-5",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": "hello"}],
        }
    )
    headers = [(b"content-type", b"application/json")]
    began = trio.current_time()
    async with client.send(UpstreamRequest("POST", b"/v1/messages", headers, body)) as response:
        async with response.chunks() as chunks:
            async for _ in chunks:
                pass
        head = RequestHead("POST", b"/", response.headers)
        spent = (trio.current_time() - began) * 1000
        account = head.text(b"x-supervisor-account")
        attempts = int(head.text(b"x-supervisor-attempts") or "1")
        moved = f", after {attempts - 1} failover: account one is limited" if attempts > 1 else ""
        return f"{response.status} from account {account} in {spent:.0f} ms{moved}"


async def _stop_on_signal(
    program: Program, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        async for _ in received:
            if program.stopping:
                program.engine.stop_at_once()
            program.stop()

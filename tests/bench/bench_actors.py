"""What the actors' share of a relayed request costs: lease, outcome, usage, record, journal's line.

    make bench
    python tests/bench/bench_actors.py --quick

Every actor runs, in memory, without sockets and upstreams: so many workers do for each request what
the relay does beside relaying. Three figures that hold on a busy machine as well: processor time
(the best of several rounds), steps of the scheduler, and calls of Python functions, each for one
request. One scheduler step of a worker's in each request stands for the upstream's answer.

- new quota: each answer brings new rate-limit headers; else they repeat;
- session: requests carry the session of a client, as Claude Code's do.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import trio

from protocol.asked import Asked
from protocol.dispatch import Acquire, Lease
from protocol.identity import session_of
from protocol.request import Headers, RequestHead, Route
from protocol.usage import Usage
from server.desk import Desk, Ports, Tried
from server.record import Record
from server.scripted import ScriptedUpstream
from tests.kit import program as kit
from tests.kit.memory_disk import MemoryDisk
from tests.kit.program import RunningProgram, program_in_memory

ACCOUNTS = 3
CONFIG = "".join(
    f'[[account]]\nname = "account-{number}"\napi_key = "key-{number}-of-the-bench"\n'
    for number in range(ACCOUNTS)
)
QUICK = ((1, 200), (16, 800))
FULL = ((1, 1000), (16, 4000))
ROUNDS = 5
KINDS = ((False, False), (False, True), (True, True))
"""Whether each answer brings new quota, whether requests carry a session."""

PLAIN_HEADERS: Headers = (
    (b"date", b"Sat, 21 Nov 2026 12:00:00 GMT"),
    (b"content-type", b"application/json"),
    (b"content-length", b"2048"),
    (b"connection", b"keep-alive"),
    (b"request-id", b"req_011CSHoEeqs5C35K2UUqR7Fy"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains; preload"),
    (b"anthropic-organization-id", b"00000000-0000-0000-0000-000000000000"),
    (b"server", b"cloudflare"),
)
RESET = 1_790_010_000


def answer_headers(used: int) -> Headers:
    """Those of an answer to a subscription; `used` is what has been used, in thousandths."""
    told = {
        "status": "allowed",
        "reset": f"{RESET}",
        "representative-claim": "five_hour",
        "fallback-percentage": "0.5",
        "5h-status": "allowed",
        "5h-reset": f"{RESET}",
        "5h-utilization": f"{used / 1000:g}",
        "7d-status": "allowed",
        "7d-reset": f"{RESET + 500_000}",
        "7d-utilization": "0.31",
        "overage-status": "rejected",
        "overage-disabled-reason": "org_level_disabled",
    }
    prefix = "anthropic-ratelimit-unified-"
    return PLAIN_HEADERS + tuple(
        ((prefix + name).encode(), value.encode()) for name, value in told.items()
    )


ANSWERS = [answer_headers(used) for used in range(900)]

REQUEST_HEADERS: Headers = (
    (b"Host", b"127.0.0.1:8317"),
    (b"Accept", b"application/json"),
    (b"Content-Type", b"application/json"),
    (b"User-Agent", b"claude-cli/2.1.0 (external, cli)"),
    (b"Authorization", b"Bearer sk-ant-oat01-benchbenchbenchbench"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"oauth-2025-04-20,interleaved-thinking-2025-05-14"),
)


class Workload:
    """One kind of requests on one program."""

    def __init__(self, ports: Ports, *, fresh: bool, session: bool) -> None:
        self._ports = ports
        self._fresh = fresh
        self._session = session
        self._number = 0
        self._left = 0

    async def run(self, workers: int, requests: int) -> None:
        """`requests` of them, `workers` at a time."""
        self._left = requests
        async with trio.open_nursery() as nursery:
            for number in range(workers):
                nursery.start_soon(self._work, number)

    async def _work(self, worker: int) -> None:
        headers = REQUEST_HEADERS
        if self._session:
            name = f"3f2b8c1e-0000-4000-8000-{worker:012d}".encode()
            headers = (*headers, (b"x-claude-code-session-id", name))
        head = RequestHead("POST", b"/v1/messages?beta=true", headers)
        while self._left > 0:
            self._left -= 1
            self._number += 1
            await self._one(head)

    async def _one(self, head: RequestHead) -> None:
        """As `server/relay.py` has it."""
        ports = self._ports
        name = f"{ports.random.getrandbits(128):032x}"
        record = Record(head, name, Route.MESSAGES, ports.wall_clock())
        record.trace.body_read()
        asked = Asked("claude-sonnet-5-5", ("oauth-2025-04-20",))
        ask = Acquire(
            Route.MESSAGES,
            asked.model,
            owner=self._session,
            client="client-0123abcd",
            session=session_of(head),
            at=ports.wall_clock(),
            betas=asked.betas,
        )
        desk = Desk(ports)
        began = trio.current_time()
        lease = await desk.acquire(ask)
        assert isinstance(lease, Lease)
        record.queued += trio.current_time() - began
        record.trace.chose(lease, began, trio.current_time())
        try:
            tried = Tried(asked, trio.current_time())
            record.attempts += 1
            record.account = lease.account
            record.trace.trying(lease.account)
            record.reason = "; ".join(lease.reasons)
            await trio.lowlevel.checkpoint()  # the upstream's answer
            told = ANSWERS[self._number % 900 if self._fresh else 420]
            record.status, record.first_byte_at = 200, trio.current_time()
            desk.report_success(lease, 200, told, tried, whole=True)
            record.bytes_out = 2048
            record.complete()
            record.usage = usage = Usage(12, 345, 6000, 78)
            desk.report_usage(lease, usage)
        finally:
            await desk.release(lease)  # noqa: ASYNC102 - it shields itself
        record.served("complete")
        ports.write_line(record)


class Steps(trio.abc.Instrument):
    """Counts the steps of each task by its kind."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        name = task.name.rsplit(".", 1)[-1]
        self.counts["worker" if name == "_work" else name.partition("/")[0]] += 1


@contextmanager
def counted_steps() -> Iterator[Steps]:
    """The steps of the tasks meanwhile."""
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)


@contextmanager
def counted_calls() -> Iterator[collections.Counter[str]]:
    """The calls of Python functions meanwhile, and of those written in C."""
    calls: collections.Counter[str] = collections.Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        calls[event] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


class NoDisk(MemoryDisk):
    """Keeps nothing: a file that grows in memory is copied with every line."""

    async def append(self, path: Path, data: bytes) -> None:
        await trio.lowlevel.checkpoint()


async def measure(program: RunningProgram, plan: tuple[tuple[int, int], ...]) -> None:
    """Prints a row for each kind of requests."""
    print("actors, record and journal, for one relayed request")
    print(f"  {'workers':>7} {'':<22} {'CPU us':>7} {'Python calls':>13} {'C calls':>8}  steps")
    for workers, requests in plan:
        for fresh, session in KINDS:
            work = Workload(program.parts.door.ports, fresh=fresh, session=session)
            await work.run(workers, requests // 4)
            best = float("inf")
            for _ in range(ROUNDS):
                began = time.process_time()
                await work.run(workers, requests)
                best = min(best, (time.process_time() - began) / requests)
            few = requests // 4
            with counted_steps() as steps:
                await work.run(workers, few)
            with counted_calls() as calls:
                await work.run(workers, few)
            told = ", ".join(
                f"{name} {count / few:.2f}"
                for name, count in steps.counts.most_common()
                if count / few >= 0.01
            )
            kind = ("new quota" if fresh else "same quota") + (", session" if session else "")
            print(
                f"  {workers:>7} {kind:<22} {best * 1e6:>7.1f} {calls['call'] / few:>13.0f} "
                f"{calls['c_call'] / few:>8.0f}  {told}"
            )
    lost = program.parts.dropped.total
    print(f"  lines of the request log that were dropped meanwhile: {lost}")


async def main(plan: tuple[tuple[int, int], ...]) -> None:
    """One program, every kind of requests."""
    kit.MemoryDisk = NoDisk  # type: ignore[misc]
    async with program_in_memory(CONFIG, ScriptedUpstream()) as program:
        await measure(program, plan)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    arguments, _ = parser.parse_known_args()  # those of the other benchmarks are not ours
    trio.run(main, QUICK if arguments.quick else FULL)

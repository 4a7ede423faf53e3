"""Faults at moments that nobody chose, under relayed load: SIGKILL, SIGTERM, two starts at once.

Clients tell a whole answer from a visible break and from an answer that is wrong. A break is allowed
where the process that served was killed; a wrong answer never is.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from server.scripted import Answer, SeenRequest, Window, text_message, text_stream, unified_headers
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import JSON
from tests.e2e.test_full_disk import ON_A_SMALL_DISK, may_mount
from tests.e2e.test_keeper import LONG, another_worker, worker_of
from tests.kit.live import accounts
from tests.kit.process import Supervised, listening, pointed_at, started, write_config
from tests.kit.rounds import rounds
from tests.kit.wire import Wire

pytestmark = [pytest.mark.slow, LONG]

CLIENTS = 12
WORDS = 12
QUOTA = unified_headers({"5h": Window(utilization=0.5, resets_at=2_000_000_000)})
"""So that there is something to keep in quota.json."""


def its_word(seen: SeenRequest) -> Answer:
    """Each request gets its own word back, streams slowly."""
    asked = json.loads(seen.body)
    word = asked["messages"][0]["content"]
    if asked["stream"]:
        return text_stream(f"{word} " * WORDS, events=WORDS, pause=0.03)
    return text_message(word).with_headers(QUOTA)


class Load:
    """Clients that ask over and over, every other time for a stream. `outcomes` by kind."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._name = random.randbytes(4).hex()
        self.unanswered: set[str] = set()
        """Words of requests that got no byte back."""
        self.stopping = False

    async def client(self, url: str, number: int) -> None:
        serial = 0
        while not self.stopping:
            serial += 1
            outcome = await self._one(
                url, f"w{self._name}x{number}x{serial}e", stream=bool(serial % 2)
            )
            self.outcomes[outcome] += 1
            await trio.sleep(0.005)

    async def _one(self, url: str, word: str, *, stream: bool) -> str:
        turns = [{"role": "user", "content": word}]
        asked = {"model": "m", "max_tokens": 9, "stream": stream, "messages": turns}
        try:
            wire = await Wire.to(url)
        except OSError:
            return "refused"
        async with wire:
            try:
                await wire.send("POST", "/v1/messages", JSON, json.dumps(asked).encode())
                answered = await wire.answer_head()
            except (OSError, AssertionError, trio.BrokenResourceError):
                self.unanswered.add(word)
                return "broken before an answer"
            with contextlib.suppress(OSError, ValueError, trio.BrokenResourceError):
                await wire.body_of(answered)
        text = answered.body.decode("utf-8", "replace")
        if not answered.complete:
            return "broken"
        if answered.status == 503:
            return "told to come back"
        if answered.status != 200 or text.count(word) != (WORDS if stream else 1):
            self.wrong.append(f"{answered.status} {text[:300]}")
            return "wrong"
        return "whole"


@contextlib.asynccontextmanager
async def under_load(url: str) -> AsyncGenerator[Load]:
    load = Load()
    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start_soon(load.client, url, number)
        yield load
        load.stopping = True


@pytest.fixture
def served(upstream: Upstream, config: Path) -> Path:
    upstream.default(its_word)
    return write_config(config, pointed_at(upstream.url, accounts("a", "b"), drain=20))


def logged(state: Path) -> int:
    """Lines of the request log; each must be whole."""
    lines = [
        json.loads(line)
        for path in state.glob("logs/requests-*.jsonl")
        for line in path.read_bytes().splitlines()
    ]
    return len(lines)


@pytest.mark.promise("S4")
@pytest.mark.sweep
async def test_a_worker_killed_at_any_moment_breaks_what_it_served_and_nothing_else(
    served: Path, tmp_path: Path
) -> None:
    """No client is refused, none gets a wrong answer, and the log has no half line.

    A few kills of each program: of a worker that dies again and again the keeper gives up.
    """
    kills = rounds(quick=1, full=3)
    outcomes: Counter[str] = Counter()
    for number in range(rounds(quick=1, full=14)):
        state = tmp_path / f"state-{number}"
        outcomes.update(await killed_under_load(served, state, kills))
    sys.stdout.write(f"{dict(outcomes)}\n")


async def killed_under_load(config: Path, state: Path, kills: int) -> Counter[str]:
    async with listening(config, "--no-client", state=state) as process:
        async with under_load(process.url) as load:
            for _ in range(kills):
                worker = await worker_of(process, state)
                await trio.sleep(random.uniform(0.2, 1.0))
                os.kill(worker, signal.SIGKILL)
                await another_worker(state, worker)
                before = load.outcomes["whole"]
                with trio.fail_after(30):
                    while load.outcomes["whole"] < before + CLIENTS:  # noqa: ASYNC110 - of a process
                        await trio.sleep(0.02)
        assert load.wrong == []
        assert load.outcomes["refused"] == 0
        assert 0 < broken(load) <= kills * CLIENTS, "the kills were felt (the control)"
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    assert logged(state) <= load.outcomes.total()
    json.loads((state / "quota.json").read_bytes())
    return load.outcomes


@pytest.mark.promise("S5")
@pytest.mark.sweep
async def test_asked_to_stop_at_any_moment_under_load_every_answer_is_whole(
    served: Path, upstream: Upstream, tmp_path: Path
) -> None:
    """What was begun ends well; who comes after is refused or told to come back.

    A connection that nobody has accepted when the port closes is reset by the system: nothing of
    what its client asked for was done.
    """
    outcomes: Counter[str] = Counter()
    for number in range(rounds(quick=1, full=20)):
        stopped = await ended_under_load(served, tmp_path / f"state-{number}", signal.SIGTERM)
        assert stopped.wrong == []
        assert stopped.outcomes["broken"] == 0, stopped.outcomes
        sent = b"\n".join(seen.body for seen in upstream.requests)
        assert [word for word in stopped.unanswered if f'"{word}"'.encode() in sent] == []
        outcomes.update(stopped.outcomes)
    sys.stdout.write(f"{dict(outcomes)}\n")
    assert outcomes["refused"] > 0, "they went on asking (the control)"


@pytest.mark.promise("S5", control=True)
async def test_killed_under_the_same_load_answers_are_broken(served: Path, tmp_path: Path) -> None:
    """The control: the drain is what kept them whole."""
    killed = await ended_under_load(served, tmp_path / "state", signal.SIGKILL)
    assert broken(killed) > 0
    assert killed.wrong == []


def broken(load: Load) -> int:
    return load.outcomes["broken"] + load.outcomes["broken before an answer"]


async def ended_under_load(config: Path, state: Path, how: signal.Signals) -> Load:
    async with (
        listening(config, "--no-client", state=state) as process,
        under_load(process.url) as load,
    ):
        await trio.sleep(random.uniform(0.3, 1.2))
        if how is signal.SIGKILL:
            process.kill_all()
            await process.process.wait()
        else:
            process.signal(how)
            assert await process.ends() == 0
        await trio.sleep(0.2)
    return load


@pytest.mark.sweep
async def test_of_programs_started_at_once_one_serves_and_the_others_name_it(
    served: Path, tmp_path: Path
) -> None:
    for number in range(rounds(quick=1, full=10)):
        state = tmp_path / f"state-{number}"
        codes = await started_at_once(served, [state] * 4)
        assert sorted(codes) == [0, 73, 73, 73]


async def test_with_a_state_directory_each_all_of_them_serve(served: Path, tmp_path: Path) -> None:
    """The control: it is the lock that lets only one of them."""
    assert await started_at_once(served, [tmp_path / "one", tmp_path / "two"]) == [0, 0]


async def started_at_once(config: Path, states: list[Path]) -> list[int]:
    """Exit codes; who serves is asked to stop once the others have ended."""
    codes: list[int] = []

    async def one(state: Path) -> None:
        async with started(config, "--no-client", state=state) as process:
            with trio.move_on_after(30):
                while process.process.poll() is None and "listening on" not in process.stdout:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            if process.process.poll() is None:
                while len(codes) < states.count(state) - 1:  # noqa: ASYNC110 - the test's limit ends it
                    await trio.sleep(0.01)
                assert (await process.ask("GET", "/health/live")).status == 200
                process.signal(signal.SIGTERM)
            codes.append(await process.ends())
            if codes[-1] == 73:
                assert re.search("already running|another instance", process.stderr)

    async with trio.open_nursery() as nursery:
        for state in states:
            nursery.start_soon(one, state)
    return codes


STATE_DISK_BYTES = 512 * 1024


@pytest.mark.promise("D1")
async def test_a_full_disk_below_its_state_stops_no_request_and_tears_no_file(
    served: Path, tmp_path: Path
) -> None:
    state = tmp_path / "small"
    state.mkdir(mode=0o700)
    if not may_mount(state):
        pytest.skip("no file system of one's own on this machine")
    command = ("-c", ON_A_SMALL_DISK, str(state), str(STATE_DISK_BYTES), "run")
    async with listening(served, "--no-client", state=state, command=command) as process:
        seen = Path(f"/proc/{process.process.pid}/root{state}")
        await asked_often(process, 5)
        filled = fill(process.process.pid, state)
        assert filled > 0
        await trio.sleep(6)  # quota is written each five seconds
        await asked_often(process, 50)
        assert (await process.reload()).status == 200
        json.loads((seen / "instance.json").read_bytes())
        for name in ("quota.json",):
            if (seen / name).exists():
                json.loads((seen / name).read_bytes())
        assert "crashed" not in process.stderr
        assert "Traceback" not in process.stderr
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0


def fill(pid: int, directory: Path) -> int:
    """Takes all room there is in the directory, as that process sees it; how many bytes it took.

    That another byte does not fit is the control.
    """
    target = Path(f"/proc/{pid}/root{directory}/ballast")
    taken = 0
    with target.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            taken += file.write(b"x" * 4096)
    with pytest.raises(OSError, match="No space left"), target.open("ab", buffering=0) as file:
        file.write(b"x" * 4096)
    return taken


async def asked_often(process: Supervised, count: int) -> None:
    body = json.dumps(
        {
            "model": "m",
            "max_tokens": 9,
            "stream": False,
            "messages": [{"role": "user", "content": "w"}],
        }
    ).encode()
    async with await Wire.to(process.url) as wire:
        for _ in range(count):
            assert (await wire.ask("POST", "/v1/messages", JSON, body)).status == 200

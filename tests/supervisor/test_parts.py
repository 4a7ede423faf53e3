"""The configuration in force: what a reload changes, and what it leaves."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock as Clock

from actors.messages import Describe, Reload, Reloaded
from protocol import derive
from protocol.account import new_account
from protocol.config import Config, ConfigInvalid
from protocol.quota import Quota, Window
from protocol.quota_file import KeptAccount, KeptWindow, QuotaFile, fingerprint
from server.scripted import ScriptedUpstream, reply_to
from supervisor.parts import Parts, trust_anchors
from supervisor.quota_memory import QuotaMemory
from tests.e2e.conversation import held_stream, question
from tests.kit.http_client import MemoryClient
from tests.kit.live import accounts
from tests.kit.memory_disk import MemoryDisk
from tests.kit.program import EPOCH, UPSTREAM, RunningProgram, configured, program_in_memory

POINTED = f'[upstream]\nbase_url = "{UPSTREAM}"\n'


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
async def program(
    autojump_clock: trio.testing.MockClock, upstream: ScriptedUpstream
) -> AsyncIterator[RunningProgram]:
    async with program_in_memory(POINTED + accounts("a"), upstream) as program:
        yield program


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """A reload may change the level of all logs."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


async def reload(program: RunningProgram, text: str) -> Reloaded:
    program.change(text)
    return await program.parts.config_watcher.ask(Reload(), timeout=10)


async def test_a_reload_reads_what_is_there_now(
    program: RunningProgram, autojump_clock: Clock
) -> None:
    assert await reload(program, POINTED + accounts("b")) == Reloaded()
    known = await program.parts.dispatcher.ask(Describe(), timeout=5)
    assert list(known.accounts) == ["b"]


async def test_what_needs_a_restart_keeps_its_value_and_is_told_each_time(
    program: RunningProgram,
    autojump_clock: Clock,
) -> None:
    before = program.parts.config
    text = (
        "[server]\nport = 5\nmax_connections = 3\nexpress = false\n"
        "[supervision]\nperiod = 5\n[logs]\ndirectory = '/elsewhere'\nkeep_days = 1\n"
    )
    told = ("server.port", "server.express", "logs.directory", "supervision.period")
    for _ in range(2):
        assert await reload(program, text + POINTED) == Reloaded(restart_needed=told)
    now = program.parts.config
    assert (now.server.port, now.server.express) == (before.server.port, before.server.express)
    assert (now.supervision, now.logs.directory) == (before.supervision, before.logs.directory)
    assert (now.server.max_connections, now.logs.keep_days) == (3, 1)
    assert await reload(program, POINTED) == Reloaded(), "and it is over when it is taken back"


async def test_a_refused_configuration_changes_nothing_at_all(
    program: RunningProgram, autojump_clock: Clock
) -> None:
    before, loaded_at = program.parts.config, program.parts.loaded_at
    await trio.sleep(60)
    refused = await reload(program, "[server]\nport = 'x'\n[[account]]\nname = 'y'\n")
    assert len(refused.errors) == 2
    assert program.parts.config is before
    assert program.parts.loaded_at == loaded_at
    assert program.parts.config_error is not None
    assert "server.port" in program.parts.config_error
    await reload(program, POINTED + accounts("a"))
    assert program.parts.config_error is None
    assert program.parts.loaded_at > loaded_at


async def test_trust_anchors_that_cannot_be_read_are_refused_before_anything_changes(
    program: RunningProgram, autojump_clock: Clock, tmp_path: Path
) -> None:
    before = program.parts.config
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("no certificate")
    for path in (nonsense, tmp_path / "missing.pem"):
        refused = await reload(program, f'[upstream]\nca_file = "{path}"\n' + accounts("z"))
        assert [error.path for error in refused.errors] == ["upstream.ca_file"]
        assert program.parts.config is before


def test_a_start_with_such_anchors_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(f'[upstream]\nca_file = "{tmp_path}/missing.pem"\n')
    with pytest.raises(ConfigInvalid, match=r"upstream\.ca_file"):
        Parts(config, lambda: config, Path("/state"), None, disk=MemoryDisk())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigInvalid, match="SSL_CERT_FILE"):
        trust_anchors(Config())


async def test_the_log_level_takes_effect(program: RunningProgram, autojump_clock: Clock) -> None:
    logging.getLogger().setLevel("INFO")
    await reload(program, '[logs]\nlevel = "error"\n' + POINTED)
    assert logging.getLogger().level == logging.ERROR
    logging.getLogger().setLevel("WARNING")
    await reload(program, '[logs]\nlevel = "error"\n' + POINTED)
    assert logging.getLogger().level == logging.WARNING, "set when it changes, and only then"


async def test_replaced_upstreams_close_when_their_last_stream_has_ended(
    program: RunningProgram, autojump_clock: Clock, upstream: ScriptedUpstream
) -> None:
    upstream.script("key-a", held_stream(), then=reply_to)
    client = MemoryClient(await program.connect())
    await client.send("POST", "/v1/messages", question(stream=True))
    held = await client.receive_head()
    for number in range(3):
        await reload(program, f"{POINTED}idle_timeout = {100_000 + number}\n" + accounts("a"))
        other = MemoryClient(await program.connect())
        assert (await other.post("/v1/messages", question(stream=False))).status == 200
        await other.leave()
    await trio.sleep(5)
    assert upstream.open_connections == 2, "the stream's, and the one in use"
    upstream.gate("end").open()
    while await client.receive_more(held):
        pass
    assert held.complete
    await trio.sleep(5)
    assert upstream.open_connections == 1


async def test_nobody_is_made_anew_by_a_reload_of_the_same(
    program: RunningProgram, autojump_clock: Clock, upstream: ScriptedUpstream
) -> None:
    client = MemoryClient(await program.connect())
    for _ in range(3):
        assert (await client.post("/v1/messages", question(stream=False))).status == 200
        assert await reload(program, POINTED + accounts("a")) == Reloaded()
    assert upstream.connections_total == 1


async def test_a_dispatcher_that_takes_nothing_does_not_hold_a_reload_for_ever(
    program: RunningProgram,
    autojump_clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def never(message: object) -> None:
        await trio.sleep_forever()

    with monkeypatch.context() as patched:
        patched.setattr(program.parts.dispatcher, "tell", never)
        assert await reload(program, POINTED + accounts("a")) == Reloaded()
    assert "reload once more" in caplog.text


async def test_an_account_begins_once_as_the_last_life_left_it(
    autojump_clock: object,
) -> None:
    """What its actor crashed over does not come back from the file."""
    config = configured(accounts("a"))
    (spec,) = derive.account_specs(config)
    kept = KeptAccount(
        fingerprint(spec.credential, "salt"), windows={"5h": KeptWindow(EPOCH, 0.5, "allowed")}
    )
    memory = QuotaMemory(QuotaFile(1, "salt", {"a": kept}), None)
    parts = Parts(
        config, lambda: config, Path("/state"), None, disk=MemoryDisk(), wall_clock=lambda: EPOCH,
        memory=memory,
    )  # fmt: skip
    restored = Quota({"5h": Window(0.5, "allowed", None, EPOCH, "restored")})
    assert parts.known_at_start(spec).quota == restored
    assert parts.recall(spec).quota == restored
    assert parts.recall(spec) == parts.known_at_start(spec) == new_account(spec)


async def test_with_the_real_disk_the_file_of_the_state_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "quota.json").write_bytes(b'{"version":1,"salt":"found"}')
    config = configured("")
    parts = Parts(config, lambda: config, tmp_path, None)
    assert parts.memory == QuotaMemory(QuotaFile(1, "found"), tmp_path / "quota.json")

"""Whatever is wrong with a new configuration, nothing of it is in force and all of it is told (G1)."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.config import ConfigInvalid
from server.scripted import ScriptedUpstream, text_message
from tests.kit.http_client import MemoryClient
from tests.kit.live import accounts
from tests.kit.program import RunningProgram, configured, program_in_memory
from tests.kit.rounds import rounds
from tests.protocol.config.broken_files import BROKEN

GOOD = accounts("a", "b") + '\n[upstream]\nbase_url = "http://api.test"\n'


async def reload(program: RunningProgram) -> tuple[int, dict[str, Any]]:
    client = MemoryClient(await program.connect())
    answer = await client.post("/status/reload", b"")
    await client.leave()
    document = answer.json()
    assert isinstance(document, dict)
    return answer.status, document


async def serves(program: RunningProgram) -> bool:
    client = MemoryClient(await program.connect())
    turns = [{"role": "user", "content": "hello"}]
    question = {"model": "claude-x", "max_tokens": 9, "messages": turns}
    status = (await client.post("/v1/messages", question)).status
    await client.leave()
    return status == 200


@pytest.mark.promise("G1")
async def test_of_every_broken_file_nothing_is_taken_and_each_mistake_is_named_by_its_path(
    autojump_clock: object,
) -> None:
    assert len(BROKEN) >= 50
    upstream = ScriptedUpstream(text_message("hello"))
    async with program_in_memory(GOOD, upstream) as program:
        before = program.parts.config
        members = program.parts.roster.mailboxes()
        for name, (text, paths) in BROKEN.items():
            program.change(text)
            status, document = await reload(program)
            assert status == 422, name
            for path in paths:
                assert any(f" {path}: " in error for error in document["errors"]), (name, path)
            assert program.parts.config is before, name
            assert program.parts.roster.mailboxes() == members, name
            assert program.parts.config_error == "; ".join(document["errors"]), name
        assert await serves(program)
        program.change(GOOD)
        assert await reload(program) == (200, {"restart_needed": []})
        assert program.parts.config_error is None
        assert program.parts.config == before


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(sorted(text for text, _ in BROKEN.values())), max_size=3).map(
        "\n".join
    ),
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=6)).map(
        lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[0] + cut[1] :]
    ),
)


@pytest.mark.promise("G1")
@pytest.mark.sweep
@settings(
    max_examples=rounds(quick=15, full=300),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=st.lists(TEXTS, min_size=1, max_size=8))
async def test_any_text_is_taken_whole_or_refused_whole(
    texts: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    async with program_in_memory(GOOD, ScriptedUpstream()) as program:
        for text in texts:
            before = program.parts.config
            valid = True
            try:
                wanted = configured(text)
            except (ConfigInvalid, tomllib.TOMLDecodeError):
                valid = False
                # The kit reads TOML itself; the program's own reader says this with a path.
                if not _is_toml(text):
                    continue
            program.change(text)
            status, document = await reload(program)
            if valid:
                assert status == 200
                assert program.parts.config.accounts == wanted.accounts
                assert program.parts.config.routing == wanted.routing
            else:
                assert status == 422
                assert document["errors"]
                assert program.parts.config is before


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


@pytest.mark.promise("G1")
@pytest.mark.parametrize("seconds", [1.0, 30.0])
async def test_reading_the_same_again_changes_nothing(
    seconds: float, autojump_clock: object
) -> None:
    async with program_in_memory(GOOD, ScriptedUpstream()) as program:
        members = program.parts.roster.mailboxes()
        upstream = program.parts.upstreams("http://api.test")
        program.change(GOOD)
        for _ in range(5):
            assert await reload(program) == (200, {"restart_needed": []})
            await trio.sleep(seconds)
        assert program.parts.roster.mailboxes() == members
        assert program.parts.upstreams("http://api.test") is upstream
        actors = program.program.engine.statuses(trio.current_time())
        assert {actor.incarnation for actor in actors} == {1}

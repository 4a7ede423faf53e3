"""The control of the canaries: planted anywhere, one is found and its test fails."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PLANTED = """
from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from protocol.secrets import Secret
from tests.kit import canaries
from tests.kit.http_client import MemoryClient
from tests.kit.memory_disk import MemoryDisk
from tests.kit.process import listening, pointed_at, write_config
from tests.kit.program import program_in_memory
from server.scripted import ScriptedUpstream

VALUE = "plain-value-of-a-canary"
ACCOUNT = f'[[account]]\\nname = "a"\\napi_key = "{VALUE}"\\n'


@pytest.fixture(autouse=True)
def known() -> Secret:
    return Secret(VALUE)


def test_planted_on_standard_output() -> None:
    print("it is", VALUE)


def test_planted_on_standard_error() -> None:
    print("it is", VALUE, file=sys.stderr)


def test_planted_in_a_log() -> None:
    logging.getLogger("x").warning("it is %s", VALUE)


def test_planted_in_a_state_directory(tmp_path: Path) -> None:
    canaries.written_to(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "x.jsonl").write_text(VALUE)


async def test_planted_on_a_disk_in_memory(autojump_clock: object) -> None:
    async with program_in_memory(ACCOUNT, ScriptedUpstream()) as program:
        program.parts.disk.files[Path("/state/x")] = VALUE.encode()


async def test_planted_in_an_answer_of_ours(autojump_clock: object) -> None:
    more = f'[account.metadata]\\nnote = "{VALUE}"\\n'
    async with program_in_memory(ACCOUNT + more, ScriptedUpstream()) as program:
        await MemoryClient(await program.connect()).get("/status")


async def test_planted_on_the_output_of_a_process(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", pointed_at("http://127.0.0.1:9", ACCOUNT))
    say = "import runpy, sys; print(sys.argv.pop()); runpy.run_module('supervisor', run_name='__main__')"
    async with listening(config, VALUE, state=tmp_path / "s", command=("-c", say, "run")):
        pass


@pytest.mark.plants_canaries
def test_clean_because_it_says_so() -> None:
    print(VALUE)


def test_clean_as_the_token_store_is_its_place(tmp_path: Path) -> None:
    canaries.written_to(tmp_path)
    (tmp_path / "accounts.json").write_text(VALUE)


async def test_clean(autojump_clock: object) -> None:
    async with program_in_memory(ACCOUNT, ScriptedUpstream()) as program:
        client = MemoryClient(await program.connect())
        turns = [{"role": "user", "content": "hello"}]
        question = {"model": "claude-x", "max_tokens": 9, "messages": turns}
        assert (await client.post("/v1/messages", question)).status == 200
        await client.get("/status")
    print("nothing of it")
"""


@pytest.mark.promise("X5", control=True)
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_planted_canary_fails_its_test_wherever_it_is_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    folder = Path(__file__).parent / "kit"
    planted = tmp_path / "test_planted.py"
    planted.write_text(PLANTED, encoding="utf-8")
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-rfp", str(planted)]
    options = ["--rootdir", str(folder.parents[1]), "-c", str(folder.parents[1] / "pyproject.toml")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-p", "tests.conftest", *arguments],
        cwd=folder.parents[1],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    failed = set(re.findall(r"^FAILED .*::(\w+)", run.stdout, re.MULTILINE))
    passed = set(re.findall(r"^PASSED .*::(\w+)", run.stdout, re.MULTILINE))
    assert {name.split("_")[1] for name in failed} == {"planted"}, run.stdout
    assert len(failed) == PLANTED.count("test_planted_"), run.stdout
    assert len(passed) == PLANTED.count("test_clean"), run.stdout
    assert run.stdout.count("a credential was written down") >= len(failed)

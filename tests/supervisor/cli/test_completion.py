"""Completion in real shells: somebody types, presses tab, and reads what the shell makes of it."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.known_names import LAST_REQUESTS
from tests.supervisor.cli.conftest import Invoke, Start

SECONDS = 12.0
"""Only a failing test waits so long."""
READY = "ready-when-this-is-computed"

ASKED = {
    "bash": 'eval "$(_SUPERVISOR_COMPLETE=bash_source supervisor)"',
    "zsh": 'eval "$(_SUPERVISOR_COMPLETE=zsh_source supervisor)"',
    "fish": "_SUPERVISOR_COMPLETE=fish_source supervisor | source",
}
SHELLS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}


@pytest.fixture
def program(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`supervisor` on the PATH, and a home directory with nothing in it."""
    place = home / "bin" / "supervisor"
    place.parent.mkdir()
    place.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m supervisor "$@"\n', "utf-8")
    place.chmod(0o755)
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PATH", f"{place.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(root))
    return place


def installed(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed here")
    return path


class Typist:
    """An interactive shell in a pseudo-terminal."""

    def __init__(self, shell: str) -> None:
        ours, theirs = os.openpty()
        self._ours = ours
        self.process = subprocess.Popen(
            [installed(shell), *SHELLS[shell]],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "dumb", "PS1": "$ ", "HISTFILE": ""},
        )  # fmt: skip
        os.close(theirs)
        self.said = ""

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def sees(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self.said:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._ours], [], [], max(left, 0))
            assert ready, f"{text!r} never came; it said:\n{self.said}"
            self.said += os.read(self._ours, 65536).decode(errors="replace")
        self.said = self.said.partition(text)[2]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture(params=["bash", "zsh"])
def typist(request: pytest.FixtureRequest, program: Path) -> Iterator[Typist]:
    typist = Typist(request.param)
    try:
        typist.types(f"{ASKED[request.param]}; echo ready-when-this-is-$(echo computed)\n")
        typist.sees(READY)
        yield typist
    finally:
        typist.end()


def test_a_tab_completes_commands_options_and_values(typist: Typist) -> None:
    typist.types("supervisor expl\t")
    typist.sees("explain")
    typist.types("\x15supervisor keys cre\t")
    typist.sees("create")
    typist.types("--ow\t")
    typist.sees("--owner")
    typist.types("\x15supervisor run --strategy dr\t")
    typist.sees("drain-soonest")


def test_fish_shows_descriptions_whole(program: Path) -> None:
    done = subprocess.run(
        [installed("fish"), "--no-config", "-c", f'{ASKED["fish"]}; complete -C "supervisor st"'],
        capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    offered = dict(line.split("\t") for line in done.stdout.splitlines())
    assert offered["status"] == "Show accounts, quota, actors and the last requests."
    assert set(offered) == {"status", "statusline", "stop"}


# ------------------------------------------------------------------------- what there is to name


def offered(start: Start, words: str) -> list[str]:
    """What bash is told for the word after `words`; nothing is said beside."""
    done = start(
        _SUPERVISOR_COMPLETE="bash_complete",
        COMP_WORDS=f"supervisor {words} ",
        COMP_CWORD=str(len(words.split()) + 1),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_accounts_are_offered_by_their_names(
    start: Start, invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = home / "c.toml"
    config.write_text('[[account]]\nname = "configured"\napi_key = "k"\n', "utf-8")
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(config))
    assert invoke("auth", "add", "stored", "--api-key", stdin="sk-ant-api03-x\n").exit_code == 0
    assert offered(start, "auth disable") == ["configured", "stored"]
    assert offered(start, "auth status") == ["configured", "stored"]
    assert offered(start, "logs --account") == ["configured", "stored"]
    assert offered(start, "auth remove") == ["stored"]
    assert offered(start, "auth add") == []


def test_keys_are_offered_by_their_ids(start: Start, invoke: Invoke) -> None:
    assert invoke("keys", "create", "--name", "ann").exit_code == 0
    assert offered(start, "keys revoke") == [
        line.split()[0] for line in invoke("keys", "list").stdout.splitlines()[1:]
    ]


def test_the_last_requests_are_offered_newest_first(start: Start, state_dir: Path) -> None:
    logs = state_dir / "logs"
    logs.mkdir(parents=True)
    lines = [f'{{"request_id": "id-{number}"}}' for number in range(LAST_REQUESTS + 5)]
    (logs / "requests-2026-11-21.jsonl").write_text("\n".join([*lines, "no json", "[]"]), "utf-8")
    # Of the last lines; two of them are none of ours.
    ids = [f"id-{number}" for number in range(LAST_REQUESTS + 4, 6, -1)]
    assert offered(start, "explain") == ids
    assert offered(start, "logs --request") == ids


@pytest.mark.parametrize("words", ["auth disable", "auth remove", "keys delete", "explain"])
def test_what_cannot_be_read_offers_nothing(
    words: str, start: Start, state_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = home / "c.toml"
    config.write_text("port =", "utf-8")
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(config))
    monkeypatch.setenv("SUPERVISOR_NONSENSE", "1")  # else a warning
    state_dir.mkdir(parents=True)
    for name in ("accounts.json", "keys.json", "logs"):
        (state_dir / name).write_text("{", "utf-8")
    assert offered(start, words) == []

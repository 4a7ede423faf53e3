"""Credential files on a real disk: compared before they are replaced, and never torn."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from protocol import credentials_file, token_file
from protocol.login import CredentialsLocked, CredentialsUnusable
from supervisor.credential_disk import RealCredentialDisk
from tests.kit.promises import Measured
from tests.kit.rounds import rounds

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def disk() -> RealCredentialDisk:
    """The real one."""
    return RealCredentialDisk(random.Random(1))


def private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.mark.promise("K4")
async def test_a_file_is_replaced_only_while_it_is_as_it_was(
    disk: RealCredentialDisk, tmp_path: Path
) -> None:
    path = private(tmp_path / "a.json", b"one")
    assert not await disk.replace(path, b"other", b"two")
    assert not await disk.replace(path, None, b"two")
    assert path.read_bytes() == b"one"
    assert await disk.replace(path, b"one", b"two")
    assert path.read_bytes() == b"two"
    assert await disk.replace(tmp_path / "new" / "b.json", None, b"new")
    assert (tmp_path / "new" / "b.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.promise("K4")
async def test_a_file_that_others_can_read_is_neither_read_nor_replaced(
    disk: RealCredentialDisk, tmp_path: Path
) -> None:
    path = private(tmp_path / "a.json", b"one")
    path.chmod(0o644)
    with pytest.raises(CredentialsUnusable, match="chmod 600"):
        await disk.look(path)
    with pytest.raises(CredentialsUnusable, match="chmod 600"):
        await disk.replace(path, b"one", b"two")
    assert path.read_bytes() == b"one"


async def test_two_that_want_the_same_lock_have_it_one_after_the_other(
    disk: RealCredentialDisk, tmp_path: Path
) -> None:
    inside: list[str] = []

    async def one(name: str) -> None:
        async with disk.locked(tmp_path / "a.json"):
            inside.append(name)
            await trio.sleep(0.02)
            assert inside[-1] == name
            inside.append(name)

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(one, name)
    assert inside[::2] == inside[1::2]


async def test_a_lock_that_is_not_given_back_is_waited_for_a_bounded_time(
    disk: RealCredentialDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.credential_disk.LOCK_SECONDS", 0.05)
    async with disk.locked(tmp_path / "a.json"):
        with pytest.raises(CredentialsLocked):
            async with disk.locked(tmp_path / "a.json"):
                pass


async def test_what_the_client_keeps_beside_is_found_in_both_places(
    disk: RealCredentialDisk, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / ".claude").mkdir(parents=True)
    path = home / ".claude" / ".credentials.json"
    assert await disk.look_beside(path) is None
    (home / ".claude.json").write_bytes(b"home")
    assert await disk.look_beside(path) == b"home"
    (home / ".claude" / ".claude.json").write_bytes(b"directory")
    assert await disk.look_beside(path) == b"directory"


async def test_a_file_kept_aside_is_still_there_under_another_name(
    disk: RealCredentialDisk, tmp_path: Path
) -> None:
    path = private(tmp_path / "a.json", b"{")
    await disk.keep_aside(path)
    assert not path.exists()
    assert (tmp_path / "a.json.unreadable").read_bytes() == b"{"
    await disk.keep_aside(path)  # gone already: nothing to do


WRITING = """
import os, random, sys
from pathlib import Path
from protocol import credentials_file, token_file
from protocol.login import Pair
from protocol.secrets import Secret
from supervisor.credential_disk import RealCredentialDisk

path, kind, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def in_place(path, data):
    with open(path, "wb") as file:
        for start in range(0, len(data), 512):
            file.write(data[start:start + 512])
            file.flush()

disk = RealCredentialDisk(random.Random(1), *([in_place] if how == "in-place" else []))
number = 1
while True:
    data = path.read_bytes()
    pair = Pair(Secret(f"at-{number + 1}"), Secret(f"rt-{number + 1}"), 1790000000.0 + number)
    sent = Secret(f"rt-{number}")
    if kind == "store":
        new = token_file.encode(token_file.renewed(token_file.parse(data), "work", sent, pair))
    else:
        new = credentials_file.renewed(data, sent, pair)
    assert disk._replace(path, data, new)
    number += 1
    os.write(1, f"{number}\\n".encode())
"""

PADDING = {"padding": "x" * 8000}
TOKENS = {"accessToken": "at-1", "refreshToken": "rt-1", "expiresAt": 1_790_000_000_000}
START = {
    "store": {"version": 1, **PADDING, "accounts": {"work": {"kind": "oauth", **TOKENS}}},
    "login": {**PADDING, "claudeAiOauth": TOKENS},
}


def killed_while_writing(path: Path, kind: str, how: str, after: float) -> str | None:
    """What is wrong with the file after a kill -9; None when nothing is."""
    private(path, json.dumps(START[kind]).encode())
    command = [sys.executable, "-c", WRITING, str(path), kind, how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        acknowledged = (first + process.stdout.read()).decode().split("\n")
    newest = int([line for line in acknowledged if line][-1])
    try:
        data = path.read_bytes()
        if kind == "store":
            account = token_file.parse(data).account("work")
            login = None if account is None else account.login
        else:
            login = credentials_file.parse(data)
        if login is None or login.refresh_token is None:
            return "no login in it"
        number = int(login.refresh_token.reveal().removeprefix("rt-"))
    except ValueError as error:
        return f"unreadable: {error}"
    return None if number >= newest else f"older than acknowledged: {number} < {newest}"


@pytest.mark.promise("K2", "D2")
@pytest.mark.sweep
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind", ["store", "login"])
def test_a_kill_at_any_moment_leaves_the_last_acknowledged_pair_or_a_newer_one(
    kind: str, tmp_path: Path, measured: Measured
) -> None:
    """K2, D2: not one file of either kind is torn, blank or older."""
    rng = random.Random(7)
    for _ in range(rounds(quick=4, full=300)):
        assert (
            killed_while_writing(tmp_path / "a.json", kind, "whole", rng.uniform(0, 0.05)) is None
        )
    for row in ("D2", "K2"):
        name = f"{kind} files unreadable or stale after a kill"
        measured(row, name, 0, rounds=rounds(quick=4, full=300))


@pytest.mark.promise("K2", "D2", control=True)
@pytest.mark.sweep
def test_written_in_place_such_a_kill_tears_the_file(tmp_path: Path) -> None:
    """The control."""
    rng = random.Random(7)
    for _ in range(60):
        wrong = killed_while_writing(tmp_path / "a.json", "login", "in-place", rng.uniform(0, 0.05))
        if wrong is not None:
            return
    raise AssertionError("the kills above show nothing")


def test_the_lock_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    from supervisor.private_files import lock_of, locked

    with locked(tmp_path / "a.json"):
        assert lock_of(tmp_path / "a.json").stat().st_mode & 0o777 == 0o600
        assert os.listdir(tmp_path) == [".a.json.lock"]  # noqa: PTH208

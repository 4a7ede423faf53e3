"""Claude Code's own lock: two directories, shared with it as it shares them."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest
import trio

from protocol.login import CredentialsLocked, CredentialsUnusable
from supervisor.client_lock import (
    NAME,
    STALE_SECONDS,
    LockDirectory,
    locked_client,
    try_lock_client,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A configuration directory of Claude Code."""
    made = tmp_path / ".claude"
    made.mkdir(mode=0o700)
    return made


def own(directory: Path) -> Path:
    return directory / NAME


def legacy(directory: Path) -> Path:
    return Path(f"{os.path.realpath(directory)}.lock")


def test_both_directories_are_made_and_both_go(directory: Path) -> None:
    lock = try_lock_client(directory)
    assert lock is not None
    assert own(directory).is_dir()
    assert legacy(directory).is_dir()
    assert try_lock_client(directory) is None
    lock.release()
    assert not own(directory).exists()
    assert not legacy(directory).exists()


@pytest.mark.parametrize("taken", [own, legacy])
def test_either_of_them_keeps_us_out_and_stays_as_it_is(taken: object, directory: Path) -> None:
    path = taken(directory)  # type: ignore[operator]
    path.mkdir()
    assert try_lock_client(directory) is None
    assert path.is_dir()
    other = legacy(directory) if taken is own else own(directory)
    assert not other.exists()


@pytest.mark.parametrize("taken", [own, legacy])
def test_one_that_was_not_touched_for_a_minute_was_left_by_the_dead(
    taken: object, directory: Path
) -> None:
    path = taken(directory)  # type: ignore[operator]
    path.mkdir()
    long_ago = time.time() - STALE_SECONDS - 5
    os.utime(path, (long_ago, long_ago))
    lock = try_lock_client(directory)
    assert lock is not None
    lock.release()


def test_a_link_to_the_directory_leads_to_the_same_legacy_lock(
    directory: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(directory)
    lock = try_lock_client(link)
    assert lock is not None
    assert legacy(directory).is_dir()
    lock.release()


async def test_a_lock_that_somebody_took_for_stale_is_theirs_and_stays(directory: Path) -> None:
    lock = try_lock_client(directory)
    assert lock is not None
    assert await lock.still_ours()
    own(directory).rmdir()
    own(directory).mkdir()
    os.utime(own(directory), (time.time() + 1, time.time() + 1))
    assert not await lock.still_ours()
    lock.release()
    assert own(directory).is_dir()


async def test_a_held_lock_is_touched_so_that_it_never_looks_stale(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.client_lock.TOUCH_SECONDS", 0.01)
    async with locked_client(directory, random.Random(1)) as lock:
        begun = own(directory).stat().st_mtime_ns
        with trio.fail_after(10):
            while own(directory).stat().st_mtime_ns == begun:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.01)
        assert await lock.still_ours()
    assert not own(directory).exists()


def test_whoever_asks_while_it_is_touched_hears_that_it_is_ours(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = LockDirectory(own(directory))
    assert held.take()
    touched = threading.Event()
    heard: list[bool] = []
    real = os.utime

    def slow(path: Path) -> None:
        real(path, (time.time() + 1, time.time() + 1))
        touched.set()
        time.sleep(0.05)  # the time between the new time on disk and our note of it

    def ask() -> None:
        touched.wait(10)
        heard.append(held.ours())

    monkeypatch.setattr("supervisor.client_lock.os.utime", slow)
    asking = threading.Thread(target=ask)
    asking.start()
    held.touch()
    asking.join(10)
    assert heard == [True]


async def test_whoever_cannot_have_it_hears_so_after_its_tries(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.client_lock.WAIT_SECONDS", (0.01, 0.02))
    own(directory).mkdir()
    with pytest.raises(CredentialsLocked, match="renewed by another process"):
        async with locked_client(directory, random.Random(1)):
            pass


async def test_an_error_inside_comes_out_as_it_is_and_the_lock_goes(directory: Path) -> None:
    with pytest.raises(CredentialsUnusable, match="inside"):
        async with locked_client(directory, random.Random(1)):
            raise CredentialsUnusable("inside")
    assert not own(directory).exists()


async def test_a_cancelled_holder_gives_it_back(directory: Path) -> None:
    with trio.move_on_after(0.05):
        async with locked_client(directory, random.Random(1)):
            await trio.sleep_forever()
    assert not own(directory).exists()
    assert not legacy(directory).exists()

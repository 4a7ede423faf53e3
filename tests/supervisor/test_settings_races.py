"""Beside other writers, and killed at any moment: no edit is lost, no file is torn."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.client_lease import Holder, decode
from supervisor import settings_edit
from supervisor.client_point import point_clients
from supervisor.client_settings import finish, restore, restore_whole
from supervisor.settings_files import SettingsDisk
from tests.kit.promises import Measured
from tests.kit.rounds import rounds
from tests.kit.settings_disk import FaultyDisk
from tests.supervisor.settings_writers import wanted

ROOT = Path(__file__).parent.parent.parent
_NOBODY = Holder()
ORIGINAL = b'{\n  "model": "opus",\n  "counter": -1\n}\n'


@contextmanager
def writer(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """The other process, at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.supervisor.settings_writers", *map(str, arguments)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Careless(FaultyDisk):
    """Read, check, rename, as one would do it without an exchange."""

    def __init__(self) -> None:
        super().__init__(exchanges=False)

    def rename(self, source: str, target: str) -> None:
        time.sleep(0.005)  # a busy machine, at the wrong moment
        super().rename(source, target)


def race(root: Path, disk: SettingsDisk, count: int) -> int:
    """`count` edits of somebody else while we point and put back; gives back how many were lost."""
    state, path = root / "state", root / "settings.json"
    state.mkdir()
    path.write_bytes(ORIGINAL)
    port = 4000
    with writer("edits", path, count) as process:
        while process.poll() is None:
            port += 1
            asked = wanted(path, port)
            point_clients(state, asked, _NOBODY, disk=disk, answers=lambda _: "nobody")
            restore(state, disk=disk)
            finish(state, disk=disk)
        assert process.stdout is not None
        lost = int(process.stdout.read())
    restore_whole(state, disk=disk, pause=lambda _: None)
    document = json.loads(path.read_bytes())
    assert document["model"] == "opus"
    assert port > 4005, "it did not race"
    return lost


@pytest.mark.promise("S1")
@pytest.mark.sweep
@pytest.mark.slow
def test_no_edit_of_another_program_is_ever_lost(tmp_path: Path, measured: Measured) -> None:
    edits = rounds(quick=150, full=9000)
    lost = race(tmp_path, FaultyDisk(), edits)
    assert lost == 0
    measured("S1", "edits of others lost", lost, rounds=edits)


@pytest.mark.promise("S1", control=True)
@pytest.mark.sweep
@pytest.mark.slow
def test_without_the_exchange_some_are_lost(tmp_path: Path, measured: Measured) -> None:
    """The control. It goes on until it bites."""
    for attempt in range(10):
        root = tmp_path / str(attempt)
        root.mkdir()
        lost = race(root, Careless(), 60)
        if lost:
            measured("S1", "edits of others lost without the exchange (control)", lost, rounds=60)
            return
    pytest.fail("no edit was lost")


@pytest.mark.promise("D2", "S3")
@pytest.mark.sweep
@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_whole_files_and_the_way_back(
    tmp_path: Path, measured: Measured
) -> None:
    chance = random.Random(5)
    state, path = tmp_path / "state", tmp_path / "settings.json"
    state.mkdir()
    path.write_bytes(ORIGINAL)
    for _ in range(rounds(quick=20, full=300)):
        with writer("guard", state, path) as process:
            time.sleep(chance.uniform(0, 0.03))
            process.kill()
            process.wait()
        lease = state / "client.json"
        if lease.exists():
            decode(lease.read_bytes())
        json.loads(path.read_bytes())
        restore_whole(state, disk=FaultyDisk(), pause=lambda _: None)
        assert path.read_bytes() == ORIGINAL
        assert not lease.exists()
        assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    measured("D2", "settings or leases torn by a kill", 0, rounds=rounds(quick=20, full=300))
    measured("S3", "not as before after kill and repair", 0, rounds=rounds(quick=20, full=300))


@pytest.mark.promise("D2", control=True)
@pytest.mark.sweep
@pytest.mark.slow
def test_without_care_a_kill_leaves_torn_files(tmp_path: Path, measured: Measured) -> None:
    """The control: the same, in place. It goes on until it bites."""
    chance = random.Random(5)
    path = tmp_path / "settings.json"
    for kills in range(1, 301):
        path.write_text(json.dumps({"text": "x" * 500_000}))
        with writer("in-place", path) as process:
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
            process.wait()
        try:
            json.loads(path.read_bytes())
        except ValueError:
            measured("D2", "torn when written in place (control)", 1, rounds=kills)
            return
    pytest.fail("no kill tore the file")


# --------------------------------------------------------------------------- one moment after another


class Meanwhile(FaultyDisk):
    """Somebody writes at exactly one moment: just before the n-th exchange or rename."""

    def __init__(self, path: Path, contents: list[bytes], *, exchanges: bool = True) -> None:
        super().__init__(exchanges=exchanges)
        self._path = path
        self._contents = contents

    def exchange(self, one: str, other: str) -> None:
        if self._contents and Path(other) == self._path:
            self._path.write_bytes(self._contents.pop(0))
        super().exchange(one, other)

    def link_new(self, source: str, target: str) -> None:
        if self._contents and Path(target) == self._path:
            self._path.write_bytes(self._contents.pop(0))
        super().link_new(source, target)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "settings.json"
    file.write_bytes(ORIGINAL)
    return file


def pointed(state: Path, path: Path, disk: SettingsDisk, *, replace: bool = True) -> str:
    asked = wanted(path, 4080)
    asked = asked._replace(here=asked.here._replace(replace=replace))
    return point_clients(state, asked, _NOBODY, disk=disk, answers=lambda _: "nobody").files[0].did


@pytest.mark.promise("S1")
@pytest.mark.parametrize("times", [1, 2, 5])
def test_an_edit_in_the_last_moment_is_taken_in(state: Path, path: Path, times: int) -> None:
    edits = [b'{"model": "opus", "theirs": %d}' % number for number in range(times)]
    assert pointed(state, path, Meanwhile(path, list(edits))) == "pointed"
    document = json.loads(path.read_bytes())
    assert document["theirs"] == times - 1
    assert document["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4080"
    restore_whole(state, pause=lambda _: None)
    assert path.read_bytes() == edits[-1]


def test_broken_json_that_comes_in_the_last_moment_is_put_back_as_it_is(
    state: Path, path: Path
) -> None:
    assert pointed(state, path, Meanwhile(path, [b'{"model": '])) == "stood back"
    assert path.read_bytes() == b'{"model": '
    assert not (state / "client.json").exists()


def test_a_base_url_that_comes_in_the_last_moment_is_theirs(state: Path, path: Path) -> None:
    theirs = b'{"env": {"ANTHROPIC_BASE_URL": "https://x.test"}}'
    assert pointed(state, path, Meanwhile(path, [theirs]), replace=False) == "stood back"
    assert path.read_bytes() == theirs
    assert not (state / "client.json").exists()


def test_an_edit_in_the_last_moment_of_putting_back_is_taken_in(state: Path, path: Path) -> None:
    pointed(state, path, FaultyDisk())
    theirs = path.read_bytes().replace(b"opus", b"haiku")
    restore(state, disk=Meanwhile(path, [theirs]))
    finish(state)
    assert path.read_bytes() == ORIGINAL.replace(b"opus", b"haiku")


def test_a_file_that_somebody_makes_in_the_last_moment_is_taken_in(state: Path, path: Path) -> None:
    path.unlink()
    assert pointed(state, path, Meanwhile(path, [b'{"a": 1}'])) == "pointed"
    restore_whole(state, pause=lambda _: None)
    assert path.read_bytes() == b'{"a": 1}'


@pytest.mark.promise("S1")
def test_who_writes_all_the_time_keeps_the_last_word(
    state: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_edit, "PATIENCE_SECONDS", 0.0)
    endless = [b'{"theirs": %d}' % number for number in range(40)]
    disk = Meanwhile(path, endless)
    assert pointed(state, path, disk) == "stood back"
    assert endless == []
    assert path.read_bytes() == b'{"theirs": 39}'
    assert not (state / "client.json").exists()

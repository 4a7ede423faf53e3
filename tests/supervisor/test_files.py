"""Files are replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from supervisor.files import keep_aside, make_private_directory, replace_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_content_and_is_for_its_owner_only(tmp_path: Path) -> None:
    replace_file(tmp_path / "a.json", b"{}")
    assert (tmp_path / "a.json").read_bytes() == b"{}"
    assert mode_of(tmp_path / "a.json") == 0o600


def test_the_asked_mode_holds_whatever_the_umask_and_the_old_file_say(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"old")
    file.chmod(0o600)
    before = os.umask(0o077)
    try:
        replace_file(file, b"new", mode=0o644)
    finally:
        os.umask(before)
    assert file.read_bytes() == b"new"
    assert mode_of(file) == 0o644


def test_a_symbolic_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.json", tmp_path / "a.json"
    target.write_bytes(b"old")
    link.symlink_to(target)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_link_to_a_file_that_does_not_exist_yet_creates_that_file(tmp_path: Path) -> None:
    link = tmp_path / "a.json"
    link.symlink_to("real.json")
    replace_file(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"new"


@pytest.mark.promise("D1")
@pytest.mark.parametrize("step", ["os.fsync", "os.fchmod", "pathlib.Path.replace"])
def test_a_step_that_fails_leaves_the_old_file_and_nothing_beside_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.promise("D2")
def test_content_and_directory_are_forced_to_the_disk_in_the_order_that_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        steps.append(f"sync {kind}")
        fsync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr("os.fsync", watched_fsync)
    monkeypatch.setattr("pathlib.Path.replace", watched_replace)
    replace_file(tmp_path / "a.json", b"new")
    assert steps == ["sync file", "rename", "sync directory"]


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "missing" / "a.json", b"")


def test_every_unreadable_file_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for content in ("first", "second", "third"):
        file.write_text(content)
        keep_aside(file)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {
        "a.json.unreadable": "first",
        "a.json.unreadable.2": "second",
        "a.json.unreadable.3": "third",
    }


def test_a_directory_we_make_is_private(tmp_path: Path) -> None:
    make_private_directory(tmp_path / "one" / "two")
    assert mode_of(tmp_path / "one" / "two") == 0o700


def test_a_directory_that_others_share_is_not_closed_to_them(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    make_private_directory(shared)
    assert mode_of(shared) == 0o755


def test_a_file_in_the_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private_directory(tmp_path / "file")

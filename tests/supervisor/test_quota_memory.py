"""`quota.json` at the start: read, missing, unreadable, or in the way."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from protocol.quota_file import KeptAccount, QuotaFile, encode
from protocol.status_view import Clocks
from supervisor import quota_memory
from supervisor.quota_memory import load

DATA = encode({}, "abcd", Clocks(0.0, 0.0))


def test_a_file_is_read_with_its_salt(tmp_path: Path) -> None:
    path = tmp_path / "quota.json"
    path.write_bytes(DATA)
    memory = load(path)
    assert (memory.file, memory.path) == (QuotaFile(1, "abcd"), path)


def test_a_missing_file_is_a_first_life(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = load(tmp_path / "quota.json"), load(tmp_path / "quota.json")
    assert (first.file.accounts, first.path) == ({}, tmp_path / "quota.json")
    assert first.file.salt != second.file.salt
    assert caplog.records == []


@pytest.mark.parametrize("data", [b"", DATA[:-9], b"\xff\x00", b'{"version": 2, "salt": ""}'])
def test_a_file_that_does_not_parse_is_kept_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "quota.json"
    for number in range(2):
        path.write_bytes(data)
        memory = load(path)
        assert (memory.file.accounts, memory.path) == ({}, path)
        assert not path.exists()
        assert len(list(tmp_path.glob("quota.json.unreadable*"))) == number + 1
    assert (tmp_path / "quota.json.unreadable").read_bytes() == data
    assert "quota.json.unreadable" in caplog.text


def test_behind_a_link_it_is_the_file_that_is_kept_aside(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "q.json").write_bytes(b"not ours")
    (tmp_path / "quota.json").symlink_to(elsewhere / "q.json")
    load(tmp_path / "quota.json")
    assert (elsewhere / "q.json.unreadable").read_bytes() == b"not ours"
    assert (tmp_path / "quota.json").is_symlink()


def test_what_cannot_even_be_kept_aside_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(path: Path) -> Path:
        raise PermissionError(13, "permission denied")

    monkeypatch.setattr(quota_memory, "keep_aside", refused)
    path = tmp_path / "quota.json"
    path.write_bytes(b"precious")
    memory = load(path)
    assert (memory.file.accounts, memory.path) == ({}, None)
    assert path.read_bytes() == b"precious"
    assert "left alone" in caplog.text


def test_something_else_in_its_place_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "quota.json"
    path.mkdir()
    assert load(path).path == path
    assert (tmp_path / "quota.json.unreadable").is_dir()


def test_the_kept_accounts_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "quota.json"
    path.write_bytes(b'{"version":1,"salt":"s","accounts":{"a":{"credential":"c"}}}')
    assert load(path).file.accounts == {"a": KeptAccount("c")}

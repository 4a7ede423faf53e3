"""The machine's disk keeps the promises of the port, and so does the one in memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from actors.disk import Disk, RealDisk
from protocol.rotation import LogFile
from supervisor.files import replace_file
from tests.kit.memory_disk import MemoryDisk


def real_disk() -> RealDisk:
    return RealDisk(replace_file)


@pytest.fixture(params=[real_disk, MemoryDisk])
def disk(request: pytest.FixtureRequest) -> Disk:
    made: Disk = request.param()
    return made


async def test_what_is_appended_is_read_in_order(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "new" / "logs" / "a.jsonl"
    await disk.append(path, b"one\n")
    await disk.append(path, b"")
    await disk.append(path, b"two\n")
    assert await disk.read(path) == b"one\ntwo\n"


async def test_files_are_listed_with_their_sizes_and_can_be_removed(
    disk: Disk, tmp_path: Path
) -> None:
    await disk.append(tmp_path / "a", b"12345")
    await disk.append(tmp_path / "b", b"1")
    await disk.append(tmp_path / "below" / "c", b"1")
    files = await disk.list_files(tmp_path)
    assert sorted(files, key=lambda file: file.name) == [LogFile("a", 5), LogFile("b", 1)]
    await disk.remove(tmp_path / "a")
    assert await disk.list_files(tmp_path) == [LogFile("b", 1)]


async def test_a_directory_that_is_not_there_has_no_files(disk: Disk, tmp_path: Path) -> None:
    assert await disk.list_files(tmp_path / "none") == []


async def test_a_file_that_is_not_there_cannot_be_read(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await disk.read(tmp_path / "none")


async def test_a_file_is_replaced_whole(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "quota.json"
    await disk.replace(path, b"the first, which is longer")
    await disk.replace(path, b"the second")
    assert await disk.read(path) == b"the second"
    assert await disk.list_files(tmp_path) == [LogFile("quota.json", 10)]


async def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="no space left"):
        await RealDisk(full).replace(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


async def test_logs_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.jsonl"
    await real_disk().append(path, b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_link_to_nothing_does_not_spoil_the_list(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "directory").mkdir()
    (tmp_path / "a").write_bytes(b"1")
    assert await real_disk().list_files(tmp_path) == [LogFile("a", 1)]


class FullAfter:
    """`os.write` on a disk with room for `bytes_left` more."""

    def __init__(self, bytes_left: int) -> None:
        self.bytes_left = bytes_left
        self.write = os.write

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if not self.bytes_left:
            raise OSError(errno.ENOSPC, "no space left on device")
        written = self.write(descriptor, data[: self.bytes_left])
        self.bytes_left -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 9])
async def test_a_disk_that_fills_up_takes_a_line_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "a.jsonl"
    await real_disk().append(path, b"before\n")
    with monkeypatch.context() as full:
        full.setattr("actors.disk.os.write", FullAfter(room))
        with pytest.raises(OSError, match="no space left"):
            await real_disk().append(path, b"0123456789\n")
    assert path.read_bytes() == b"before\n"
    await real_disk().append(path, b"after\n")
    assert path.read_bytes() == b"before\nafter\n"


async def test_a_write_that_takes_only_a_part_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr("actors.disk.os.write", lambda fd, data: write(fd, data[:3]))
    await real_disk().append(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"

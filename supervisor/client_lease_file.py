"""`client.json` and its lock in the state directory. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from protocol.client_lease import Holder, Lease, LeaseUnreadable, ProcessMark, decode, encode
from supervisor.settings_files import SettingsDisk

LEASE_FILE = "client.json"
LOCK_FILE = "client.lock"

LOCK_SECONDS = 1.0
"""For whoever is at the settings now. After that we go on: its change is as safe beside ours as any
other program's, and a stopped process must not keep a client at a dead port."""
_LOOK_SECONDS = 0.005


def is_there(state_directory: Path) -> bool:
    """Whether there is a lease at all. Raises OSError where that cannot be told."""
    try:
        os.stat(state_directory / LEASE_FILE)  # noqa: PTH116 - `exists` may hide what went wrong
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def load(disk: SettingsDisk, state_directory: Path) -> Lease | None:
    """The lease; None where there is none. Raises LeaseUnreadable and OSError."""
    content = disk.read(str(state_directory / LEASE_FILE))
    if content is None:
        return None
    try:
        return decode(content)
    except LeaseUnreadable as reason:
        raise LeaseUnreadable(
            f"{state_directory / LEASE_FILE} cannot be read: {reason}; so it is not known what was "
            "changed, and nothing is changed back: look at ANTHROPIC_BASE_URL in the client's "
            "settings.json, then remove that file"
        ) from None


def store(disk: SettingsDisk, state_directory: Path, lease: Lease) -> None:
    """Durable when it returns. Raises OSError; then the old one is still there, whole."""
    path = disk.resolve(str(state_directory / LEASE_FILE))
    temporary = f"{path}.{os.getpid()}"
    disk.remove(temporary)
    try:
        descriptor = disk.create(temporary, None)
        try:
            disk.write(descriptor, encode(lease))
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise
    disk.sync_directory(path)


def drop(disk: SettingsDisk, state_directory: Path) -> None:
    """Removes the lease. Raises OSError."""
    path = str(state_directory / LEASE_FILE)
    disk.remove(path)
    disk.sync_directory(path)


def tag_of(state_directory: Path) -> str:
    """What marks temporary files as this state directory's."""
    name = os.fsencode(os.path.realpath(state_directory))
    return hashlib.sha256(name).hexdigest()[:8]


@contextlib.contextmanager
def lock(state_directory: Path) -> Iterator[None]:
    """One process at a time changes settings for this state directory. Raises OSError."""
    descriptor = os.open(state_directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _try_lock(descriptor) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def this_holder(instance: str, port: int, created: str, processes: tuple[int, ...] = ()) -> Holder:
    """The lease's holder: this process, or those named (a keeper and its worker)."""
    marks = tuple(mark_of(pid) for pid in processes or (os.getpid(),))
    return Holder(marks, boot_id(), instance, port, created)


def mark_of(pid: int) -> ProcessMark:
    """The process as it is now."""
    return ProcessMark(pid, started_at(pid) or "")


def is_alive(holder: Holder) -> bool:
    """Whether a process of the holder still runs. A number that was given to another process since
    is told by its start."""
    if holder.boot and holder.boot != boot_id():
        return False
    return any(_same_process(mark) for mark in holder.processes)


def boot_id() -> str:
    """Names this life of the machine; "" where it has no name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def started_at(pid: int) -> str | None:
    """When that process started, in ticks since the boot; None where that cannot be told."""
    fields = _stat(pid)
    return fields[19] if fields else None


def _stat(pid: int) -> list[str]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    # The name, in parentheses, may itself have spaces and parentheses.
    return stat.rpartition(b")")[2].decode("ascii").split()


def _same_process(mark: ProcessMark) -> bool:
    if not _exists(mark.pid):
        return False
    fields = _stat(mark.pid)
    if not fields or not mark.started:
        return True
    return fields[19] == mark.started and fields[0] not in ("Z", "X")  # dead, not yet buried


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _exists_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if sys.platform == "win32":
    import ctypes
    import msvcrt

    _QUERY = 0x1000

    def _exists_on_windows(pid: int) -> bool:
        handle = ctypes.windll.kernel32.OpenProcess(_QUERY, False, pid)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)

    def _try_lock(descriptor: int) -> bool:
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _exists_on_windows(pid: int) -> bool:
        raise NotImplementedError(pid)

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

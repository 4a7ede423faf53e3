"""Which instance runs in a state directory, and that there is only one.

Two files say so. `instance.lock` is locked by the running process; the operating system drops that
lock when the process ends, however it ends. `instance.json` says where it listens. A pid alone
proves nothing: it outlives its process in a file, and is given to strangers. So an instance counts
as running when the lock is held and the address answers with the id that the file names.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from supervisor import instance_client
from supervisor.file_lock import try_lock
from supervisor.files import PRIVATE_FILE, keep_aside, make_private_directory, replace_file

INSTANCE_FILE = "instance.json"
LOCK_FILE = "instance.lock"

LIVENESS_SECONDS = 1.0
"""How long a running instance may take to answer `/health/live`: it does so from memory."""

PATIENCE_SECONDS = 3.0
"""How long a start waits for whoever holds the lock to say who it is, or to let go."""

_RETRY_SECONDS = 0.05


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A running instance, as `instance.json` has it.

    `pid` is the process to signal, `worker_pid` the one that serves (the same where there is but
    one). `host` is the address it listens on, which may be a wildcard; `started_at` is RFC 3339 UTC;
    `config` is the absolute path of its configuration file, "" without one.
    """

    pid: int
    host: str
    port: int
    started_at: str
    id: str
    version: str
    scheme: str = "http"
    config: str = ""
    worker_pid: int = 0

    @property
    def nobody(self) -> str:
        """An account that cannot be. A message for it is a question of this program's own commands
        whether it is answered, and stays out of the request log."""
        return f"doctor-{self.id}"

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it, e.g. `http://127.0.0.1:4080`."""
        host = instance_client.reachable_host(self.host)
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


class AlreadyRunning(Exception):
    """Another process holds the lock of this state directory.

    `instance` is None when that process has not said where it listens.
    """

    def __init__(self, instance: Instance | None, state_dir: Path) -> None:
        self.instance = instance
        self.state_dir = state_dir
        if instance is None:
            who = "another instance is starting or stopping"
        else:
            who = f"already running: pid {instance.pid} at {instance.url}"
        super().__init__(f"{who} (state directory {state_dir})")


class StateDirectoryUnusable(Exception):
    """The state directory, or a file in it, can not be created, opened or written."""

    def __init__(self, path: Path, reason: OSError) -> None:
        self.path = path
        why = str(reason.strerror or reason)
        if reason.errno in (errno.EEXIST, errno.ENOTDIR):
            there = (one for one in (path, *path.parents) if os.path.lexists(one))
            why = f"{next(there, path)} is not a directory"
        super().__init__(f"cannot use the state directory {path}: {why}")


class InstanceLock:
    """The hold on a state directory. It ends with `release`, and with the process at the latest."""

    def __init__(self, state_dir: Path, descriptor: int) -> None:
        self._file = state_dir / INSTANCE_FILE
        self._descriptor: int | None = descriptor

    @property
    def descriptor(self) -> int:
        """A process that inherits it holds the lock as well, until both have let go."""
        if self._descriptor is None:
            raise RuntimeError("this lock was let go")
        return self._descriptor

    def publish(self, instance: Instance) -> None:
        """Say where this process listens. Call it when it does. Raises OSError."""
        text = msgspec.json.format(msgspec.json.encode(instance), indent=2)
        replace_file(self._file, text + b"\n")

    def release(self) -> None:
        """Take back what was published, then let go. A second call does nothing."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with contextlib.suppress(OSError):
            self._file.unlink()
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def new_id() -> str:
    """An id for one life of an instance, never used before."""
    return secrets.token_hex(16)


def acquire(
    state_dir: Path,
    *,
    patience: float = PATIENCE_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> InstanceLock:
    """Make this process the only one of `state_dir`, creating the directory where missing.

    While somebody else holds the lock it waits, blocking the thread for at most `patience` seconds,
    for one of two things: that the holder lets go (it was stopping, or only looking), or that it
    answers under its id. Raises AlreadyRunning or StateDirectoryUnusable.
    """
    try:
        make_private_directory(state_dir)
        descriptor = _open_lock(state_dir)
    except OSError as error:
        raise StateDirectoryUnusable(state_dir, error) from error
    try:
        deadline = monotonic() + patience
        while not try_lock(descriptor):
            instance = read(state_dir)
            if (instance is not None and _answers(instance)) or monotonic() >= deadline:
                raise AlreadyRunning(instance, state_dir)
            sleep(_RETRY_SECONDS)
        _clear_the_last_life(state_dir)
    except OSError as error:
        os.close(descriptor)
        raise StateDirectoryUnusable(state_dir, error) from error
    except BaseException:
        os.close(descriptor)
        raise
    return InstanceLock(state_dir, descriptor)


def read(state_dir: Path) -> Instance | None:
    """What `instance.json` says, running or not; None where it is missing or not readable."""
    try:
        return msgspec.json.decode((state_dir / INSTANCE_FILE).read_bytes(), type=Instance)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def held(state_dir: Path) -> bool:
    """Whether some process holds the lock of `state_dir`. Creates nothing.

    Raises StateDirectoryUnusable where the lock exists and this user may not open it.
    """
    try:
        descriptor = os.open(state_dir / LOCK_FILE, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StateDirectoryUnusable(state_dir, error) from error
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def running(state_dir: Path) -> Instance | None:
    """The instance that runs in `state_dir`: the lock is held and it answers under its id.

    Blocks the thread for up to `LIVENESS_SECONDS`. Raises StateDirectoryUnusable.
    """
    if not held(state_dir):
        return None
    instance = read(state_dir)
    return instance if instance is not None and _answers(instance) else None


def _answers(instance: Instance) -> bool:
    try:
        answer = instance_client.get_json(instance, "/health/live", timeout=LIVENESS_SECONDS)
    except (instance_client.NothingAnswers, instance_client.Refused):
        return False
    return isinstance(answer, dict) and answer.get("instance") == instance.id


def _clear_the_last_life(state_dir: Path) -> None:
    """Remove what a killed process left, so that nobody takes it for the one that now starts."""
    file = state_dir / INSTANCE_FILE
    if read(state_dir) is not None:
        file.unlink()
    elif file.exists():
        keep_aside(file)


def _open_lock(state_dir: Path) -> int:
    # Never removed: a second process may have it open already, and would lock a file without name.
    return os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)

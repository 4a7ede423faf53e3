"""Pointing clients at this program and away again, so that no crash leaves them at a dead port.

Synchronous and made of the standard library alone, because the keeper uses it too, and `repair`
when nothing else runs. The order is what makes it safe: the lease is durable before the settings
change, and is removed after they are put back. So at any moment either the settings are as they
were, or there is a lease that says how to make them so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from protocol.client_lease import Holder, Lease, LeaseUnreadable
from protocol.settings import (
    AUTH_TOKEN,
    BASE_URL,
    FileRecord,
    NotEditable,
    base_url,
    holds_ours,
    inspect,
    needs_two_steps,
    release,
)
from supervisor import client_lease_file as leases
from supervisor.plain_files import dangles, trouble
from supervisor.settings_edit import Untouched, no_directory, rewrite, settled, tidy
from supervisor.settings_files import SettingsDisk

DISK = SettingsDisk()


class Restored(NamedTuple):
    """What `restore` and `finish` did. `pending`: the second step is still due. `left`: something
    of ours could not be put back; the lease is kept, and `messages` say why."""

    messages: tuple[str, ...] = ()
    pending: bool = False
    changed: tuple[str, ...] = ()
    left: bool = False


def restore(
    state_directory: Path,
    *,
    instance: str | None = None,
    disk: SettingsDisk = DISK,
    now: Callable[[], float] = time.time,
) -> Restored:
    """Puts back every key that still is ours. Where running sessions would not notice a removed
    base URL, it is the first of two steps: the direct URL (`interface.md` rule 15).

    With `instance`, only what that instance holds. Idempotent, durable when it returns; what files
    can do is reported, never raised.
    """
    return _guarded(state_directory, lambda: _Release(state_directory, disk).begin(instance, now))


def finish(state_directory: Path, *, disk: SettingsDisk = DISK) -> Restored:
    """The second step: the key is removed, then the lease. Idempotent; does nothing where there
    was no first step, or the client has been pointed again since."""
    return _guarded(state_directory, lambda: _Release(state_directory, disk).end())


def restore_whole(
    state_directory: Path,
    *,
    instance: str | None = None,
    disk: SettingsDisk = DISK,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Restored:
    """Both steps, with the wait between them."""
    first = restore(state_directory, instance=instance, disk=disk, now=now)
    if not first.pending:
        return first
    pause(still_to_wait(state_directory, disk=disk, now=now))
    second = finish(state_directory, disk=disk)
    changed = tuple(dict.fromkeys((*first.changed, *second.changed)))
    return second._replace(messages=(*first.messages, *second.messages), changed=changed)


def still_to_wait(
    state_directory: Path, *, disk: SettingsDisk = DISK, now: Callable[[], float] = time.time
) -> float:
    """Seconds until `finish` is due; never more than `release_after`, whatever the clock did."""
    try:
        lease = leases.load(disk, state_directory)
    except (LeaseUnreadable, OSError):
        return 0.0
    if lease is None or not lease.released:
        return 0.0
    due = lease.released_at + lease.release_after - now()
    return max(0.0, min(due, lease.release_after))


def read_lease(state_directory: Path, *, disk: SettingsDisk = DISK) -> Lease | None:
    """The lease, if there is one. Raises LeaseUnreadable and OSError."""
    return leases.load(disk, state_directory)


def gone(holder: Holder) -> bool:
    """Whether no process of the holder runs any more."""
    return not leases.is_alive(holder)


def _guarded(state_directory: Path, act: Callable[[], Restored]) -> Restored:
    try:
        if not leases.is_there(state_directory):
            return Restored()
        with leases.lock(state_directory):
            return act()
    except LeaseUnreadable as reason:
        return Restored((str(reason),), left=True)
    except OSError as error:
        found = trouble(str(state_directory / leases.LEASE_FILE), error, "be used")
        return Restored((f"the client's settings are not put back: {found}",), left=True)


class _Release:
    """One run over the files of a lease, under its lock."""

    def __init__(self, state_directory: Path, disk: SettingsDisk) -> None:
        self._state = state_directory
        self._disk = disk
        self._tag = leases.tag_of(state_directory)
        self._messages: list[str] = []
        self._changed: list[str] = []
        self._left = False

    def begin(self, instance: str | None, now: Callable[[], float]) -> Restored:
        lease = leases.load(self._disk, self._state)
        if lease is None or instance not in (None, lease.holder.instance):
            return Restored()
        slow = self._slow_files(lease)
        if slow:
            lease, slow = self._announced(lease, slow, now)
        pending = False
        for record in lease.files:
            direct = {BASE_URL: lease.direct_url} if record.path in slow else None
            if not self._put_back(record, direct):
                continue
            if direct and self._waits(record, unknown=True):
                pending = True
            else:
                lease = lease.without_file(record.path)
        self._keep(lease)
        return self._report(pending)

    def end(self) -> Restored:
        lease = leases.load(self._disk, self._state)
        if lease is None or not lease.released:
            return Restored()
        for record in lease.files:
            if self._put_back(record, None):
                lease = lease.without_file(record.path)
        self._keep(lease)
        return self._report(pending=False)

    def let_go(self, paths: set[str]) -> Restored:
        lease = leases.load(self._disk, self._state)
        if lease is not None:
            for record in lease.files:
                if record.path in paths and self._put_back(record, None):
                    lease = lease.without_file(record.path)
            self._keep(lease)
        return self._report(pending=False)

    def _slow_files(self, lease: Lease) -> set[str]:
        """The files where the key may not just vanish."""
        if not lease.direct_url or lease.release_after <= 0:
            return set()
        return {record.path for record in lease.files if self._waits(record)}

    def _waits(self, record: FileRecord, *, unknown: bool = False) -> bool:
        """`unknown`: what to take for true where the file cannot be read."""
        try:
            return needs_two_steps(settled(self._disk, record.path), record)
        except (NotEditable, OSError):
            return unknown

    def _announced(
        self, lease: Lease, slow: set[str], now: Callable[[], float]
    ) -> tuple[Lease, set[str]]:
        """The direct URL is ours too, and the lease has to know before it stands there."""
        if lease.released:
            return lease, slow
        files = tuple(
            _also_ours(record, lease.direct_url) if record.path in slow else record
            for record in lease.files
        )
        announced = lease._replace(files=files, released=True, released_at=now())
        try:
            leases.store(self._disk, self._state, announced)
        except OSError as error:
            self._messages.append(
                f"the direct URL is left out, as the lease cannot be written ({error.strerror})"
            )
            return lease, set()
        return announced, slow

    def _put_back(self, record: FileRecord, instead: dict[str, str] | None) -> bool:
        """Whether nothing of ours, beside `instead`, is left in that file."""
        path, changed = record.path, False
        try:
            while rewrite(
                self._disk, path, self._tag, lambda content: release(content, record, instead)
            ):
                changed = True
        except Untouched as reason:
            self._messages.append(str(reason))
            self._left = True
            return False
        if changed:
            self._changed.append(path)
        self._tidy(record)
        return True

    def _tidy(self, record: FileRecord) -> None:
        try:
            kept = tidy(
                self._disk, record.path, self._tag, lambda content: release(content, record)
            )
        except OSError:  # no such directory any more, or not readable: nothing that could be done
            return
        if kept:
            self._messages.append(kept)

    def _keep(self, lease: Lease) -> None:
        if not lease.files:
            leases.drop(self._disk, self._state)
        elif lease != leases.load(self._disk, self._state):
            leases.store(self._disk, self._state, lease)

    def _report(self, pending: bool) -> Restored:
        return Restored(tuple(self._messages), pending, tuple(self._changed), self._left)


def _also_ours(record: FileRecord, value: str) -> FileRecord:
    keys = tuple(
        key._replace(ours=tuple(dict.fromkeys((value, *key.ours)))) if key.name == BASE_URL else key
        for key in record.keys
    )
    return record._replace(keys=keys)


def given_up(
    state_directory: Path, instance: str, paths: tuple[str, ...], *, disk: SettingsDisk = DISK
) -> tuple[tuple[str, str], ...]:
    """Those of `paths`, which `instance` pointed, that somebody else has pointed elsewhere since,
    each with what was found. Our other keys go from them, and they from the lease."""
    try:
        lease = leases.load(disk, state_directory)
    except (LeaseUnreadable, OSError):
        return ()  # not known, so not given up
    if lease is None or lease.released or lease.holder.instance != instance:
        return tuple((path, "it was put back by hand") for path in paths)
    found = []
    for path in paths:
        record = lease.file(path)
        reason = _taken(disk, record) if record else "it was put back by hand"
        if reason:
            found.append((path, reason))
    if found:
        gone_paths = {path for path, _ in found}
        _guarded(state_directory, lambda: _Release(state_directory, disk).let_go(gone_paths))
    return tuple(found)


def held_by(
    state_directory: Path, instance: str, *, disk: SettingsDisk = DISK
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The files that `instance` has pointed, each with its keys."""
    try:
        lease = leases.load(disk, state_directory)
    except (LeaseUnreadable, OSError):
        return ()
    if lease is None or lease.released or lease.holder.instance != instance:
        return ()
    return tuple(
        (record.path, tuple(key.name for key in record.keys))
        for record in lease.files
        if not _taken(disk, record)
    )


def _taken(disk: SettingsDisk, record: FileRecord) -> str:
    """What somebody else did to the base URL; "" where it still is ours, or cannot be read."""
    try:
        content = settled(disk, record.path)
        if record.key(BASE_URL) is None or holds_ours(content, record, BASE_URL):
            return ""
        there = inspect(content).names
    except (NotEditable, OSError):
        return ""
    did = "changed" if BASE_URL in there else "removed"
    return f"{BASE_URL} was {did} by somebody else"


class Shown(NamedTuple):
    """One settings file as it is now. `url`: where it points, "" for nowhere. `keys`: those of ours
    that are in it. `problem`: why it cannot be read, `advice`: what to do then."""

    path: str
    url: str = ""
    keys: tuple[str, ...] = ()
    problem: str = ""
    exists: bool = True
    has_token: bool = False
    advice: str = ""


def show(
    state_directory: Path, files: tuple[str, ...], *, disk: SettingsDisk = DISK
) -> tuple[Shown, ...]:
    """The files, and what of us is in them. Raises LeaseUnreadable and OSError, of the lease."""
    lease = leases.load(disk, state_directory)
    paths = {disk.resolve(path): str(Path(path).expanduser()) for path in files}
    for record in lease.files if lease else ():
        paths.setdefault(record.path, record.path)
    return tuple(_shown(disk, path, named, lease) for path, named in paths.items())


def _shown(disk: SettingsDisk, path: str, named: str, lease: Lease | None) -> Shown:
    record = lease.file(path) if lease else None
    try:
        content = disk.read(path)
        bare = release(content, record) if record else content
        ours = tuple(key.name for key in record.keys) if record and bare != content else ()
        url = base_url(content) or ""
    except NotEditable as reason:
        return Shown(path, problem=f"{named} {reason}", advice="repair the file (it is JSON)")
    except OSError as error:
        found = trouble(named, error)
        return Shown(path, problem=found.what, advice=found.advice)
    if content is None and dangles(named) and not disk.has_directory(path):
        found = no_directory(path, named)
        return Shown(path, problem=found.what, advice=found.advice)
    return Shown(path, url, ours, exists=content is not None, has_token=AUTH_TOKEN in ours)

"""Pointing clients here: what is wanted of each settings file, and what came of it. Standard
library only; putting back is `client_settings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from protocol.client_judgement import Answer, Circumstances, Verdict, is_loopback, judge
from protocol.client_lease import Holder, Lease, LeaseUnreadable, joined
from protocol.settings import (
    AUTH_TOKEN,
    BASE_URL,
    FileRecord,
    Found,
    NotEditable,
    holds_ours,
    inspect,
    point,
    release,
)
from supervisor import client_lease_file as leases
from supervisor.client_settings import DISK
from supervisor.client_state import has_login
from supervisor.plain_files import trouble
from supervisor.settings_edit import Untouched, permitted, rewrite, settled, tidy
from supervisor.settings_files import SettingsDisk
from supervisor.who_answers import who_answers

LOGIN_VARIABLES = ("ANTHROPIC_API_KEY", AUTH_TOKEN, "CLAUDE_CODE_OAUTH_TOKEN")


class Wanted(NamedTuple):
    """How clients are to be pointed. `token` goes with the base URL, as ANTHROPIC_AUTH_TOKEN: where
    the client has no login of its own, or `token_always`."""

    files: tuple[str, ...]
    here: Circumstances
    environment: Mapping[str, str]
    direct_url: str = ""
    release_after: float = 0.0
    token: str = ""
    token_always: bool = False


class FileOutcome(NamedTuple):
    """One file. `keys`: what was set in it. `reason`: why not, or what is worth knowing."""

    path: str
    did: Literal["pointed", "stood back"]
    reason: str = ""
    keys: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """All files, in the order they were wanted."""

    files: tuple[FileOutcome, ...] = ()
    messages: tuple[str, ...] = ()

    @property
    def pointed(self) -> bool:
        """At least one client points here."""
        return any(file.did == "pointed" for file in self.files)


class _StandBack(NotEditable):
    """The file says something that we do not replace."""


def point_clients(
    state_directory: Path,
    wanted: Wanted,
    holder: Holder,
    *,
    disk: SettingsDisk = DISK,
    answers: Callable[[str], Answer] = who_answers,
) -> Outcome:
    """Points every file, or stands back and says why. What an earlier life left is taken over.

    Idempotent; what files can do is reported, never raised.
    """
    try:
        with leases.lock(state_directory):
            return _Pointing(state_directory, wanted, holder, disk, answers).run()
    except (LeaseUnreadable, OSError) as error:
        words = str(error)
        if isinstance(error, OSError):
            words = str(trouble(str(state_directory / leases.LEASE_FILE), error, "be used"))
        return Outcome(tuple(FileOutcome(path, "stood back", words) for path in wanted.files))


def upstream_of_clients(
    state_directory: Path,
    files: tuple[str, ...],
    *,
    disk: SettingsDisk = DISK,
    answers: Callable[[str], Answer] = who_answers,
) -> str:
    """Where the first client points that points anywhere, ours aside; "" for none, or where we
    would stand back. Without accounts and a configured upstream, that is the upstream."""
    try:
        lease = leases.load(disk, state_directory)
    except (LeaseUnreadable, OSError):
        return ""
    for path in files:
        real = disk.resolve(path)
        try:
            content = settled(disk, real)
            record = lease.file(real) if lease else None
            bare = release(content, record) if record else content
            found = inspect(bare).env.get(BASE_URL)
        except (NotEditable, OSError):
            continue
        if found is None:
            continue
        answer = answers(found) if is_loopback(found) else "somebody"
        if judge(found, answer, Circumstances("", passthrough=True)).verdict is Verdict.ADOPT:
            return found.rstrip("/")
    return ""


class _Pointing:
    def __init__(
        self,
        state_directory: Path,
        wanted: Wanted,
        holder: Holder,
        disk: SettingsDisk,
        answers: Callable[[str], Answer],
    ) -> None:
        self._state = state_directory
        self._wanted = wanted
        self._disk = disk
        self._answers = answers
        self._known: dict[str, Answer] = {}
        self._tag = leases.tag_of(state_directory)
        self._stored = leases.load(disk, state_directory)
        self._lease = Lease(
            holder,
            wanted.here.url,
            wanted.direct_url,
            wanted.release_after,
            self._stored.files if self._stored else (),
        )
        self._messages: list[str] = []

    def run(self) -> Outcome:
        files = {path: self._disk.resolve(path) for path in self._wanted.files}
        for record in self._lease.files:
            if record.path not in files.values():
                self._let_go(record)
        named = {real: str(Path(path).expanduser()) for path, real in files.items()}
        outcomes = tuple(self._one(real, path) for real, path in named.items())
        self._store()
        return Outcome(outcomes, tuple(self._messages))

    def _one(self, path: str, named: str) -> FileOutcome:
        old = self._lease.file(path)
        exact: list[FileRecord] = []
        reasons: list[str] = []

        def transform(content: bytes | None) -> bytes | None:
            bare = release(content, old) if old else content
            reasons[:] = [self._allowed(bare)]
            made = point(path, bare, self._values(path, bare))
            exact[:] = [made.record]
            self._lease = self._lease.with_file(joined(old, made.record))
            self._store()
            return made.content

        try:
            permitted(self._disk, path, named)
            rewrite(self._disk, path, self._tag, transform)
        except (Untouched, OSError) as reason:
            if not (exact and self._in_place(path, exact[0])):
                return self._stood_back(path, old, str(reason))
            self._messages.append(str(reason))
        self._lease = self._lease.with_file(exact[0])
        self._store()
        self._tidy(exact[0])
        keys = tuple(key.name for key in exact[0].keys)
        return FileOutcome(path, "pointed", reasons[0], keys)

    def _allowed(self, bare: bytes | None) -> str:
        """What is worth knowing about it; raises _StandBack."""
        found = inspect(bare)
        url = found.env.get(BASE_URL)
        if url is None and BASE_URL in found.names:
            raise _StandBack(f"has an {BASE_URL} that is not a text")
        answer: Answer = "somebody"
        if url is not None and is_loopback(url):
            if url not in self._known:  # asked once: it takes long beside an exchange
                self._known[url] = self._answers(url)
            answer = self._known[url]
        judgement = judge(url, answer, self._wanted.here)
        if judgement.verdict is Verdict.STAND_BACK:
            raise _StandBack(f"is not ours to change: {judgement.reason}")
        return judgement.reason

    def _values(self, path: str, bare: bytes | None) -> dict[str, str]:
        values = {BASE_URL: self._wanted.here.url, **self._wanted.environment}
        wanted = self._wanted
        if wanted.token and (wanted.token_always or not self._has_login(path, inspect(bare))):
            values[AUTH_TOKEN] = wanted.token
        return values

    def _has_login(self, path: str, found: Found) -> bool:
        """Whether the client has a credential of its own; what cannot be read counts as one."""
        if found.has_helper or any(name in found.names for name in LOGIN_VARIABLES):
            return True
        return has_login(Path(path).parent, self._disk.read)

    def _in_place(self, path: str, record: FileRecord) -> bool:
        try:
            return holds_ours(settled(self._disk, path), record, BASE_URL)
        except (NotEditable, OSError):
            return False

    def _stood_back(self, path: str, old: FileRecord | None, reason: str) -> FileOutcome:
        if old is not None:
            self._lease = self._lease.with_file(old)
            self._let_go(old)
        else:
            self._lease = self._lease.without_file(path)
        return FileOutcome(path, "stood back", reason)

    def _let_go(self, record: FileRecord) -> None:
        """A file that we pointed once and do not any more."""
        try:
            while rewrite(
                self._disk, record.path, self._tag, lambda content: release(content, record)
            ):
                pass
        except Untouched as reason:
            self._messages.append(str(reason))
            return
        self._tidy(record)
        self._lease = self._lease.without_file(record.path)

    def _tidy(self, record: FileRecord) -> None:
        try:
            kept = tidy(
                self._disk, record.path, self._tag, lambda content: release(content, record)
            )
        except OSError:
            return
        if kept:
            self._messages.append(kept)

    def _store(self) -> None:
        wanted = self._lease if self._lease.files else None
        if wanted == self._stored:
            return
        if wanted is None:
            leases.drop(self._disk, self._state)
        else:
            leases.store(self._disk, self._state, wanted)
        self._stored = wanted

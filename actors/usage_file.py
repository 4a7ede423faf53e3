"""Writes what is known of quota into the files that status bars read."""

from __future__ import annotations

import datetime
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path

import trio

from actors.asking import insist
from actors.disk import Disk
from actors.mailbox import AskFailed, Mailbox
from actors.messages import Describe, DispatcherMessage
from actors.runtime import Context
from actors.usage_places import UsagePlaces
from protocol.dispatch import DispatchState
from protocol.quota import Quota
from protocol.usage_file import FILE_NAME, LocalTime, file_of, whole_file

log = logging.getLogger("actors.usage_file")

INTERVAL_SECONDS = 0.5
"""Twice a second at most, however many answers come."""

LOGIN_SECONDS = 1.0
"""Between two looks at the same login."""

IDLE_SECONDS = 5.0
"""Between two looks whether there is something to do at all, and two tries of a disk that refuses."""

STALE_SECONDS = 30.0
"""After so long a file is made anew without a new reading: a window's reset may have passed."""

ASK_SECONDS = 2.0
REPLACED_MAX = 256
"""Credentials remembered as replaced; a login gets a few new ones a day."""

CREDENTIALS = ".credentials.json"


class UsageFileActor:
    """`places` may change with the configuration; `login_name` gives the name under which the
    credential in a credentials file is known here, None where there is none.

    It never fails because of the disk: one that refuses is said once, and tried again.
    """

    def __init__(
        self,
        disk: Disk,
        places: Callable[[], UsagePlaces],
        dispatcher: Mailbox[DispatcherMessage],
        wall_clock: Callable[[], float],
        login_name: Callable[[bytes], str | None],
        local: LocalTime = lambda epoch: datetime.datetime.fromtimestamp(epoch).astimezone(),
    ) -> None:
        self._disk = disk
        self._places = places
        self._dispatcher = dispatcher
        self._wall_clock = wall_clock
        self._login_name = login_name
        self._local = local
        self._written: dict[Path, str] = {}
        self._quotas: dict[str, Quota] = {}
        self._made_at = -STALE_SECONDS
        self._not_before: dict[Path, float] = {}
        self._failing: set[Path] = set()
        self._names: dict[Path, str] = {}
        self._replaced: deque[str] = deque(maxlen=REPLACED_MAX)
        self._logins_at = -LOGIN_SECONDS

    async def run(self, context: Context[None, None]) -> None:
        """Until the program stops; the last readings are still written, and the files stay."""
        context.ready()
        while not context.stopping.is_set():
            places = self._places()
            wanted = places.main is not None or places.logins
            with trio.move_on_after(INTERVAL_SECONDS if wanted else IDLE_SECONDS):
                await context.stopping.wait()
            if wanted:
                await self._look(places)

    async def _look(self, places: UsagePlaces) -> None:
        try:
            state = await insist(self._dispatcher, Describe(), timeout=ASK_SECONDS)
        except AskFailed:
            return  # it is being restarted; the next look will do
        quotas = {name: account.quota for name, account in state.accounts.items()}
        now = trio.current_time()
        if (
            quotas == self._quotas
            and now < self._made_at + STALE_SECONDS
            and not self._due(now)
        ):  # fmt: skip
            return
        waiting = False
        if places.logins and not state.strategy.pool and any(q.windows for q in quotas.values()):
            waiting = not await self._look_at_logins(places.logins, now)
        texts = self._texts(state, places)
        self._not_before = {p: moment for p, moment in self._not_before.items() if p in texts}
        for path, text in texts.items():
            optional = places.optional if path == places.main else True
            await self._write(path, text, optional=optional)
        if not waiting:
            self._quotas, self._made_at = quotas, now

    def _due(self, now: float) -> bool:
        """A file that could not be written may be tried again."""
        return any(moment <= now for moment in self._not_before.values())

    async def _look_at_logins(self, directories: tuple[Path, ...], now: float) -> bool:
        """Whose login each is now; False when it is too soon to look again."""
        if now < self._logins_at + LOGIN_SECONDS:
            return False
        self._logins_at = now
        for directory in directories:
            try:
                name = self._login_name(await self._disk.read(directory / CREDENTIALS))
            except OSError:
                continue  # logged out, or just being replaced: what was known goes on
            before = self._names.get(directory)
            if name is None or name == before:
                continue
            self._names[directory] = name
            if before is not None and before not in self._names.values():
                self._replaced.append(before)
        return True

    def _texts(self, state: DispatchState, places: UsagePlaces) -> dict[Path, str]:
        epoch = self._wall_clock()
        texts: dict[Path, str] = {}
        if places.main is not None:
            current = set(self._names.values())
            replaced = [name for name in self._replaced if name not in current]
            texts[places.main] = whole_file(state, epoch, self._local, replaced)
        if not state.strategy.pool:
            for directory in places.logins:
                name = self._names.get(directory, "")
                texts[directory / FILE_NAME] = file_of(state, name, epoch, self._local)
        # Nothing known is no reason to wipe out what an earlier life knew.
        return {path: text for path, text in texts.items() if text}

    async def _write(self, path: Path, text: str, *, optional: bool) -> None:
        now = trio.current_time()
        if self._written.get(path) == text or now < self._not_before.get(path, now):
            return
        try:
            await self._disk.replace(path, text.encode())
        except OSError as error:
            self._not_before[path] = now + IDLE_SECONDS
            missing = optional and isinstance(error, FileNotFoundError)
            if path not in self._failing and not missing:
                self._failing.add(path)
                log.warning("%s is not written: %s; it is tried again", path, error)
            return
        self._written[path] = text
        self._not_before.pop(path, None)
        if path in self._failing:
            self._failing.discard(path)
            log.warning("%s is written again", path)

"""The token endpoint of a run, and somebody else who shares the login files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import trio

from server.scripted import Answer, Granted, ScriptedLogins, SeenRequest, server_error
from tests.kit.logins import login_file, login_path
from tests.sim.disks import SimCredentials
from tests.sim.faults import Dice
from tests.sim.history import Renewal


class SimLogins(ScriptedLogins):
    """Single-use refresh tokens; every exchange is recorded."""

    def __init__(self, dice: Dice, now: Callable[[], float], lifetime: float) -> None:
        super().__init__(now, lifetime=lifetime)
        self._dice = dice
        self._family_of: dict[str, str] = {}
        self.granted: dict[str, Granted] = {}
        """The newest pair of each family."""

    def grant(self, family: str, *, lifetime: float | None = None) -> Granted:
        granted = super().grant(family, lifetime=lifetime)
        self.granted[family] = granted
        self._family_of[granted.refresh_token] = family
        return granted

    def all_tokens(self) -> set[str]:
        """Every token there ever was."""
        return {*self._family_of, *self._access}

    def good(self, access_token: str) -> bool:
        """Whether the API takes it."""
        return self._access.get(access_token, 0.0) > self._now()

    def renew(self, seen: SeenRequest) -> Answer:
        """One exchange with the program."""
        sent = str(seen.json().get("refresh_token", ""))
        family = self._family_of.get(sent, "")
        if self._dice.hit("token refused", family):
            self._record(family, sent, None, delivered=False)  # it says nothing of the token
            return server_error(503)
        lost = self._dice.hit("token answer lost", family)
        slow = self._dice.hit("token slow", family)
        before = self.granted.get(family)
        answer = self.refresh(seen)
        after = self.granted.get(family)
        self._record(family, sent, after if after is not before else None, delivered=not lost)
        if lost:
            return Answer(instead_of_head="reset")
        return answer.after(self._dice.stream("token slow").uniform(1, 9)) if slow else answer

    def _record(self, family: str, sent: str, granted: Granted | None, *, delivered: bool) -> None:
        access = granted.access_token if granted else ""
        refresh = granted.refresh_token if granted else ""
        now, known = trio.current_time(), bool(family)
        self._dice.history.add(Renewal(now, family, sent, access, refresh, delivered, known))


def log_in(logins: SimLogins, credentials: SimCredentials, family: str, by: str) -> None:
    """A new pair, written where the login's file is."""
    credentials.put_by(by, login_path(family), login_file(logins.grant(family)))


def is_alive(logins: SimLogins, credentials: SimCredentials, family: str) -> bool:
    """Whether the refresh token in the file is still good for something."""
    content = credentials.read(Path(login_path(family)))
    if content is None:
        return False
    found = json.loads(content.data)["claudeAiOauth"]["refreshToken"]
    return logins.is_current(str(found))

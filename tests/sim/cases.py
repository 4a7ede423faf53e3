"""The history, put in order for the checker: requests with their attempts, credentials, quiet times."""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.sim.history import (
    Account,
    Attempt,
    Configured,
    Ended,
    Fault,
    Got,
    Head,
    History,
    KeyMade,
    KeyRevoked,
    Life,
    Mended,
    Over,
    Owner,
    Planned,
    Renewal,
    Sent,
    Written,
)

ACTOR_FAULTS = frozenset({"crash at await", "crash with message", "kill", "stuck", "crash loop"})
DRAINING_SECONDS = 60.0
"""Before it gives up a program drains, and nobody says when that begins."""

HEALTHY_SECONDS = 60.0
LONG_ROW = 8
"""An actor that was well for a minute begins anew with a tenth of a second of rest, which doubles with
each further crash: with the eighth it is ten seconds (`architecture.md`)."""

HELD_UP = frozenset({"stuck", "crash loop"})
SETTLING_SECONDS = 90.0
"""After a fault of an actor it may take so long until everybody knows everything again: its rest
between two lives, and that of its group."""

Found = Iterator[tuple[float, str]]
"""What a rule finds: when, and what is wrong."""

_PING = re.compile(rb"(?:event: ping\r?\ndata: [^\n]*\r?\n\r?\n|:[^\n]*\r?\n\r?\n)+")


@dataclass
class Try:
    """One attempt at an upstream."""

    attempt: Attempt
    planned: Planned | None = None
    over: Over | None = None

    @property
    def failed(self) -> bool:
        """Whether the upstream did not answer it well."""
        return self.planned is None or bool(self.planned.fault)

    @property
    def whole(self) -> bool:
        """Whether a good answer was handed over to its last byte."""
        return (
            not self.failed
            and self.planned is not None
            and self.planned.status < 400
            and self.over is not None
            and self.over.outcome == "complete"
        )


@dataclass
class Case:
    """One request of a client."""

    sent: Sent
    head: Head | None = None
    pieces: list[Got] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """All that reached the client."""
        return b"".join(piece.data for piece in self.pieces)

    @property
    def status(self) -> int:
        """0: no answer."""
        return self.head.status if self.head else 0

    @property
    def end(self) -> Ended:
        """How it ended."""
        return self.ends[0]

    def header(self, name: str) -> str | None:
        """Of the answer."""
        headers = self.head.headers if self.head else ()
        return next((value for key, value in headers if key == name), None)

    @property
    def content(self) -> bytes:
        """The body without pings that were put before it while the request was held."""
        found = _PING.match(self.body)
        return self.body[found.end() :] if found else self.body

    def source(self) -> Try | None:
        """The attempt whose answer the client got, as far as it came."""
        for one in self.tries:
            planned = one.planned
            if planned is None or planned.ending == "none":
                continue
            for body in (self.body, self.content):
                if planned.body.startswith(body) and planned.status == self.status:
                    return one
        return None


@dataclass(frozen=True)
class Token:
    """An access token: whose, since when it is on the disk, and since when another one is."""

    family: str
    written: float
    replaced: float


class Cases:
    """The index over one history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.cases: dict[int, Case] = {}
        self.tries: dict[int, Try] = {}
        self.lives: list[Life] = list(history.of(Life))
        self.configured: list[Configured] = list(history.of(Configured))
        self.owner: list[Owner] = list(history.of(Owner))
        self.faults: list[Fault] = list(history.of(Fault))
        self._edges: list[Fault | Mended] = [*self.faults, *history.of(Mended)]
        self._actor_faults = [fault.at for fault in self.faults if fault.kind in ACTOR_FAULTS]
        self._crashes: dict[str, list[float]] = {}
        for fault in self.faults:
            if fault.kind in ACTOR_FAULTS:
                self._crashes.setdefault(fault.what.split(":")[0], []).append(fault.at)
        self.tokens = dict(_tokens(history))
        self.renewals: list[Renewal] = list(history.of(Renewal))
        self.made_keys = {made.shown: made for made in history.of(KeyMade)}
        self.by_key: dict[str, list[Case]] = {}
        self.revoked_keys = {one.nth: one.at for one in history.of(KeyRevoked)}
        for sent in history.of(Sent):
            case = self.cases[sent.request] = Case(sent)
            self.by_key.setdefault(sent.own, []).append(case)
        for head in history.of(Head):
            self.cases[head.request].head = head
        for got in history.of(Got):
            self.cases[got.request].pieces.append(got)
        for ended in history.of(Ended):
            self.cases[ended.request].ends.append(ended)
        for attempt in history.of(Attempt):
            one = self.tries[attempt.attempt] = Try(attempt)
            if attempt.request in self.cases:
                self.cases[attempt.request].tries.append(one)
        for planned in history.of(Planned):
            self.tries[planned.attempt].planned = planned
        for over in history.of(Over):
            self.tries[over.attempt].over = over

    def disturbed(self, begin: float, end: float) -> bool:
        """Whether actors may have been beside themselves at some time in between."""
        at = bisect.bisect_left(self._actor_faults, begin - SETTLING_SECONDS)
        return at < len(self._actor_faults) and self._actor_faults[at] <= end

    def faulted(self, kinds: frozenset[str], begin: float, end: float) -> bool:
        """Whether a fault of these kinds began or ended in between."""
        return any(f.kind in kinds and begin <= f.at <= end for f in self._edges)

    def crashes(self, actor: str, begin: float, end: float) -> int:
        """How often this actor was made to crash, or to be stuck, in between."""
        return sum(at <= end for at in self._crashes.get(actor, ()) if at >= begin)

    def shaken(self, begin: float, end: float) -> bool:
        """Whether more was done to one actor than its restarts hide: several crashes on end, or
        one that was alive but did not move."""
        if self.faulted(HELD_UP, begin - SETTLING_SECONDS, end):
            return True
        return any(
            self.crashes(name, begin - HEALTHY_SECONDS, end) >= 3
            or self._rests_long(name, begin, end)
            for name in self._crashes
        )

    def _rests_long(self, actor: str, begin: float, end: float) -> bool:
        """Whether it had crashed so often, and was never healthy for long enough in between, that
        its rest before the next life is as long as a request waits for it."""
        row, before = 0, -math.inf
        for at in self._crashes[actor]:
            row = row + 1 if at - before < HEALTHY_SECONDS else 1
            before = at
            if row >= LONG_ROW and begin - SETTLING_SECONDS <= at <= end:
                return True
        return False

    def ending(self, number: int, begin: float, end: float) -> bool:
        """Whether that life of the program was on its way out in between."""
        ends = [
            life.at - (DRAINING_SECONDS if life.what == "gave up" else 0.0)
            for life in self.lives
            if life.number == number and life.what != "up"
        ]
        return any(at <= end for at in ends)

    def accounts_at(self, at: float) -> tuple[Account, ...]:
        """The configuration in force."""
        before = [one for one in self.configured if one.at <= at]
        return before[-1].accounts if before else ()

    def keys_asked(self, begin: float, end: float) -> set[str]:
        """Whether inbound keys were asked for, at all times in between: on, off, unsure."""
        before = [one.keys for one in self.configured if one.at <= begin]
        since = {one.keys for one in self.configured if begin < one.at <= end}
        return since | set(before[-1:])  # before the first of them there was nobody to ask

    def account_of(self, credential: str) -> str | None:
        """Whose it is, in any configuration there was."""
        if credential in self.tokens:
            return self.tokens[credential].family
        for one in self.configured:
            for account in one.accounts:
                if account.secret and account.secret == credential:
                    return account.name
        return None

    def off_throughout(self, name: str, begin: float, end: float) -> bool:
        """Whether the account was disabled, or not there, all the time in between."""
        if not self._off(name, begin):
            return False
        changes = [
            e.at for e in (*self.configured, *self.owner, *self.lives) if begin < e.at <= end
        ]
        return all(self._off(name, at) for at in changes)

    def _off(self, name: str, at: float) -> bool:
        found = [account for account in self.accounts_at(at) if account.name == name]
        if not found or not found[0].enabled:
            return True
        born = max(
            (life.at for life in self.lives if life.what == "up" and life.at <= at), default=0
        )
        told = [e.what for e in self.owner if e.account == name and born <= e.at <= at]
        switched = [what for what in told if what in ("disable", "enable")]
        return bool(switched) and switched[-1] == "disable"


def _tokens(history: History) -> Iterator[tuple[str, Token]]:
    """Every access token that was granted, and all that ever lay on the disk."""
    for renewal in history.of(Renewal):
        if renewal.access:
            yield renewal.access, Token(renewal.family, float("inf"), float("inf"))
    newest: dict[str, tuple[str, str, float]] = {}
    for written in history.of(Written):
        try:
            access = json.loads(written.data)["claudeAiOauth"]["accessToken"]
        except (ValueError, KeyError, TypeError):
            continue
        family = written.path.split("/")[2]
        if written.path in newest and newest[written.path][0] != access:
            old, _, since = newest[written.path]
            yield old, Token(family, since, written.at)
        if written.path not in newest or newest[written.path][0] != access:
            newest[written.path] = (access, family, written.at)
    for access, family, since in newest.values():
        yield access, Token(family, since, float("inf"))


def text_of(body: bytes) -> str:
    """What a model says in an answer in either dialect, streamed or not."""
    if body.lstrip().startswith(b"{"):
        try:
            return _words(json.loads(body))
        except ValueError:
            return ""
    said = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            try:
                said.append(_words(json.loads(line[6:])))
            except ValueError:
                break  # cut in the middle
    return "".join(said)


def _words(document: Any) -> str:
    """Of one answer, or of one event of a stream."""
    match document:
        case {"content": [*blocks]}:
            return "".join(block.get("text", "") for block in blocks)
        case {"delta": {"type": "text_delta", "text": str(text)}}:
            return text
        case {"choices": [{"message": {"content": str(text)}}]}:
            return text
        case {"choices": [{"delta": {"content": str(text)}}]}:
            return text
    return ""


def ends_in_error(body: bytes) -> bool:
    """Whether the last thing that a stream says is an error, in either dialect."""
    return b"event: error" in body or b'data: {"error":' in body

"""For what the checker forgives a request, or an account: only for what was recorded."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from tests.sim.cases import HELD_UP, Case, Cases, Try

OTHER = "other.test"
NETWORK = frozenset({"refused", "silent host"})
DISK = frozenset({"disk error", "disk slow"})
CLOCK = frozenset({"clock jump", "suspend", "stopped"})
JUMP = frozenset({"clock jump"})
SLEEP = frozenset({"suspend"})
PAUSE = frozenset({"stopped"})
KEYS_FILE = frozenset({"keys file broken"})
OWNERS = frozenset({"account removal", "disable"})
LOGINS = frozenset({"token refused", "token slow", "token answer lost", "renewed elsewhere"})

FORGETFUL_SECONDS = 8.0
"""How much of what was learned may be lost with a life: the memory is written every five."""

OF_THE_REQUEST = ("", "400", "404", "unknown credential")
"""Answers that are no reason why another request is refused."""

LONGEST_MEMORY = 700.0
"""A fault longer ago than that excuses no refusal: the longest rest has ended."""

CLOCK_JUMP_MAX = 3600.0


def relayed(cases: Cases) -> Iterator[Case]:
    """Requests that are an upstream's to answer, with an answer, and whose client stayed."""
    for case in cases.cases.values():
        if case.sent.relayed and case.head is not None and len(case.ends) == 1:
            yield case


def held_and_refused(case: Case) -> bool:
    """A stream that was opened to wait, and got an error event of ours in the end."""
    return case.content != case.body and case.content.startswith(
        (b"event: error", b'data: {"error"')
    )


def excused(cases: Cases, case: Case) -> bool:
    """Whether something was recorded for which a request may be refused by the program itself."""
    begin, end = case.sent.at, case.end.at
    if cases.ending(case.sent.life, begin, end) or cases.shaken(begin, end):
        return True
    if any(one.failed for one in case.tries) or cases.faulted(NETWORK | PAUSE, begin, end):
        return True
    if case.status in (502, 504):
        return any(one.planned and one.planned.ending != "complete" for one in case.tries)
    since = begin - LONGEST_MEMORY
    if cases.faulted(OWNERS | LOGINS | NETWORK, since, end):
        return True
    if b"lost its login" in case.body and cases.faulted(LOGINS, 0.0, end):
        return True  # until its owner logs in again
    if b"refuses the credential" in case.body and cases.faulted(SLEEP, since, end):
        return True  # tokens expired meanwhile, and after a sleep they are renewed one by one
    return any(
        one.planned is not None
        and one.planned.fault not in OF_THE_REQUEST
        and (since <= one.attempt.at <= end or _misdated(cases, one, end))
        for one in cases.tries.values()
    )


def _misdated(cases: Cases, one: Try, end: float) -> bool:
    """Whether a rest that was told as a moment may be as much longer as the clock had jumped by:
    these upstreams send no `Date` that it could be taken relative to."""
    told = one.attempt.at
    if one.planned is None or one.planned.fault != "429 window":
        return False
    return end - LONGEST_MEMORY - CLOCK_JUMP_MAX <= told <= end and cases.faulted(JUMP, 0.0, told)


def forgiven(cases: Cases, name: str, told: float, tried: float) -> bool:
    """Whether an account may have forgotten what it was told at `told`."""
    own, dispatcher = f"account/{name}", "dispatcher"
    if cases.crashes(own, told - 1, tried) >= 2 or cases.faulted(HELD_UP, told - 60, tried):
        return True  # a second crash over the same state throws that away
    crashed = any(cases.crashes(actor, told - 15, told + 15) for actor in (own, dispatcher))
    if crashed and tried < told + 30:
        return True  # it was on its way
    if cases.faulted(CLOCK, told - 1, tried) or cases.faulted(DISK, told - 30, tried):
        return True
    for life in cases.lives:
        if life.what == "over" and told <= life.at <= min(tried, told + FORGETFUL_SECONDS):
            return True
        if life.what in ("cut", "gave up") and told <= life.at <= tried:
            return True
    changes = (one for one in cases.configured if told <= one.at <= tried)
    return any(name not in {account.name for account in one.accounts} for one in changes)


def epoch(written: str) -> float:
    """Seconds, of a time in RFC 3339."""
    return datetime.datetime.fromisoformat(written.replace("Z", "+00:00")).timestamp()

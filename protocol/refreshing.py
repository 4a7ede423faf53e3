"""When a login is renewed, and what its failures mean: `(state, event, clocks) -> state`.

One renewal at a time per login, however many ask. Expiry is wall-clock time and looked at again at
least every `LOOK_SECONDS`, so a suspend or a set clock is noticed; waits between tries are
monotonic. Whoever is told `current` or `no` goes on with the token there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from protocol.credentials import Subject
from protocol.secrets import Secret
from protocol.status_view import Clocks

LOOK_SECONDS = 30.0
"""The monotonic clock stands still while the machine sleeps; after so long the date is looked at."""

JITTER_SECONDS = 60.0
UNCHANGED_SECONDS = 60.0
"""A login file that changed so recently has somebody who looks after it (`follow = "auto"`)."""

RETRY_SECONDS = 5.0
RETRY_SECONDS_MAX = 300.0
INTERVAL_SECONDS = 30.0
"""Between two renewals of one login, whatever its dates say: a date that is always past must not
become a storm."""

SPREAD_SECONDS = 10.0
"""After the clock jumped, logins that are due together are renewed over so long."""
JUMP_SECONDS = 60.0

Decision = Literal["unknown", "current", "join", "no", "begin"]


class Policy(msgspec.Struct, frozen=True):
    """`[refresh]`."""

    ahead: float = 600.0
    blocking_under: float = 60.0
    disable_after: int = 15
    timeout: float = 30.0


class Outcome(msgspec.Struct, frozen=True):
    """How a renewal ended. `subject` is the login as it is now, where that was read.

    renewed: the new pair is on the disk. replaced: somebody else's is there. dead: the endpoint does
    not know the refresh token any more. refused: 4xx. `digest` is of the token that these two are about. unreachable: the endpoint gave no answer, or
    one that is its own fault. busy: another process renews it. unusable: the file cannot be used.
    """

    kind: Literal["renewed", "replaced", "dead", "refused", "unreachable", "busy", "unusable"]
    detail: str = ""
    subject: Subject | None = None
    digest: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One login. `not_before` and `renewed_at` are monotonic; `lifetime` is that of a token that
    was seen to come, in seconds. `dead` is the digest of a refresh token that was found to need a
    login here: whoever reads the file may not have heard of it yet."""

    subject: Subject
    jitter: float
    in_flight: bool = False
    refused: int = 0
    failures: int = 0
    not_before: float = 0.0
    lifetime: float | None = None
    warned: bool = False
    dead: str = ""


class Refreshing(msgspec.Struct, frozen=True):
    """All logins by account. `looked` is when both clocks were looked at last."""

    entries: Mapping[str, Entry] = {}
    looked: Clocks | None = None


class Ended(msgspec.Struct, frozen=True):
    """What follows from an outcome: `dead` says why its owner must log in again, `warning` and
    `note` are for the log."""

    dead: str = ""
    warning: str = ""
    note: str = ""


def learned(
    state: Refreshing, subjects: Iterable[Subject], clocks: Clocks, draw: Callable[[], float]
) -> Refreshing:
    """The logins as they are now; `draw` gives a number from 0 to 1. A changed token wipes what was
    held against the old one."""
    entries = {
        one.name: _learned(state.entries.get(one.name), one, clocks, draw) for one in subjects
    }
    return msgspec.structs.replace(state, entries=entries)


def _learned(
    known: Entry | None, subject: Subject, clocks: Clocks, draw: Callable[[], float]
) -> Entry:
    if known is not None and known.dead and known.dead == subject.digest:
        subject = msgspec.structs.replace(subject, needs_login=True)
    if known is not None and known.subject == subject:
        return known
    if known is not None and _same_tokens(known.subject, subject):
        return msgspec.structs.replace(known, subject=subject)
    fresh = Entry(subject, draw() * JITTER_SECONDS, in_flight=known is not None and known.in_flight)
    if known is None or subject.expires_at is None:
        return fresh
    return msgspec.structs.replace(fresh, lifetime=max(subject.expires_at - clocks.wall, 0.0))


def _same_tokens(one: Subject, other: Subject) -> bool:
    return (one.digest, one.expires_at) == (other.digest, other.expires_at) and (
        _token(one) == _token(other) and one.needs_login == other.needs_login
    )


def _token(subject: Subject) -> Secret | None:
    return subject.credential.secret if subject.credential else None


def at_rest(state: Refreshing) -> Refreshing:
    """At the start of a life: nothing is under way."""
    entries = {
        name: msgspec.structs.replace(entry, in_flight=False)
        for name, entry in state.entries.items()
    }
    return msgspec.structs.replace(state, entries=entries)


def undeclared(state: Refreshing, subjects: Iterable[Subject]) -> tuple[str, ...]:
    """The logins that were found dead here, of which whoever read `subjects` does not know so."""
    return tuple(
        one.name
        for one in subjects
        if not one.needs_login
        and (entry := state.entries.get(one.name)) is not None
        and entry.dead
        and entry.dead == one.digest
    )


def due_at(entry: Entry, policy: Policy) -> float | None:
    """When a login is renewed without anybody asking, in epoch seconds; None for never."""
    subject = entry.subject
    if not subject.renewable or subject.expires_at is None:
        return None
    if subject.source.follow == "auto":
        return _free_at(subject) + entry.jitter
    # A token that lives shorter than `ahead` would always be due.
    ahead = policy.ahead if entry.lifetime is None else min(policy.ahead, entry.lifetime / 2)
    return subject.expires_at - ahead - min(entry.jitter, ahead)


def _free_at(subject: Subject) -> float:
    """From when on somebody else's login is ours to renew: expired, and nobody looked after it."""
    return max(subject.expires_at or 0.0, subject.changed_at + UNCHANGED_SECONDS)


def due(
    state: Refreshing, policy: Policy, clocks: Clocks, draw: Callable[[], float]
) -> tuple[Refreshing, tuple[str, ...]]:
    """The logins to renew now, without traffic."""
    state = _looked(state, clocks, draw)
    names = tuple(
        name
        for name, entry in state.entries.items()
        if not entry.in_flight
        and entry.not_before <= clocks.monotonic
        and (at := due_at(entry, policy)) is not None
        and at <= clocks.wall
    )
    return state, names


def _looked(state: Refreshing, clocks: Clocks, draw: Callable[[], float]) -> Refreshing:
    before, entries = state.looked, state.entries
    if before is not None:
        apart = (clocks.wall - before.wall) - (clocks.monotonic - before.monotonic)
        if apart > JUMP_SECONDS:
            entries = {
                name: msgspec.structs.replace(
                    entry,
                    not_before=max(entry.not_before, clocks.monotonic + draw() * SPREAD_SECONDS),
                )
                for name, entry in entries.items()
            }
    return Refreshing(entries, clocks)


def pause(state: Refreshing, policy: Policy, clocks: Clocks) -> float:
    """Seconds until `due` should be asked again, at most `LOOK_SECONDS`."""
    wait = LOOK_SECONDS
    for entry in state.entries.values():
        at = due_at(entry, policy)
        if at is not None and not entry.in_flight:
            ready = max(at - clocks.wall, entry.not_before - clocks.monotonic)
            wait = min(wait, max(ready, 0.0))
    return wait


def asked(
    state: Refreshing,
    name: str,
    held: Secret | None,
    policy: Policy,
    clocks: Clocks,
    *,
    forced: bool,
    by_hand: bool = False,
) -> Decision:
    """What to do for somebody who needs the login's token to be good.

    `held` is the token that he has; another one is there already: that is `current`. `forced`: he
    knows that it is not good (a 401). `by_hand`: a person wants a new one, whatever its date says and
    however new it is; nothing is waited for then.
    """
    entry = state.entries.get(name)
    if entry is None:
        return "unknown"
    subject = entry.subject
    if held is not None and _token(subject) is not None and _token(subject) != held:
        return "current"
    if entry.in_flight:
        return "join"
    if by_hand and subject.renewable:
        return "begin"
    if not subject.renewable or entry.not_before > clocks.monotonic:
        return "no"
    if subject.source.follow == "auto":
        free = subject.changed_at + UNCHANGED_SECONDS if forced else _free_at(subject)
        return "begin" if free <= clocks.wall else "no"
    left = None if subject.expires_at is None else subject.expires_at - clocks.wall
    if forced or (left is not None and left < policy.blocking_under):
        return "begin"
    return "no"


def worth_a_look(state: Refreshing, name: str, clocks: Clocks, *, forced: bool) -> bool:
    """Whether somebody else may have renewed the login since its file was read, where `asked` says
    `no`: it is his to renew, and its token has expired or (`forced`) was refused."""
    entry = state.entries.get(name)
    if entry is None or entry.subject.source.follow == "never":
        return False
    expires_at = entry.subject.expires_at
    return forced or (expires_at is not None and expires_at <= clocks.wall)


def held_back(subject: Subject) -> str:
    """Why a login is not renewed, not even by hand; "" when nothing stands against it."""
    if subject.needs_login:
        return "it needs a login"
    if subject.source.follow == "always":
        return 'Claude Code alone may renew it (follow = "always")'
    if not subject.digest:
        return "it has no refresh token"
    return ""


def begun(state: Refreshing, name: str) -> Refreshing:
    """Its renewal is under way."""
    return _with(state, name, msgspec.structs.replace(state.entries[name], in_flight=True))


def ended(
    state: Refreshing,
    name: str,
    outcome: Outcome,
    policy: Policy,
    clocks: Clocks,
    draw: Callable[[], float],
) -> tuple[Refreshing, Ended]:
    """Its renewal ended. A login that went meanwhile changes nothing."""
    entry = state.entries.get(name)
    if entry is None:
        return state, Ended()
    entry = msgspec.structs.replace(entry, in_flight=False)
    if outcome.subject is not None:
        entry = _learned(entry, outcome.subject, clocks, draw)
    if outcome.digest not in ("", entry.subject.digest):
        # Its owner logged in again just then: what was said of the old token says nothing of his.
        outcome = Outcome("replaced")
    if outcome.kind in ("renewed", "replaced"):
        note = f"account {name}: the login was renewed" if outcome.kind == "renewed" else ""
        again = clocks.monotonic + INTERVAL_SECONDS
        done = msgspec.structs.replace(entry, refused=0, failures=0, not_before=again, warned=False)
        return _with(state, name, done), Ended(note=note)
    if outcome.kind == "busy":
        entry = msgspec.structs.replace(entry, not_before=clocks.monotonic + RETRY_SECONDS)
        return _with(state, name, entry), Ended()
    return _failed(state, name, entry, outcome, policy, clocks, draw)


def _failed(
    state: Refreshing,
    name: str,
    entry: Entry,
    outcome: Outcome,
    policy: Policy,
    clocks: Clocks,
    draw: Callable[[], float],
) -> tuple[Refreshing, Ended]:
    refused = entry.refused + 1 if outcome.kind == "refused" else entry.refused
    if outcome.kind == "unreachable":
        refused = 0  # consecutive ones count
    wait = min(RETRY_SECONDS * 2 ** min(entry.failures, 10), RETRY_SECONDS_MAX)
    entry = msgspec.structs.replace(
        entry,
        refused=refused,
        failures=entry.failures + 1,
        not_before=clocks.monotonic + wait * (1 + draw() / 5),
    )
    dead = ""
    if outcome.kind == "dead":
        dead = f"the token endpoint does not accept its refresh token ({outcome.detail})"
    elif refused >= policy.disable_after:
        dead = f"the token endpoint refused it {refused} times in a row ({outcome.detail})"
    if dead:
        subject = msgspec.structs.replace(entry.subject, needs_login=True)
        entry = msgspec.structs.replace(entry, subject=subject, warned=True, dead=subject.digest)
        warning = f"account {name} needs a login: {dead}; it serves nothing until then"
        return _with(state, name, entry), Ended(dead, warning)
    warning = ""
    if not entry.warned:
        warning = (
            f"account {name}: its login could not be renewed, it is tried again: {outcome.detail}"
        )
    return _with(state, name, msgspec.structs.replace(entry, warned=True)), Ended(warning=warning)


def _with(state: Refreshing, name: str, entry: Entry) -> Refreshing:
    return msgspec.structs.replace(state, entries={**state.entries, name: entry})

"""When exactly a login is renewed or left alone, and how long is waited after which failure."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from protocol.config.model import Refresh
from protocol.credentials import Subject
from protocol.refreshing import (
    Ended,
    Outcome,
    Policy,
    Refreshing,
    asked,
    begun,
    due,
    due_at,
    ended,
    held_back,
    learned,
    pause,
    worth_a_look,
)
from protocol.secrets import Secret
from tests.protocol.test_refreshing import NOW, POLICY, at, half, knowing, subject

Kind = Literal["renewed", "replaced", "dead", "refused", "unreachable", "busy", "unusable"]


def after(state: Refreshing, kind: Kind, seconds: float = 0.0) -> tuple[Refreshing, Ended]:
    """A renewal that began and ended so."""
    outcome = Outcome(kind, "why")
    return ended(begun(state, "work"), "work", outcome, POLICY, at(seconds), half)


def waits(state: Refreshing) -> float:
    return state.entries["work"].not_before


def decision(
    state: Refreshing, seconds: float = 0.0, *, forced: bool = False, by_hand: bool = False
) -> str:
    return asked(state, "work", None, POLICY, at(seconds), forced=forced, by_hand=by_hand)


# ------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("login", "why"),
    [
        (subject(), ""),
        (subject(follow="auto"), ""),
        (subject(follow="auto", changed_at=NOW - 1), ""),
        (subject(changed_at=NOW - 1), ""),
        (subject(follow="always"), 'follow = "always"'),
        (subject(needs_login=True), "needs a login"),
        (msgspec.structs.replace(subject(), digest=""), "no refresh token"),
    ],
)
def test_a_renewal_by_hand_is_held_back_for_a_reason_that_is_said(login: Subject, why: str) -> None:
    said = held_back(login)
    assert why in said
    assert bool(said) == bool(why)


@pytest.mark.parametrize("follow", ["never", "auto"])
@pytest.mark.parametrize("lifetime", [-1, 3600])
@pytest.mark.parametrize("kind", ["renewed", "unreachable", "busy"])
def test_a_person_who_asks_waits_for_no_pause(kind: Kind, follow: str, lifetime: float) -> None:
    """Neither for that after a renewal, nor for Claude Code's minute: its lock is taken anyhow."""
    state = knowing(subject(follow=follow, lifetime=lifetime, changed_at=NOW - 1))
    state, _ = after(state, kind)
    assert decision(state, 1.0, forced=True) == "no"
    assert decision(state, 1.0, by_hand=True) == "begin"


@pytest.mark.parametrize(
    "login",
    [
        subject(follow="always"),
        subject(needs_login=True),
        msgspec.structs.replace(subject(), digest=""),
    ],
)
def test_not_even_a_person_gets_what_may_not_or_cannot_be(login: Subject) -> None:
    assert decision(knowing(login), by_hand=True) == "no"


def test_a_person_who_asks_while_it_is_under_way_joins() -> None:
    assert decision(begun(knowing(subject()), "work"), by_hand=True) == "join"


@pytest.mark.parametrize(
    ("follow", "lifetime", "forced", "worth"),
    [
        ("always", -1, False, True),
        ("always", 0, False, True),
        ("always", 1, False, False),
        ("always", 1, True, True),
        ("auto", -1, False, True),
        ("auto", 1, False, False),
        ("auto", 1, True, True),
        ("never", -1, True, False),
    ],
)
def test_a_file_that_others_look_after_is_worth_a_look_before_a_token_that_is_no_good_is_sent(
    follow: str, lifetime: float, forced: bool, worth: bool
) -> None:
    state = knowing(subject(follow=follow, lifetime=lifetime))
    assert worth_a_look(state, "work", at(0), forced=forced) == worth


def test_a_login_without_a_date_is_looked_at_only_when_it_was_refused() -> None:
    undated = msgspec.structs.replace(subject(follow="always"), expires_at=None)
    assert not worth_a_look(knowing(undated), "work", at(0), forced=False)
    assert worth_a_look(knowing(undated), "work", at(0), forced=True)


def test_an_unknown_login_is_not_looked_at() -> None:
    assert not worth_a_look(Refreshing(), "work", at(0), forced=True)


# --------------------------------------------------------------------------- for whom it is needed


@pytest.mark.parametrize(
    ("lifetime", "changed", "forced", "expected"),
    [
        (3600, -5000, False, "no"),
        (-1, -5000, False, "begin"),
        (0, -5000, False, "begin"),
        (-1, -59, False, "no"),
        (-1, -60, False, "begin"),
        (3600, -5000, True, "begin"),
        (3600, -60, True, "begin"),
        (3600, -59, True, "no"),
    ],
)
def test_a_shared_login_is_renewed_for_a_request_when_nobody_else_looks_after_it(
    lifetime: float, changed: float, forced: bool, expected: str
) -> None:
    state = knowing(subject(lifetime=lifetime, follow="auto", changed_at=NOW + changed))
    assert decision(state, forced=forced) == expected


@pytest.mark.parametrize(("left", "expected"), [(60, "no"), (59.9, "begin"), (-1, "begin")])
def test_a_request_waits_for_a_token_of_ours_that_has_less_than_a_minute(
    left: float, expected: str
) -> None:
    assert decision(knowing(subject(lifetime=left))) == expected


def test_nobody_renews_before_the_pause_after_the_last_time_is_over() -> None:
    state, _ = after(knowing(subject(lifetime=-1)), "renewed")
    assert waits(state) == 30.0
    assert decision(state, 29.9, forced=True) == "no"
    assert decision(state, 30.0, forced=True) == "begin"


# ------------------------------------------------------------------------------- how renewals end


def test_a_fault_is_waited_out_twice_as_long_each_time_up_to_five_minutes() -> None:
    """And a tenth more here, where the draw is a half: up to a fifth."""
    state, pauses = knowing(subject()), []
    for _ in range(9):
        state, _ = after(state, "unreachable", 1000.0)
        pauses.append((waits(state) - 1000.0) / 1.1)
    assert pauses == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300])


@pytest.mark.parametrize("kind", ["renewed", "replaced"])
def test_after_a_good_end_the_next_failure_is_a_first_one_again(kind: Kind) -> None:
    state = knowing(subject())
    for _ in range(14):
        state, _ = after(state, "refused")
    state, told = after(state, kind)
    assert told == Ended(note="account work: the login was renewed" if kind == "renewed" else "")
    state, told = after(state, "refused", 500.0)
    assert told.dead == ""
    assert "could not be renewed" in told.warning
    assert waits(state) == pytest.approx(500.0 + 5.5)


def test_a_failure_is_warned_of_once_until_something_goes_well() -> None:
    state, first = after(knowing(subject()), "unusable")
    state, second = after(state, "unreachable")
    assert (first.warning != "", second.warning) == (True, "")


def test_a_lock_that_somebody_holds_is_tried_again_in_five_seconds() -> None:
    state, told = after(knowing(subject()), "busy", 100.0)
    assert (waits(state), told) == (105.0, Ended())


# ---------------------------------------------------------------------------- what is known of one


def test_a_file_that_was_only_touched_keeps_what_is_held_against_its_login() -> None:
    state, _ = after(knowing(subject(follow="auto")), "unreachable")
    touched = subject(follow="auto", changed_at=NOW - 10)
    again = learned(state, [touched], at(1), lambda: 0.9)
    entry = again.entries["work"]
    assert (entry.failures, entry.jitter) == (1, state.entries["work"].jitter)
    assert entry.subject.changed_at == NOW - 10


NEWER = subject()
CHANGES = {
    "refresh token": {"digest": "another"},
    "expiry": {"expires_at": NOW + 1},
    "access token": {
        "credential": msgspec.structs.replace(NEWER.credential, secret=Secret("access-other"))
        if NEWER.credential is not None
        else None
    },
    "state": {"needs_login": True},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changed_about_its_tokens_wipes_the_failures(change: str) -> None:
    state, _ = after(knowing(subject()), "unreachable")
    other = msgspec.structs.replace(subject(), **CHANGES[change])
    entry = learned(state, [other], at(1), half).entries["work"]
    assert (entry.failures, entry.not_before) == (0, 0.0)


def test_a_new_token_without_a_date_is_never_due() -> None:
    endless = msgspec.structs.replace(subject(2), expires_at=None)
    entry = learned(knowing(subject()), [endless], at(1), half).entries["work"]
    assert due_at(entry, POLICY) is None
    assert pause(Refreshing({"work": entry}), POLICY, at(1)) == 30.0


def test_a_token_that_came_expired_is_due_at_its_own_date() -> None:
    stale = subject(2, lifetime=-100)
    entry = learned(knowing(subject()), [stale], at(0), half).entries["work"]
    assert due_at(entry, POLICY) == NOW - 100
    assert pause(Refreshing({"work": entry}), POLICY, at(0)) == 0.0


# ------------------------------------------------------------------------------------ the clocks


@pytest.mark.parametrize(
    ("jump", "held"),
    [(61.0, True), (60.0, False), (0.0, False), (-3600.0, False)],
)
def test_a_clock_that_jumped_by_more_than_a_minute_spreads_what_is_due(
    jump: float, held: bool
) -> None:
    state, _ = due(knowing(subject()), POLICY, at(500, 0), half)
    state, _ = due(state, POLICY, at(510, 10 + jump), half)
    assert waits(state) == (515.0 if held else 0.0)


def test_the_figures_are_those_of_the_configuration() -> None:
    configured = Refresh()
    assert (POLICY.ahead, POLICY.blocking_under) == (configured.ahead, configured.blocking_under)
    assert Policy().disable_after == configured.disable_after
    assert Policy().timeout == configured.timeout

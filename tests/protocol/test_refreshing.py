"""When a login is renewed and what its failures mean, without anything that waits."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.accounts import Credential
from protocol.credentials import Source, Subject
from protocol.login import token_digest
from protocol.refreshing import (
    INTERVAL_SECONDS,
    JITTER_SECONDS,
    LOOK_SECONDS,
    Outcome,
    Policy,
    Refreshing,
    asked,
    at_rest,
    begun,
    due,
    due_at,
    ended,
    learned,
    pause,
    undeclared,
)
from protocol.secrets import Secret
from protocol.status_view import Clocks

POLICY = Policy()
NOW = 1_790_000_000.0


def half() -> float:
    return 0.5


def subject(
    number: int = 1,
    *,
    lifetime: float = 28800.0,
    follow: str = "never",
    changed_at: float = NOW - 5000,
    needs_login: bool = False,
    name: str = "work",
) -> Subject:
    expires_at = NOW + lifetime
    path = "" if follow == "never" else f"/{name}"
    return Subject(
        Source(name, path, follow),
        Credential(Secret(f"access-{number}"), bearer=True, expires_at=expires_at, login=name),
        token_digest(Secret(f"refresh-{number}")),
        expires_at,
        changed_at,
        needs_login,
    )


def at(seconds: float, wall: float | None = None) -> Clocks:
    return Clocks(seconds, NOW + (seconds if wall is None else wall))


def knowing(*subjects: Subject) -> Refreshing:
    return learned(Refreshing(), subjects, at(0), half)


def names_due(state: Refreshing, clocks: Clocks) -> tuple[str, ...]:
    return due(state, POLICY, clocks, half)[1]


def test_a_login_is_due_ahead_of_its_expiry_with_its_jitter() -> None:
    state = knowing(subject())
    moment = 28800 - 600 - 0.5 * JITTER_SECONDS
    assert names_due(state, at(moment - 1)) == ()
    assert names_due(state, at(moment)) == ("work",)


def test_the_date_is_looked_at_again_soon_however_far_it_is() -> None:
    state = knowing(subject())
    assert pause(state, POLICY, at(0)) == LOOK_SECONDS
    assert pause(state, POLICY, at(28160)) == pytest.approx(10)
    assert pause(Refreshing(), POLICY, at(0)) == LOOK_SECONDS


def test_a_token_that_lives_shorter_than_the_lead_is_not_renewed_all_the_time() -> None:
    state = begun(knowing(subject(lifetime=-1)), "work")
    outcome = Outcome("renewed", "", subject(2, lifetime=300))
    state, _ = ended(state, "work", outcome, POLICY, at(0), half)
    assert names_due(state, at(100)) == ()
    assert names_due(state, at(151)) == ("work",)


def test_even_a_token_that_comes_expired_is_renewed_at_most_every_half_minute() -> None:
    state = begun(knowing(subject(lifetime=-1)), "work")
    state, _ = ended(
        state, "work", Outcome("renewed", "", subject(2, lifetime=-1)), POLICY, at(0), half
    )
    assert names_due(state, at(INTERVAL_SECONDS - 1)) == ()
    assert asked(state, "work", None, POLICY, at(1), forced=True) == "no"
    assert names_due(state, at(INTERVAL_SECONDS)) == ("work",)


@pytest.mark.parametrize(
    ("lifetime", "changed", "due_in"),
    [(1000.0, -5000.0, 1000.0), (-5000.0, -10.0, 50.0), (-5000.0, -4000.0, -3940.0)],
)
def test_somebody_elses_login_is_ours_when_it_is_expired_and_unchanged_for_a_minute(
    lifetime: float, changed: float, due_in: float
) -> None:
    (entry,) = knowing(
        subject(lifetime=lifetime, follow="auto", changed_at=NOW + changed)
    ).entries.values()
    assert due_at(entry, POLICY) == NOW + due_in + entry.jitter


def test_a_login_that_is_always_followed_is_never_due_and_nobody_begins_it() -> None:
    state = knowing(subject(lifetime=-5000, follow="always"))
    assert names_due(state, at(9999)) == ()
    assert asked(state, "work", None, POLICY, at(0), forced=True) == "no"


@pytest.mark.parametrize(
    ("lifetime", "forced", "decision"),
    [(59, False, "begin"), (61, False, "no"), (61, True, "begin"), (-5, False, "begin")],
)
def test_a_request_waits_only_when_little_is_left_or_the_token_was_refused(
    lifetime: float, forced: bool, decision: str
) -> None:
    state = knowing(subject(lifetime=lifetime))
    held = Secret("access-1")
    assert asked(state, "work", held, POLICY, at(0), forced=forced) == decision


def test_whoever_holds_an_older_token_is_given_the_current_one() -> None:
    state = knowing(subject(lifetime=-5))
    assert asked(state, "work", Secret("old"), POLICY, at(0), forced=True) == "current"


def test_whoever_asks_while_it_is_under_way_joins() -> None:
    state = begun(knowing(subject(lifetime=-5)), "work")
    assert asked(state, "work", Secret("access-1"), POLICY, at(0), forced=False) == "join"
    assert names_due(state, at(0)) == ()
    assert names_due(at_rest(state), at(0)) == ("work",)


def test_an_unknown_account_is_said_to_be_so() -> None:
    assert asked(Refreshing(), "x", None, POLICY, at(0), forced=False) == "unknown"
    state, follows = ended(Refreshing(), "x", Outcome("dead"), POLICY, at(0), half)
    assert (state, follows.dead) == (Refreshing(), "")


def test_a_death_is_not_undone_by_what_was_read_before_it_was_known() -> None:
    """The vault tells all logins when one of them changes; it may not have heard of the death."""
    state = begun(knowing(subject(lifetime=300)), "work")
    dead = Outcome("dead", "400 invalid_grant", digest=subject().digest)
    state, _ = ended(state, "work", dead, POLICY, at(1), half)
    state = learned(state, (subject(lifetime=300), subject(name="other")), at(2), half)
    assert names_due(state, at(500)) == ()
    assert asked(state, "work", None, POLICY, at(500), forced=True) == "no"
    assert undeclared(state, (subject(lifetime=300), subject(name="other"))) == ("work",)
    assert undeclared(state, (subject(lifetime=300, needs_login=True),)) == ()
    other = learned(state, (subject(2, lifetime=300),), at(3), half)
    assert names_due(other, at(500)) == ("work",), "its owner has logged in"
    assert undeclared(other, (subject(2, lifetime=300),)) == ()


def test_a_dead_login_is_declared_once_and_never_tried_again() -> None:
    state = begun(knowing(subject(lifetime=-5)), "work")
    state, follows = ended(state, "work", Outcome("dead", "400 invalid_grant"), POLICY, at(0), half)
    assert follows.dead
    assert "needs a login" in follows.warning
    for later in (10, 10_000, 1e6):
        assert names_due(state, at(later)) == ()
        assert asked(state, "work", None, POLICY, at(later), forced=True) == "no"


@pytest.mark.parametrize("told", [True, False], ids=["with its outcome", "before it"])
@pytest.mark.parametrize("kind", ["dead", "refused"])
def test_what_was_said_of_a_token_does_not_hit_the_login_that_has_taken_its_place(
    kind: Literal["dead", "refused"], told: bool
) -> None:
    """Its owner logged in again just then."""
    old, new = subject(lifetime=-5), subject(2)
    state = begun(knowing(old), "work")
    if not told:
        state = learned(state, [new], at(1), half)
    outcome = Outcome(kind, "", new if told else None, digest=old.digest)
    strict = msgspec.structs.replace(POLICY, disable_after=1)
    state, follows = ended(state, "work", outcome, strict, at(1), half)
    assert (follows.dead, follows.warning) == ("", "")
    entry = state.entries["work"]
    assert (entry.subject, entry.in_flight, entry.refused) == (new, False, 0)


def test_another_token_wipes_what_was_held_against_the_old_one() -> None:
    state = begun(knowing(subject(lifetime=-5)), "work")
    state, _ = ended(state, "work", Outcome("dead"), POLICY, at(0), half)
    state = learned(state, [subject(2, lifetime=-5)], at(1), half)
    assert names_due(state, at(1)) == ("work",)


def test_faults_of_the_endpoint_never_count_and_wait_longer_each_time() -> None:
    state = knowing(subject(lifetime=-5))
    waits = []
    now = 0.0
    warnings = []
    for _ in range(40):
        assert names_due(state, at(now)) == ("work",)
        state, follows = ended(
            begun(state, "work"), "work", Outcome("unreachable", "503"), POLICY, at(now), half
        )
        assert follows.dead == ""
        warnings.append(follows.warning)
        before = now
        while names_due(state, at(now)) == ():
            now += 1
        waits.append(now - before)
    assert waits == sorted(waits)
    assert waits[0] <= 10
    assert waits[-1] <= 360
    assert [bool(warning) for warning in warnings] == [True] + [False] * 39


def test_refusals_in_a_row_disable_and_a_fault_begins_the_row_anew() -> None:
    state = knowing(subject(lifetime=-5))
    kinds = ["refused"] * 14 + ["unreachable"] + ["refused"] * 15
    for number, kind in enumerate(kinds):
        state = begun(state, "work")
        state, follows = ended(
            state,
            "work",
            Outcome(kind, "400"),  # type: ignore[arg-type]
            POLICY,
            at(number * 1000.0),
            half,
        )
        assert bool(follows.dead) == (number == len(kinds) - 1)


def test_a_busy_lock_is_no_failure_and_is_tried_again_soon() -> None:
    state = begun(knowing(subject(lifetime=-5)), "work")
    state, follows = ended(state, "work", Outcome("busy"), POLICY, at(0), half)
    assert (follows.warning, follows.dead) == ("", "")
    assert names_due(state, at(4)) == ()
    assert names_due(state, at(6)) == ("work",)


@pytest.mark.promise("T1")
def test_after_a_suspend_the_logins_are_not_all_renewed_at_one_instant() -> None:
    state = knowing(*(subject(name=f"a{number}") for number in range(20)))
    draws = iter(number / 20 for number in range(1000))
    state, first = due(state, POLICY, at(0), lambda: next(draws))
    assert first == ()
    state, names = due(state, POLICY, at(10, 36_000), lambda: next(draws))
    assert len(names) <= 1
    later = set()
    for second in range(11, 25):
        state, names = due(state, POLICY, at(second, 36_000 + second), lambda: next(draws))
        later.update(names)
    assert len(later) == 20


@pytest.mark.promise("T1")
@given(
    st.lists(st.tuples(st.floats(-7200, 90_000), st.floats(0, 120)), min_size=1, max_size=30),
    st.sampled_from(["never", "auto"]),
)
def test_whatever_the_clock_does_there_is_never_more_than_one_renewal_in_half_a_minute(
    steps: list[tuple[float, float]], follow: str
) -> None:
    state, monotonic, number, last = knowing(subject(follow=follow)), 0.0, 1, -1e9
    for wall, pause_seconds in steps:
        monotonic += pause_seconds
        clocks = at(monotonic, wall)
        state, names = due(state, POLICY, clocks, half)
        if names:
            assert monotonic - last >= INTERVAL_SECONDS
            last, number = monotonic, number + 1
            new = subject(number, lifetime=wall + 300, follow=follow, changed_at=clocks.wall)
            state, _ = ended(
                begun(state, "work"), "work", Outcome("renewed", "", new), POLICY, clocks, half
            )


class Renewing(RuleBasedStateMachine):
    """Any order of what can happen to two logins."""

    @initialize()
    def start(self) -> None:
        self.monotonic, self.number = 0.0, 2
        self.logins = {name: subject(1, name=name, lifetime=30) for name in ("a", "b")}
        self.state = knowing(*self.logins.values())
        self.flying: set[str] = set()
        self.dead: set[str] = set()

    def clocks(self) -> Clocks:
        return at(self.monotonic)

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        self.monotonic += seconds

    @rule()
    def look(self) -> None:
        self.state, names = due(self.state, POLICY, self.clocks(), half)
        assert not set(names) & (self.flying | self.dead)
        for name in names:
            self.state = begun(self.state, name)
            self.flying.add(name)

    @rule(name=st.sampled_from("ab"), forced=st.booleans())
    def ask(self, name: str, forced: bool) -> None:
        decision = asked(self.state, name, None, POLICY, self.clocks(), forced=forced)
        if decision == "begin":
            assert name not in self.flying | self.dead
            self.state = begun(self.state, name)
            self.flying.add(name)
        else:
            assert (decision == "join") == (name in self.flying)

    @precondition(lambda self: self.flying)
    @rule(kind=st.sampled_from(["renewed", "dead", "refused", "unreachable", "busy", "unusable"]))
    def end(self, kind: str) -> None:
        name = min(self.flying)
        self.flying.discard(name)
        new = None
        if kind == "renewed":
            self.number += 1
            new = subject(self.number, name=name, lifetime=self.monotonic + 3600)
        outcome = Outcome(kind, "x", new)  # type: ignore[arg-type]
        self.state, follows = ended(self.state, name, outcome, POLICY, self.clocks(), half)
        if follows.dead:
            self.dead.add(name)

    @rule(name=st.sampled_from("ab"))
    def log_in(self, name: str) -> None:
        self.number += 1
        fresh = subject(self.number, name=name, lifetime=self.monotonic + 3600)
        everybody = [
            entry.subject for entry in self.state.entries.values() if entry.subject.name != name
        ]
        self.state = learned(self.state, [*everybody, fresh], self.clocks(), half)
        self.dead.discard(name)

    @invariant()
    def flights_are_known(self) -> None:
        if hasattr(self, "state"):
            known = {name for name, entry in self.state.entries.items() if entry.in_flight}
            assert known == self.flying
            assert 0 <= pause(self.state, POLICY, self.clocks()) <= LOOK_SECONDS


TestRenewing = Renewing.TestCase

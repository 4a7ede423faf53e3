"""Affinity, thresholds, local limits and strategies together, as a dispatcher goes through them."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.accounts import AccountState, Cooldown, Scope
from protocol.dispatch import (
    AccountChanged,
    AccountRemoved,
    Acquire,
    Again,
    DispatchState,
    Lease,
    Refusal,
    Release,
    Strategy,
    begun,
    changed,
    choose,
    choose_again,
    released,
    removed,
    restrategized,
)
from protocol.request import Route
from protocol.routing import Considered, Policy, Routing, Wish, arrange
from protocol.strategies import STRATEGIES, Candidate
from tests.protocol.test_dispatch import SUBSCRIPTION, account, asking, bench, pool

STICKY = Policy("fill-first", {"5h": 0.98}, 3600.0)


def under(name: str, *accounts: AccountState, affinity: float = 3600.0) -> DispatchState:
    policy = Policy(name, {"5h": 0.98}, affinity)
    return pool(*accounts, strategy=Strategy(True, "https://upstream", policy=policy))


class Talk:
    """A dispatcher's state, and requests that end at once."""

    def __init__(self, state: DispatchState) -> None:
        self.state = state

    def ask(self, ask: Acquire, now: float = 0.0) -> Lease | Refusal:
        self.state, outcome = choose(self.state, ask, now)
        if isinstance(outcome, Lease):
            self.state = released(self.state, Release(outcome.id, outcome.account))
        return outcome

    def account(self, now: float = 0.0, **changes: object) -> str:
        outcome = self.ask(asking(**changes), now)
        return outcome.account if isinstance(outcome, Lease) else f"refused: {outcome.cause}"

    def rests(self, name: str, since: float, until: float) -> None:
        known = self.state.accounts[name]
        cooling = msgspec.structs.replace(bench(until), since=since)
        rested = msgspec.structs.replace(known, cooldowns=(cooling,))
        self.state = changed(self.state, AccountChanged(rested))


# ----------------------------------------------------------------------------------------- affinity


def test_sessions_stay_apart_and_at_home_while_others_take_turns() -> None:
    talk = Talk(under("round-robin", *(account(name, n) for n, name in enumerate("abc"))))
    assert [talk.account(session=s) for s in "xyz"] == ["a", "b", "c"]
    assert [talk.account(session=s) for s in "zzyx"] == ["c", "c", "b", "a"]
    assert [talk.account() for _ in range(3)] == ["a", "b", "c"]


def test_a_session_that_goes_on_stays_for_however_long() -> None:
    """What counts is how long it was silent, not how long ago it began."""
    talk = Talk(under("fill-first", account("a"), account("b", 1), affinity=60.0))
    assert talk.account(0.0, session="x", tried=("a",)) == "b"
    assert [talk.account(now, session="x") for now in (40.0, 80.0, 120.0)] == ["b", "b", "b"]
    assert talk.account(180.0, session="x") == "a", "silent for a minute it is forgotten"


def test_the_requests_of_one_second_note_their_session_once() -> None:
    """Each note copies a part of the sessions; a busy session would pay for it again and again."""
    talk = Talk(under("fill-first", account("a"), account("b", 1)))
    talk.account(10.0, session="x")
    noted = talk.state.routing.sessions
    talk.account(10.5, session="x")
    assert talk.state.routing.sessions is noted
    talk.account(11.0, session="x")
    assert talk.state.routing.sessions is not noted


def test_without_affinity_a_session_is_like_any_request() -> None:
    talk = Talk(under("round-robin", account("a"), account("b", 1), affinity=0.0))
    assert [talk.account(session="x") for _ in range(4)] == ["a", "b", "a", "b"]
    assert talk.state.routing.sessions.count == 0


def test_the_reasons_say_that_it_is_the_sessions_account() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1)))
    talk.rests("a", 0.0, 30.0)
    first = talk.ask(asking(session="x"))
    second = talk.ask(asking(session="x"), 31.0)
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert first.reasons == ("fill-first", "a is cooling")
    assert second.reasons == ("the session's account",)
    assert second.considered == (
        Considered("b", "taken", "session"),
        Considered("a", "next", "order"),
    )


def test_a_failed_attempt_goes_elsewhere_and_the_next_turn_comes_home() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1), account("c", 2)))
    assert talk.account(1.0, session="x") == "a"
    talk.rests("a", 2.0, 32.0)
    failed_over = talk.ask(asking(session="x", tried=("a",)), 2.0)
    assert isinstance(failed_over, Lease)
    assert failed_over.account == "b"
    assert talk.account(20.0, session="x") == "b"
    again = talk.ask(asking(session="x"), 33.0)
    assert isinstance(again, Lease)
    assert (again.account, again.reasons) == ("a", ("the session's account",))


def test_a_failure_that_benched_nobody_is_no_outage() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1)))
    assert talk.account(0.0, session="x") == "a"
    assert talk.account(0.0, session="x", tried=("a",)) == "b"
    assert talk.account(1000.0, session="x") == "a"


def test_the_operator_lifts_a_long_bench_early_and_the_session_comes_home() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1)))
    talk.account(0.0, session="x")
    talk.rests("a", 0.0, 7 * 86400.0)
    assert talk.account(100.0, session="x") == "b"
    talk.state = changed(talk.state, AccountChanged(account("a")))
    assert talk.account(200.0, session="x") == "a"


def test_after_a_long_outage_the_session_has_moved() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1)))
    talk.account(0.0, session="x")
    talk.rests("a", 10.0, 1000.0)
    assert talk.account(20.0, session="x") == "b"
    assert talk.account(1001.0, session="x") == "b"
    assert talk.account(1001.0, session="new") == "a"


def test_a_removed_or_disabled_home_is_left() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1)))
    assert [talk.account(session=s) for s in "xy"] == ["a", "a"]
    talk.state = changed(talk.state, AccountChanged(account("a", enabled=False)))
    assert talk.account(1.0, session="x") == "b"
    talk.state = changed(talk.state, AccountChanged(account("a")))
    assert talk.account(100.0, session="x") == "a"
    talk.state = removed(talk.state, AccountRemoved("a"))
    assert talk.account(101.0, session="y") == "b"
    talk.state = changed(talk.state, AccountChanged(account("a")))
    assert talk.account(102.0, session="y") == "b"


def test_an_account_that_may_not_serve_the_request_is_still_the_sessions_home() -> None:
    login = account("login", 0, credential=SUBSCRIPTION, models=("claude-opus-*",))
    talk = Talk(under("fill-first", login, account("key", 1)))
    assert talk.account(0.0, session="x", model="claude-opus-5") == "login"
    assert talk.account(1.0, session="x", model="claude-haiku-5") == "key"
    assert talk.account(2.0, session="x", owner=False, model="claude-opus-5") == "key"
    assert talk.account(900.0, session="x", model="claude-opus-5") == "login"


def test_twenty_sessions_of_fifty_turns_stay_home_over_an_outage_of_thirty_seconds() -> None:
    """The prompt cache is what they would lose: at least 95 % of the turns are at home."""
    talk = Talk(under("round-robin", *(account(name, n) for n, name in enumerate("abcd"))))
    turns = [(session + 10.0 * turn, session) for turn in range(50) for session in range(20)]
    homes: dict[int, str] = {}
    at_home = Counter[bool]()
    for now, session in sorted(turns):
        if now == 200.0:
            talk.rests("a", 200.0, 230.0)
        served = talk.account(now, session=f"session-{session}")
        at_home[homes.setdefault(session, served) == served] += 1
    assert Counter(homes.values()) == {"a": 5, "b": 5, "c": 5, "d": 5}
    assert 0 < at_home[False] <= 50
    assert at_home[True] >= 950


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_nobody_is_away_from_home_but_while_his_account_is_out(strategy: str) -> None:
    """Twenty sessions of fifty turns again. `fill-first` has them all at home with the account that
    is out for 30 of 500 s: 94 % of the turns at home is all that can be had there, and is had."""
    talk = Talk(under(strategy, *(account(name, n) for n, name in enumerate("abcd"))))
    homes: dict[int, str] = {}
    away: list[tuple[float, str]] = []
    for now, session in sorted((s + 10.0 * turn, s) for turn in range(50) for s in range(20)):
        if now == 200.0:
            talk.rests("a", 200.0, 230.0)
        served = talk.account(now, session=f"session-{session}")
        if homes.setdefault(session, served) != served:
            away.append((now, homes[session]))
    of_a = sum(home == "a" for home in homes.values())
    assert len(away) == 3 * of_a, "three turns of each fall into the outage"
    assert all(200.0 <= now < 230.0 and home == "a" for now, home in away)


# ------------------------------------------------------------------------------------ the thresholds

HALF = {"5h": (0.5, 9e9)}
NEARLY = {"5h": (0.99, 9e9)}


def sure(candidates: list[Candidate], routing: Routing, session: str | None) -> tuple[Routing, str]:
    def nothing_is_known(name: str) -> None:
        return None

    after, arranged = arrange(
        routing, STICKY, Wish(session, 1.0, 1.0), candidates, nothing_is_known
    )
    return after, arranged.order[0].name


def test_a_session_leaves_an_account_that_is_nearly_used_up_when_another_is_not() -> None:
    a, b = Candidate("a", windows=HALF), Candidate("b", order=1, windows=HALF)
    routing, served = sure([a, b], Routing(), "x")
    assert served == "a"
    full = msgspec.structs.replace(a, windows=NEARLY)
    assert sure([full, b], routing, "x")[1] == "b"
    assert sure([full, msgspec.structs.replace(b, windows=NEARLY)], routing, "x")[1] == "a"
    assert sure([full, msgspec.structs.replace(b, priority=1)], routing, "x")[1] == "a"
    better = msgspec.structs.replace(b, priority=-1)
    assert sure([better, full], routing, "x")[1] == "b"
    assert sure([better, a], routing, "x")[1] == "a"
    spare = msgspec.structs.replace(b, name="c", priority=1)
    of_b, _ = sure([b], Routing(), "x")
    assert sure([full, msgspec.structs.replace(b, windows=NEARLY), spare], of_b, "x")[1] == "b"
    ended = msgspec.structs.replace(a, windows={"5h": (0.99, 0.5)})
    assert sure([ended, b], routing, "x")[1] == "a"


# --------------------------------------------------------------------------------- our own limits


def test_an_account_at_its_own_limit_is_passed_over_like_a_cooling_one() -> None:
    talk = Talk(under("fill-first", account("a", requests_per_minute=2), account("b", 1)))
    assert [talk.account(now) for now in (0.0, 30.0, 59.0)] == ["a", "a", "b"]
    third = talk.ask(asking(), 59.0)
    assert isinstance(third, Lease)
    assert third.reasons == ("fill-first", "a is at its requests_per_minute")
    assert [talk.account(now) for now in (60.0, 61.0, 90.0)] == ["a", "b", "a"]


def test_a_refusals_retry_after_knows_our_own_limits() -> None:
    limited = account("a", requests_per_minute=1)
    talk = Talk(under("fill-first", limited, account("b", 1, cooldowns=(bench(500.0),))))
    assert talk.account(0.0) == "a"
    refusal = talk.ask(asking(), 20.5)
    assert isinstance(refusal, Refusal)
    assert (refusal.cause, refusal.retry_after) == ("limited", 40.0)
    assert refusal.considered == (
        Considered("a", "passed", "requests_per_minute"),
        Considered("b", "passed", "cooling"),
    )
    pinned = talk.ask(asking(pinned="a"), 20.5)
    assert isinstance(pinned, Refusal)
    assert pinned.retry_after == 40.0
    talk.rests("a", 20.5, 100.5)
    both = talk.ask(asking(pinned="a"), 20.5)
    assert isinstance(both, Refusal)
    assert both.retry_after == 80.0


def test_every_lease_counts_whatever_it_was_given_for() -> None:
    state = under("fill-first", account("a", requests_per_minute=3), account("b", 1))
    for ask in (asking(), asking(pinned="a"), asking(route=Route.OTHER)):
        state, outcome = choose(state, ask, 0.0)
        assert isinstance(outcome, Lease)
        assert outcome.account == "a"
    _, again = choose_again(state, Again("a", asking()), 1.0)
    assert isinstance(again, Lease)
    assert again.account == "b"


def test_a_session_is_served_elsewhere_while_its_account_is_at_its_limit() -> None:
    talk = Talk(under("fill-first", account("a", requests_per_minute=1), account("b", 1)))
    assert [talk.account(now, session="x") for now in (0.0, 10.0, 61.0)] == ["a", "b", "a"]


def test_a_bench_that_is_not_the_cause_does_not_make_an_outage_long() -> None:
    talk = Talk(under("fill-first", account("a", requests_per_minute=1), account("b", 1)))
    assert talk.account(1000.0, session="x") == "a"
    of_old = Cooldown(Scope.PROVIDER, "", "overloaded", 0.0, 9999.0, 0, "status")
    known = msgspec.structs.replace(talk.state.accounts["a"], cooldowns=(of_old,))
    talk.state = changed(talk.state, AccountChanged(known))
    assert [talk.account(now, session="x") for now in (1010.0, 1061.0)] == ["b", "a"]


def test_a_dispatcher_that_starts_again_still_knows_the_sessions() -> None:
    state = under("round-robin", account("a"), account("b", 1))
    talk = Talk(state)
    assert [talk.account(session=s) for s in "xy"] == ["a", "b"]
    talk.state = begun(state, talk.state, 2)
    assert [talk.account(session=s) for s in "yx"] == ["b", "a"]


def test_a_removed_account_leaves_nothing_behind() -> None:
    talk = Talk(under("weighted", account("a", requests_per_minute=1), account("b", 1)))
    talk.account()
    talk.state = removed(talk.state, AccountRemoved("a"))
    assert talk.state.routing.sent == {}
    assert sorted(talk.state.routing.turn.smooth) == ["b"]


# ------------------------------------------------------------------------------- reasons and reload


def test_a_choice_tells_everybody_it_considered() -> None:
    accounts = [
        account("off", 0, enabled=False),
        account("login", 1, credential=SUBSCRIPTION),
        account("other", 2, models=("gpt-*",)),
        account("tried", 3),
        account("resting", 4, cooldowns=(bench(9.0),)),
        account("a", 5),
        account("b", 6),
        account("spare", 7, priority=1),
    ]
    outcome = Talk(under("round-robin", *accounts)).ask(asking(owner=False, tried=("tried",)))
    assert isinstance(outcome, Lease)
    assert outcome.considered == (
        Considered("a", "taken", "round-robin"),
        Considered("b", "next", "order"),
        Considered("spare", "next", "priority"),
        Considered("off", "passed", "disabled"),
        Considered("login", "passed", "owner"),
        Considered("other", "passed", "model"),
        Considered("tried", "passed", "tried"),
        Considered("resting", "passed", "cooling"),
    )
    assert outcome.reasons == ("round-robin", "tried was tried", "resting is cooling")


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"pinned": "a"}, "pinned"), ({"route": Route.OTHER}, "priority")],
)
def test_a_choice_without_alternatives_says_why_too(changes: dict[str, object], why: str) -> None:
    outcome = Talk(under("weighted", account("a"), account("b", 1))).ask(asking(**changes))
    assert isinstance(outcome, Lease)
    assert outcome.considered == (Considered("a", "taken", why),)


def test_a_new_strategy_counts_from_the_next_choice_on_and_sessions_stay() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1)))
    assert [talk.account(), talk.account(session="x"), talk.account()] == ["a", "a", "a"]
    shared = under("round-robin").strategy
    talk.state = restrategized(talk.state, shared)
    assert [talk.account() for _ in range(4)] == ["a", "b", "a", "b"]
    assert talk.account(session="x") == "a"


# --------------------------------------------------------------------------------- whatever happens


class Choices(RuleBasedStateMachine):
    """Any strategy, sessions, benches and limits in any order: only who can serve is taken."""

    names = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        limits = {"a": 2, "b": 0, "c": 0, "d": 3}
        priorities = {"a": 0, "b": 0, "c": 0, "d": 1}
        self.state = under(
            "fill-first",
            *(
                account(n, at, requests_per_minute=limits[n], priority=priorities[n], weight=at + 1)
                for at, n in enumerate("abcd")
            ),
        )
        self.now = 0.0
        self.given: list[tuple[str, float]] = []

    def can_serve(self, name: str) -> bool:
        known = self.state.accounts.get(name)
        if known is None or not known.enabled or known.available_at(self.now) is not None:
            return False
        recent = sum(n == name and at + 60.0 > self.now for n, at in self.given)
        limit = known.spec.requests_per_minute
        return not limit or recent < limit

    @rule(name=st.sampled_from(sorted(STRATEGIES)), affinity=st.sampled_from([0.0, 100.0]))
    def restrategize(self, name: str, affinity: float) -> None:
        self.state = restrategized(self.state, under(name, affinity=affinity).strategy)

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=names, rest=st.floats(0, 400), enabled=st.booleans())
    def change(self, name: str, rest: float, enabled: bool) -> None:
        known = self.state.accounts.get(name)
        if known is not None:
            rests = (msgspec.structs.replace(bench(self.now + rest), since=self.now),)
            known = msgspec.structs.replace(known, cooldowns=rests, enabled=enabled)
            self.state = changed(self.state, AccountChanged(known))

    @rule(session=st.sampled_from(["x", "y", "z", None]), tried=st.sets(names, max_size=2))
    def ask(self, session: str | None, tried: set[str]) -> None:
        able = {n for n in "abcd" if n not in tried and self.can_serve(n)}
        ask = asking(session=session, tried=tuple(tried))
        home = self.state.routing.sessions.home(session or "", self.now, 100.0)
        self.state, outcome = choose(self.state, ask, self.now)
        if isinstance(outcome, Refusal):
            assert not able
            return
        assert outcome.account in able
        assert {c.account for c in outcome.considered} == set(self.state.accounts)
        if outcome.considered[0].why not in ("session", "stand_in"):
            best = min(self.state.accounts[n].spec.priority for n in able)
            assert self.state.accounts[outcome.account].spec.priority == best
        elif home is not None:
            assert outcome.account in (home.account, home.stand_in)
        self.given.append((outcome.account, self.now))
        if session == "z":
            self.state = released(self.state, Release(outcome.id, outcome.account))

    @invariant()
    def a_question_alone_changes_nothing(self) -> None:
        before = self.state
        choose(before, asking(session="x"), self.now)
        assert self.state is before


TestChoices = Choices.TestCase
TestChoices.settings = settings(max_examples=60, stateful_step_count=30)

"""What a choice says of those that were not taken, and for how long somebody counts as out."""

from __future__ import annotations

import msgspec
import pytest

from protocol.accounts import AccountState, Cooldown, Scope
from protocol.dispatch import AccountChanged, Lease, changed
from protocol.routing import Arranged, Choice, Considered, outage_of, told
from protocol.strategies import Candidate, Turn
from tests.protocol.test_dispatch import account, asking, bench
from tests.protocol.test_routing import HALF, NEARLY, STICKY, Talk, under

FILL = msgspec.structs.replace(STICKY, name="fill-first")
ROUND = msgspec.structs.replace(STICKY, name="round-robin")


def arranged(first: Candidate, *others: Candidate, why: str = "fill-first") -> Arranged:
    policy = ROUND if why == "round-robin" else FILL
    return Arranged(first, why, (first, *others), policy, Turn(), 1.0)


def accounts(*known: AccountState) -> dict[str, AccountState]:
    return {one.name: one for one in known}


def test_who_comes_next_comes_by_priority_by_its_threshold_or_by_order() -> None:
    first = Candidate("a", windows=HALF)
    others = [
        Candidate("below", order=1, windows=HALF),
        Candidate("over", order=2, windows=NEARLY),
        Candidate("spare", priority=1, order=3, windows=NEARLY),
    ]
    assert Choice(arranged(first, *others), {}).considered() == (
        Considered("a", "taken", "fill-first"),
        Considered("below", "next", "order"),
        Considered("over", "next", "switch_at"),
        Considered("spare", "next", "priority"),
    )


def test_a_sessions_stand_in_is_said_to_be_one_and_listed_first() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1), account("c", 2)))
    assert talk.account(0.0, session="x") == "a"
    talk.rests("a", 0.0, 30.0)
    assert talk.account(1.0, session="x") == "b"
    talk.state = changed(talk.state, AccountChanged(account("a", enabled=False)))
    stayed = talk.ask(asking(session="x"), 2.0)
    assert isinstance(stayed, Lease)
    assert stayed.account == "b"
    assert stayed.reasons == ("the session's stand-in",)
    assert stayed.considered[0] == Considered("b", "taken", "stand_in")
    assert stayed.considered[1] == Considered("c", "next", "order")


def test_a_stand_in_is_taken_before_those_whom_the_strategy_would_prefer() -> None:
    talk = Talk(under("fill-first", account("a"), account("b", 1), account("c", 2)))
    assert talk.account(0.0, session="x") == "a"
    talk.rests("a", 0.0, 200.0)
    talk.rests("b", 0.0, 5.0)
    assert talk.account(1.0, session="x") == "c"
    stayed = talk.ask(asking(session="x"), 6.0)
    assert isinstance(stayed, Lease)
    assert stayed.considered[:2] == (
        Considered("c", "taken", "stand_in"),
        Considered("b", "next", "order"),
    )


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("fill-first", ("fill-first", "a is past its switch_at")),
        ("round-robin", ("round-robin", "a is past its switch_at", "c was tried")),
    ],
)
def test_the_log_names_who_might_have_been_taken_and_why_not(
    why: str, expected: tuple[str, ...]
) -> None:
    """By fill-first those who come before; elsewhere all of the same priority, and nobody below."""
    known = accounts(account("a"), account("b", 1), account("c", 2), account("d", 3, priority=1))
    chosen = arranged(Candidate("b", order=1), Candidate("a"), why=why)
    passed = {"c": "tried", "d": "cooling"}
    assert told(chosen, passed, ["a"], known) == expected


def test_who_was_taken_although_it_is_past_its_threshold_is_not_named_against_itself() -> None:
    known = accounts(account("a"), account("b", 1))
    chosen = arranged(Candidate("a"), Candidate("b", order=1))
    assert told(chosen, {}, ["a", "b"], known) == ("fill-first",)


def test_an_outage_began_with_the_oldest_bench_that_ends_it() -> None:
    old = msgspec.structs.replace(bench(100.0), since=10.0)
    new = Cooldown(Scope.MODEL_FAMILY, "opus", "window", 60.0, 100.0, 0, "reset")
    shorter = Cooldown(Scope.BETA, "b", "long_context", 1.0, 90.0, 0, "status")
    for benches in [(old, new, shorter), (new, old, shorter)]:
        outage = outage_of(account("a", cooldowns=benches), 100.0, tried=False, now=70.0)
        assert (outage.since, outage.until) == (10.0, 100.0)

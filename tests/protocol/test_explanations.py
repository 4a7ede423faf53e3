"""Why a request went where it went, kept for the newest thousand."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from protocol.accounts import Credential
from protocol.dispatch import Strategy, choose
from protocol.explanation import Attempt, Pause
from protocol.explanations import KEPT_MAX, LIGHT, Explanations
from protocol.leases import Lease
from protocol.request_line import RequestLine, encode_line
from protocol.routing import Arranged, Choice, Considered, Policy
from protocol.secrets import Secret
from protocol.strategies import STRATEGIES, Candidate, Turn
from protocol.told import Chosen, Ended, Noted, Served, Told, chosen, explained
from tests.protocol.test_dispatch import ASK, account, pool

MANY = LIGHT + 1


def considered(taken: str = "a", count: int = 3) -> tuple[Considered, ...]:
    """New objects each time, as the dispatcher makes them."""
    others = [Considered(f"account-{number}", "passed", "cooling") for number in range(count)]
    return (Considered(taken, "taken", "fill-first"), *others)


def ended(request_id: str, *steps: Noted) -> Ended:
    line = RequestLine("2026-11-21T00:00:00Z", request_id, "POST", "/v1/messages")
    return Ended(request_id, encode_line(line), Told(0.0, 1.0, steps=steps))


def choice(account: str, among: Choice | tuple[Considered, ...]) -> Chosen:
    return Chosen(0.0, 0.0001, account, ("fill-first",), None, None, among, "")


def arranged(taken: str, count: int) -> Choice:
    """A choice as the dispatcher hands it out: nobody has asked yet who was considered."""
    one, passed = Candidate(taken), {f"account-{number}": "cooling" for number in range(count)}
    return Choice(Arranged(one, "fill-first", [one], Policy("fill-first"), Turn(), 0.0), passed)


def test_the_newest_are_kept_and_of_one_id_the_newer() -> None:
    kept = Explanations(limit=2)
    for name in "abc":
        kept.add(ended(name))
    kept.add(ended("b", Pause(0.0, 1.0, "max_wait")))
    kept.add(ended("d"))
    assert len(kept) == 2
    assert [name for name in "abcd" if kept.find(name)] == ["b", "d"]
    again = kept.find("b")
    assert again is not None
    assert again.explanation.steps == (Pause(0.0, 1.0, "max_wait"),)


def test_what_was_considered_comes_back_equal_and_is_kept_once() -> None:
    kept = Explanations()
    for name in ("r1", "r2"):
        kept.add(ended(name, choice("a", arranged("a", MANY))))
    one, two = (kept.find(name).explanation.steps[0] for name in ("r1", "r2"))  # type: ignore[union-attr]
    assert one.considered == considered("a", MANY)
    assert one.considered is two.considered
    kept.add(ended("r3", choice("b", arranged("b", MANY))))
    third = kept.find("r3").explanation.steps[0]  # type: ignore[union-attr]
    assert third.considered[1] is one.considered[1], "also the entries of different lists"


def test_what_is_shared_does_not_outgrow_what_is_kept() -> None:
    kept = Explanations(limit=10)
    for number in range(500):
        name = f"account-{number}"
        kept.add(ended(name, choice(name, considered(name, MANY))))
    assert len(kept) == 10
    assert len(kept._lists) <= 21
    assert len(kept._entries) <= 10 + MANY + 10
    last = kept.find("account-499")
    assert last is not None
    assert last.explanation.steps[0].considered == considered("account-499", MANY)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_what_real_choices_leave_behind_stays_small_whatever_the_strategy(name: str) -> None:
    """A hundred accounts, none of them resting; each choice is kept as long as its request."""
    state = pool(
        *(account(f"account-{number}", number) for number in range(100)),
        strategy=Strategy(pool=True, base_url="https://up", policy=Policy(name)),
    )
    kept = Explanations()
    tracemalloc.start()
    try:
        for number in range(KEPT_MAX):
            state, lease = choose(state, ASK, 0.0)
            assert isinstance(lease, Lease)
            kept.add(ended(f"request-{number}", chosen(lease, 0.0, 0.1)))
        assert tracemalloc.get_traced_memory()[0] < 4_000_000
    finally:
        tracemalloc.stop()


def test_of_a_light_choice_nothing_is_worked_out_before_somebody_asks() -> None:
    kept = Explanations()
    made = arranged("a", 3)
    kept.add(ended("r1", choice("a", made)))
    assert not kept._lists
    found = kept.find("r1")
    assert found is not None
    (step,) = found.explanation.steps
    assert step.considered == considered("a", 3)  # type: ignore[union-attr]


def test_what_is_kept_of_a_lease_has_no_credential_in_it() -> None:
    credential = Credential(Secret("key-that-must-go"), bearer=False)
    lease = Lease(1, "a", credential, "http://up", ("why",), arranged("a", 1), waited_for="b")
    kept = chosen(lease, 0.0, 1.0)
    assert not any(isinstance(value, Credential) for value in msgspec.structs.astuple(kept))
    told = explained(Told(0.0, 1.0, steps=(kept,)))
    (step,) = told.steps
    assert (step.account, step.reasons) == ("a", ("why",))  # type: ignore[union-attr]
    assert step.considered == lease.considered  # type: ignore[union-attr]
    assert step.considered[-1] == Considered("b", "waited", "ramp")  # type: ignore[union-attr]


def memory_of(kept: Explanations, requests: int, accounts: int) -> int:
    """Bytes that explaining `requests` among `accounts`, each with one failover, takes."""
    tracemalloc.start()
    try:
        for number in range(requests):
            taken = f"taken-{number % accounts}"
            steps = [
                choice(taken, arranged(taken, accounts)),
                Attempt(0.1, 20.0, taken, "failed", 429, reason="rate_limited"),
                choice("b", arranged("b", accounts)),
                Served(0.02, 0.92, "b", 200, "complete", None),
            ]
            kept.add(ended(f"request-{number}", *steps))
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_thousand_requests_among_a_hundred_accounts_stay_small() -> None:
    """About 1.5 MB of it; a list of its own for each choice would take ten times as much."""
    size = memory_of(Explanations(), KEPT_MAX, 100)
    assert size < 4_000_000
    unshared = Explanations()
    unshared._sharing = lambda step: step  # type: ignore[method-assign]
    assert memory_of(unshared, KEPT_MAX, 100) > 10_000_000, "the control: nothing shared"

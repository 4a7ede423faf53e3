"""Why a request went where it went, kept for the newest thousand."""

from __future__ import annotations

import tracemalloc

import pytest

from protocol.explanation import (
    KEPT_MAX,
    Attempt,
    Choice,
    Explained,
    Explanation,
    Explanations,
    Pause,
    Spent,
    Step,
    spent,
)
from protocol.request_line import RequestLine
from protocol.routing import Considered


def considered(taken: str = "a", count: int = 3) -> tuple[Considered, ...]:
    """New objects each time, as the dispatcher makes them."""
    others = [Considered(f"account-{number}", "next", "order") for number in range(count)]
    return (Considered(taken, "taken", "fill-first"), *others)


def explained(request_id: str, *steps: Step) -> Explained:
    line = RequestLine("2026-11-21T00:00:00Z", request_id, "POST", "/v1/messages")
    return Explained(line, Explanation(steps))


def test_the_newest_are_kept_and_of_one_id_the_newer() -> None:
    kept = Explanations(limit=2)
    for name in "abc":
        kept.add(explained(name))
    kept.add(explained("b", Pause(0.0, 1.0, "max_wait")))
    kept.add(explained("d"))
    assert len(kept) == 2
    assert [name for name in "abcd" if kept.find(name)] == ["b", "d"]
    again = kept.find("b")
    assert again is not None
    assert again.explanation.steps == (Pause(0.0, 1.0, "max_wait"),)


def test_what_was_considered_comes_back_equal_and_is_kept_once() -> None:
    kept = Explanations()
    for name in ("r1", "r2"):
        kept.add(explained(name, Choice(0.0, 0.1, "a", considered=considered())))
    one, two = (kept.find(name).explanation.steps[0] for name in ("r1", "r2"))  # type: ignore[union-attr]
    assert one.considered == considered()
    assert one.considered is two.considered
    kept.add(explained("r3", Choice(0.0, 0.1, "b", considered=considered("b"))))
    third = kept.find("r3").explanation.steps[0]  # type: ignore[union-attr]
    assert third.considered[1] is one.considered[1], "also the entries of different lists"


def test_what_is_shared_does_not_outgrow_what_is_kept() -> None:
    kept = Explanations(limit=10)
    for number in range(500):
        name = f"account-{number}"
        kept.add(explained(name, Choice(0.0, 0.1, name, considered=considered(name))))
    assert len(kept) == 10
    assert len(kept._lists) <= 21
    assert len(kept._entries) <= 30
    last = kept.find("account-499")
    assert last is not None
    assert last.explanation.steps[0].considered == considered("account-499")  # type: ignore[union-attr]


def memory_of(kept: Explanations, requests: int, accounts: int) -> int:
    """Bytes that explaining `requests` among `accounts`, each with one failover, takes."""
    tracemalloc.start()
    try:
        for number in range(requests):
            taken = f"taken-{number % accounts}"
            steps = [
                Choice(0.0, 0.1, taken, ("fill-first",), considered=considered(taken, accounts)),
                Attempt(0.1, 20.0, taken, "failed", 429, reason="rate_limited"),
                Choice(20.1, 0.1, "b", ("fill-first",), considered=considered("b", accounts)),
                Attempt(20.2, 900.0, "b", "served", 200, terminal="complete"),
            ]
            kept.add(explained(f"request-{number}", *steps))
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


@pytest.mark.parametrize(
    ("steps", "body", "total", "expected"),
    [
        ((), 2.0, 5.0, Spent(body=2.0, other=3.0)),
        (
            (
                Choice(1.0, 0.5, "a"),
                Attempt(1.5, 10.0, "a", "failed", 429),
                Pause(11.5, 100.0, "max_wait"),
                Choice(111.5, 0.5, "b"),
                Attempt(112.0, 50.0, "b", "served", 200, "complete", ms_first_byte=120.0),
            ),
            1.0,
            163.0,
            Spent(1.0, choosing=1.0, waiting=100.0, upstream=18.0, delivering=42.0, other=1.0),
        ),
        # A held stream had its first byte before the attempt that filled it began.
        (
            (Attempt(50.0, 10.0, "a", "served", 200, "complete", ms_first_byte=5.0),),
            0.0,
            60.0,
            Spent(upstream=0.0, delivering=10.0, other=50.0),
        ),
    ],
)
def test_the_time_is_told_apart(
    steps: tuple[Step, ...], body: float, total: float, expected: Spent
) -> None:
    assert spent(steps, body, total) == expected

"""All request bodies together are bounded."""

from __future__ import annotations

from server.budget import BodyBudget


def test_what_does_not_fit_reserves_nothing() -> None:
    budget = BodyBudget(lambda: 10)
    assert budget.take(7)
    assert not budget.take(4)
    assert budget.held == 7
    assert budget.take(3)
    assert not budget.take(1)
    budget.give_back(10)
    assert budget.held == 0


def test_a_new_limit_counts_at_once() -> None:
    limit = 10
    budget = BodyBudget(lambda: limit)
    assert not budget.take(11)
    limit = 11
    assert budget.take(11)
    limit = 5
    assert not budget.take(1)

"""The harness proves itself: each planted bug is found, by its rule, within its number of seeds."""

from __future__ import annotations

import pytest

from tests.kit.rounds import SWEEPING
from tests.sim.checker import RULES, check
from tests.sim.plants import PLANTS, Plant, planted, short
from tests.sim.simulation import simulate

FIRST_SEED = 100


def seeds_until_found(plant: Plant) -> int:
    """How many it took; 0: not found."""
    for nth in range(plant.seeds):
        with planted(plant):
            history = simulate(FIRST_SEED + nth, short(FIRST_SEED + nth, plant.rates))
        if plant.rule in {violation.rule for violation in check(history)}:
            return nth + 1
    return 0


@pytest.mark.promise("A1", "A7", "U3", control=True)
@pytest.mark.sweep
@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name.replace(" ", "-"))
def test_a_planted_bug_is_found(plant: Plant) -> None:
    took = seeds_until_found(plant)
    assert took, f"{plant.name} was not found within {plant.seeds} seeds"


@pytest.mark.sweep
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "rates",
    [plant.rates for plant in PLANTS[:: 1 if SWEEPING else 7]],
    ids=lambda rates: "-".join(rates) or "none",
)
def test_without_a_planted_bug_nothing_is_found(rates: dict[str, float]) -> None:
    """The control: in the same runs the program itself keeps all promises."""
    assert check(simulate(FIRST_SEED, short(FIRST_SEED, rates))) == []


def test_rules_have_names_of_their_own() -> None:
    assert len({rule.__name__ for rule in RULES}) == len(RULES)

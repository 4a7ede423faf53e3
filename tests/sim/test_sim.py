"""The whole program in virtual time, among every kind of fault; `docs/simulation.md` says how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.rounds import rounds
from tests.sim.checker import check
from tests.sim.history import History
from tests.sim.plants import short
from tests.sim.simulation import simulate

SEEDS = range(rounds(quick=6, full=1000))
REPLAYED = (10, 993)
"""The second one cuts many streams at once."""

ROOT = Path(__file__).parent.parent.parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", SEEDS if chosen is None else [chosen])


def tell(record: pytest.FixtureRequest, history: History) -> None:
    """For the summary of the session."""
    told = (history.hours, history.requests(), dict(history.faults()))
    record.node.user_properties.append(("simulated", told))


def run(seed: int) -> History:
    """A run; one that dies says how to run it again."""
    try:
        return simulate(seed)
    except BaseException as error:
        error.add_note(replay(seed))
        raise


def replay(seed: int) -> str:
    """The command that does the very same again."""
    return f"replay: python -m pytest tests/sim --seed {seed}"


@pytest.mark.promise("A1", "A7", "A8", "K1", "T1", "U3")
@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_whatever_happens_every_request_gets_one_honest_answer(
    seed: int, request: pytest.FixtureRequest
) -> None:
    history = run(seed)
    tell(request, history)
    wrong = check(history)
    shown = "\n".join(str(violation) for violation in wrong[:20])
    assert not wrong, f"{len(wrong)} promises broken\n{shown}\n{replay(seed)}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("replayed", REPLAYED)
def test_a_seed_is_the_same_run_in_every_process(replayed: int) -> None:
    """Whatever order the process gives its sets."""
    program = (
        "from tests.sim.simulation import simulate\n"
        f"history = simulate({replayed})\n"
        "print(history.digest(), len(history.events))"
    )

    def digest(hashing: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hashing}
        found = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return found.stdout

    first = digest("1")
    assert len(first) > 64
    assert digest("2") == first


def test_another_seed_is_another_run() -> None:
    """The control: what is compared above does tell two runs apart."""
    digests = {simulate(seed, short(seed, {})).digest() for seed in (1, 2)}
    assert len(digests) == 2

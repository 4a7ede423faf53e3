"""What choosing an account costs: the strategy alone, and the dispatcher's whole decision.

    make bench
    python tests/bench/bench_choice.py --quick

Microseconds for one choice among 100 accounts of one priority, all of which could serve: the best of
several rounds, so that a noisy machine matters little. No figure fails the run.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.dispatch import Acquire, DispatchState, Lease, Strategy, choose
from protocol.request import Route
from protocol.routing import Policy
from protocol.secrets import Secret
from protocol.strategies import STRATEGIES, Candidate, Turn, ranked

ACCOUNTS = 100
SESSIONS = 10_000
SWITCH_AT = {"5h": 0.98, "7d": 0.98}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    arguments, _ = parser.parse_known_args()  # those of the other benchmarks are not ours
    rounds, number = (3, 50) if arguments.quick else (10, 300)

    def cost(what: Callable[[], object]) -> float:
        return min(timeit.repeat(what, number=number, repeat=rounds)) / number * 1e6

    print(f"one choice among {ACCOUNTS} accounts, in microseconds")
    print(f"  {'strategy':<14} {'alone':>8} {'dispatcher':>11} {'of a session':>13}")
    for name in STRATEGIES:
        alone = cost(ordering(name))
        whole = cost(deciding(name, None))
        session = cost(deciding(name, "session-1"))
        print(f"  {name:<14} {alone:>8.0f} {whole:>11.0f} {session:>13.0f}")


def ordering(name: str) -> Callable[[], object]:
    """The strategy over accounts with two quota windows each."""
    candidates = [
        Candidate(
            f"account-{n}",
            order=n,
            weight=1 + n % 5,
            in_flight=n % 3,
            requests_since_start=n % 7,
            windows={"5h": (0.5, 1000.0 + n), "7d": (0.6, 9999.0 + n * 100)},
        )
        for n in range(ACCOUNTS)
    ]
    turn, _ = ranked(name, Turn(), candidates, 1.0, SWITCH_AT)
    return lambda: ranked(name, turn, candidates, 1.0, SWITCH_AT)


def deciding(name: str, session: str | None) -> Callable[[], object]:
    """The dispatcher's decision, with 10,000 sessions remembered when it is for one."""
    accounts = {}
    for n in range(ACCOUNTS):
        credential = Credential(Secret(f"key-{n}"), bearer=False)
        spec = AccountSpec(f"account-{n}", "api_key", credential, "https://x", n, weight=1 + n % 5)
        accounts[spec.name] = AccountState(spec)
    policy = Policy(name, SWITCH_AT, 3600.0)
    state = DispatchState(Strategy(pool=True, base_url="https://x", policy=policy), accounts)
    for number in range(SESSIONS if session else 0):
        state, lease = choose(state, Acquire(Route.MESSAGES, session=f"session-{number}"), 0.0)
        assert isinstance(lease, Lease)
    ask = Acquire(Route.MESSAGES, model="claude-x", session=session)
    return lambda: choose(state, ask, 1.0)


if __name__ == "__main__":
    main()

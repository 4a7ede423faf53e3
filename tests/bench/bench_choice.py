"""What choosing an account costs: the strategy alone, and the dispatcher's whole decision.

    make bench
    python tests/bench/bench_choice.py --quick

Microseconds for one choice among 100 accounts of one priority, with two quota windows each: the best
of several rounds, so that a noisy machine matters little. No figure fails the run. The columns:

- alone: who is taken, by the strategy;
- dispatcher: the whole decision (who can serve, the egress, the strategy, the ramp, the lease);
- session: the same for a session at home, with 10,000 sessions remembered;
- snapshot: the same with a new snapshot of an account before it, as after every request;
- half rests: 50 of the 100 accounts are benched;
- explained: the decision, and the list of everybody who was considered, which few ask for.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec

from protocol.accounts import AccountSpec, AccountState, Cooldown, Credential, Scope
from protocol.dispatch import AccountChanged, Acquire, DispatchState, Lease, Strategy, changed
from protocol.egress import choose
from protocol.quota import Quota, Window
from protocol.request import Route
from protocol.routing import Policy
from protocol.secrets import Secret
from protocol.strategies import STRATEGIES, Candidate, Turn, taken

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
    print(
        f"  {'strategy':<14} {'alone':>6} {'dispatcher':>11} {'session':>8} {'snapshot':>9} "
        f"{'half rests':>11} {'explained':>10}"
    )
    for name in STRATEGIES:
        figures = (
            cost(ordering(name)),
            cost(deciding(name)),
            cost(deciding(name, session="session-1")),
            cost(after_a_snapshot(name)),
            cost(deciding(name, resting=ACCOUNTS // 2)),
            cost(explaining(name)),
        )
        widths = (6, 11, 8, 9, 11, 10)
        row = " ".join(
            f"{figure:>{width}.0f}" for figure, width in zip(figures, widths, strict=True)
        )
        print(f"  {name:<14} {row}")


def ordering(name: str) -> Callable[[], object]:
    """The strategy alone."""
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
    turn, _ = taken(name, Turn(), candidates, 1.0)
    return lambda: taken(name, turn, candidates, 1.0)


def deciding(name: str, *, session: str | None = None, resting: int = 0) -> Callable[[], object]:
    """The dispatcher's decision, with 10,000 sessions remembered when it is for one."""
    state = pool_of(name, resting)
    for number in range(SESSIONS if session else 1):
        of = f"session-{number}" if session else None
        state, lease = choose(state, Acquire(Route.MESSAGES, owner=True, session=of), 0.0)
        assert isinstance(lease, Lease)
    ask = Acquire(Route.MESSAGES, owner=True, model="claude-x", session=session)
    return lambda: choose(state, ask, 1.0)


def after_a_snapshot(name: str) -> Callable[[], object]:
    """A snapshot comes in, then the decision."""
    state, _ = choose(pool_of(name), Acquire(Route.MESSAGES, owner=True), 0.0)
    known = state.accounts["account-7"]
    news = [AccountChanged(msgspec.structs.replace(known, last_request_at=at)) for at in (1.0, 2.0)]
    ask = Acquire(Route.MESSAGES, owner=True, model="claude-x")
    turn = itertools.cycle(news)
    return lambda: choose(changed(state, next(turn)), ask, 1.0)


def explaining(name: str) -> Callable[[], object]:
    """The decision and everybody considered."""
    decide = deciding(name)

    def explain() -> object:
        _, lease = decide()  # type: ignore[misc]
        return lease.considered

    return explain


def pool_of(name: str, resting: int = 0) -> DispatchState:
    """A hundred accounts, every other of the first ones benched."""
    accounts = {}
    bench = Cooldown(Scope.ACCOUNT, "", "window_5h", 0.0, 9e9, 0, "header")
    for n in range(ACCOUNTS):
        credential = Credential(Secret(f"sk-ant-oat-{n}"), bearer=True)
        spec = AccountSpec(f"account-{n}", "token", credential, "https://x", n, weight=1 + n % 5)
        windows = {
            "5h": Window(0.5, "allowed", 1000.0 + n, 0.0, "response"),
            "7d": Window(0.6, "allowed", 9999.0 + n * 100, 0.0, "response"),
        }
        benched = (bench,) if n % 2 == 0 and n // 2 < resting else ()
        accounts[spec.name] = AccountState(spec, cooldowns=benched, quota=Quota(windows))
    policy = Policy(name, SWITCH_AT, 3600.0)
    return DispatchState(Strategy(pool=True, base_url="https://x", policy=policy), accounts)


if __name__ == "__main__":
    main()

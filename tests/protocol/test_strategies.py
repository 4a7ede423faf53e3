"""Whose turn it is: each strategy's promise, and what holds for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.strategies import STRATEGIES, Candidate, Turn, forgotten, ranked, taken

NAMES = sorted(STRATEGIES)
SWITCH_AT = {"5h": 0.98, "7d": 0.98}
NOW = 1_000_000.0
START = Turn()
HOUR, DAY = 3600.0, 86400.0


def made(names: str, **changes: object) -> list[Candidate]:
    """One candidate a letter, in configuration order."""
    plain = [Candidate(name, order=order) for order, name in enumerate(names)]
    return [msgspec.structs.replace(candidate, **changes) for candidate in plain]


def weighed(**weights: int) -> list[Candidate]:
    return [
        Candidate(name, order=order, weight=weight)
        for order, (name, weight) in enumerate(weights.items())
    ]


def with_windows(name: str, order: int, week: float, hours: float, used: float = 0.1) -> Candidate:
    """Windows that end `week` and `hours` seconds from now."""
    return Candidate(
        name, order=order, windows={"7d": (used, NOW + week), "5h": (used, NOW + hours)}
    )


def chosen(strategy: str, candidates: Sequence[Candidate], times: int, turn: Turn = START) -> str:
    """The names taken in a row."""
    names: list[str] = []
    for _ in range(times):
        turn, order = ranked(strategy, turn, candidates, NOW, SWITCH_AT)
        names.append(order[0].name)
    return "".join(names)


def order_of(strategy: str, candidates: Sequence[Candidate]) -> str:
    _, order = ranked(strategy, Turn(), candidates, NOW, SWITCH_AT)
    return "".join(c.name for c in order)


# ------------------------------------------------------------------------------- one by one, by hand


@pytest.mark.parametrize(
    ("strategy", "taken"),
    [
        ("fill-first", "aaaaaaa"),
        ("round-robin", "abcabca"),
        ("weighted", "abcabca"),
        ("drain-soonest", "aaaaaaa"),
        ("least-used", "aaaaaaa"),
        ("hybrid", "abcaaaa"),
    ],
)
def test_three_equal_accounts_are_taken_in_the_strategys_way(strategy: str, taken: str) -> None:
    assert chosen(strategy, made("abc"), 7) == taken


def test_weights_are_interleaved_not_served_in_blocks() -> None:
    assert chosen("weighted", weighed(a=5, b=1, c=1), 14) == "aabacaa" * 2


def test_round_robin_goes_on_behind_an_account_that_is_out() -> None:
    turn, _ = ranked("round-robin", Turn(), made("abcd"), NOW, {})
    without_b = [c for c in made("abcd") if c.name != "b"]
    turn, order = ranked("round-robin", turn, without_b, NOW, {})
    assert order[0].name == "c"
    assert chosen("round-robin", made("abcd"), 3, turn) == "dab"


def test_weights_that_changed_count_at_once() -> None:
    turn = Turn()
    for _ in range(3):
        turn, _ = ranked("weighted", turn, weighed(a=1000, b=1), NOW, {})
    assert chosen("weighted", weighed(a=1, b=1), 4, turn) == "abab"


def test_the_week_that_ends_soonest_is_drained_first_then_the_five_hours() -> None:
    candidates = [
        with_windows("a", 0, 5 * DAY, HOUR),
        with_windows("b", 1, 2 * DAY, 4 * HOUR),
        with_windows("c", 2, 2 * DAY, 3 * HOUR),
        Candidate("d", order=3),
        with_windows("e", 4, -1.0, -1.0),
    ]
    assert order_of("drain-soonest", candidates) == "cbade"


def test_the_jitter_of_a_reset_does_not_change_who_is_drained() -> None:
    candidates = [with_windows("a", 0, 80.0 + 1.8, HOUR), with_windows("b", 1, 80.0, HOUR)]
    assert order_of("drain-soonest", candidates) == "ab"


def test_the_least_used_has_the_fewest_in_flight_then_the_fewest_requests() -> None:
    candidates = [
        Candidate("a", order=0, in_flight=2),
        Candidate("b", order=1, in_flight=1, requests_since_start=9),
        Candidate("c", order=2, in_flight=1, requests_since_start=3),
        Candidate("d", order=3, in_flight=1, requests_since_start=3),
    ]
    assert order_of("least-used", candidates) == "cdba"


def test_hybrid_opens_only_what_is_fresh_and_again_when_the_five_hours_ended() -> None:
    candidates = made("abc")
    candidates[1] = msgspec.structs.replace(candidates[1], requests_since_start=4)
    turn = Turn()
    taken = ""
    for _ in range(4):
        turn, order = ranked("hybrid", turn, candidates, NOW, SWITCH_AT)
        taken += order[0].name
    assert taken == "acaa"
    opened = msgspec.structs.replace(candidates[2], windows={"5h": (0.2, NOW + 5 * HOUR)})
    later = [*candidates[:2], opened]
    _, order = ranked("hybrid", turn, later, NOW + 5 * HOUR - 1, SWITCH_AT)
    assert order[0].name == "a"
    _, order = ranked("hybrid", turn, later, NOW + 5 * HOUR, SWITCH_AT)
    assert order[0].name == "c"


# ----------------------------------------------------------------------------------- the thresholds


@pytest.mark.parametrize(
    ("used", "ends", "order"),
    [(0.97, HOUR, "ab"), (0.98, HOUR, "ba"), (1.0, HOUR, "ba"), (1.0, 0.0, "ab")],
)
def test_from_switch_at_on_an_account_comes_after_the_others(
    used: float, ends: float, order: str
) -> None:
    a = Candidate("a", windows={"5h": (used, NOW + ends)})
    assert order_of("fill-first", [a, Candidate("b", order=1)]) == order


def test_a_window_without_a_threshold_switches_nothing() -> None:
    a = Candidate("a", windows={"overage": (1.0, NOW + HOUR)})
    assert order_of("fill-first", [a, Candidate("b", order=1)]) == "ab"


def test_when_all_are_over_their_thresholds_nobody_is_left_out() -> None:
    used_up = [with_windows(name, order, DAY, HOUR, 0.99) for order, name in enumerate("abc")]
    assert chosen("round-robin", used_up, 4) == "abca"


# ------------------------------------------------------------------------------------ for all of them

windows = st.dictionaries(
    st.sampled_from(["5h", "7d", "overage"]),
    st.tuples(st.floats(0, 1), st.floats(NOW - DAY, NOW + 7 * DAY)),
)


@st.composite
def pools(draw: st.DrawFn) -> list[Candidate]:
    made_up = [
        Candidate(
            name=f"a{order}",
            priority=draw(st.integers(0, 2)),
            order=order,
            weight=draw(st.integers(1, 5)),
            in_flight=draw(st.integers(0, 3)),
            requests_since_start=draw(st.integers(0, 5)),
            windows=draw(windows),
        )
        for order in range(draw(st.integers(1, 7)))
    ]
    return sorted(made_up, key=lambda c: (c.priority, c.order))


@given(st.sampled_from(NAMES), st.lists(pools(), min_size=1, max_size=8))
def test_every_strategy_returns_the_candidates_all_of_them_and_nobody_else(
    strategy: str, in_a_row: list[list[Candidate]]
) -> None:
    turn = Turn()
    for candidates in in_a_row:
        turn, order = ranked(strategy, turn, candidates, NOW, SWITCH_AT)
        assert sorted(order, key=lambda c: c.name) == sorted(candidates, key=lambda c: c.name)


@given(st.sampled_from(NAMES), st.lists(pools(), min_size=1, max_size=8))
def test_who_is_taken_is_the_first_of_the_order_and_moves_the_turn_alike(
    strategy: str, in_a_row: list[list[Candidate]]
) -> None:
    turn = Turn()
    for candidates in in_a_row:
        over = {c.name for c in candidates if c.over(SWITCH_AT, NOW)}
        after, order = ranked(strategy, turn, candidates, NOW, SWITCH_AT)
        assert taken(strategy, turn, candidates, NOW, over) == (after, order[0])
        turn = after


@given(st.sampled_from(NAMES), st.lists(pools(), min_size=1, max_size=8))
def test_priority_is_absolute_and_then_the_threshold(
    strategy: str, in_a_row: list[list[Candidate]]
) -> None:
    turn = Turn()
    for candidates in in_a_row:
        turn, order = ranked(strategy, turn, candidates, NOW, SWITCH_AT)
        assert [c.priority for c in order] == sorted(c.priority for c in candidates)
        best = [c for c in order if c.priority == order[0].priority]
        over = [c.over(SWITCH_AT, NOW) for c in best]
        assert over == sorted(over)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_weighted_shares_are_exact_over_a_cycle(weights: list[int], cycles: int) -> None:
    candidates = [Candidate(f"a{n}", order=n, weight=w) for n, w in enumerate(weights)]
    turn, served = Turn(), Counter[str]()
    for _ in range(sum(weights) * cycles):
        turn, order = ranked("weighted", turn, candidates, NOW, {})
        served[order[0].name] += 1
    assert served == {f"a{n}": w * cycles for n, w in enumerate(weights)}


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 20))
def test_round_robin_is_fair_from_wherever_it_starts(count: int, rounds: int, before: int) -> None:
    candidates = [Candidate(f"a{n}", order=n * 3) for n in range(count)]
    turn, served = Turn(), Counter[str]()
    for number in range(before + count * rounds):
        turn, order = ranked("round-robin", turn, candidates, NOW, {})
        if number >= before:
            served[order[0].name] += 1
    assert served == {c.name: rounds for c in candidates}


@given(pools())
def test_least_used_never_takes_a_busier_one(candidates: list[Candidate]) -> None:
    _, order = ranked("least-used", Turn(), candidates, NOW, {})
    rivals = [c for c in candidates if c.priority == order[0].priority]
    assert order[0].in_flight == min(c.in_flight for c in rivals)


@given(pools(), st.integers(8, 12))
def test_hybrid_touches_every_fresh_account_once_and_then_stays(
    candidates: list[Candidate], times: int
) -> None:
    candidates = [msgspec.structs.replace(c, priority=0, windows={}) for c in candidates]
    candidates.sort(key=lambda c: c.order)
    fresh = [c.name for c in candidates if not c.in_flight and not c.requests_since_start]
    turn, served = Turn(), list[str]()
    for _ in range(times):
        turn, order = ranked("hybrid", turn, candidates, NOW, {})
        served.append(order[0].name)
    assert served[: len(fresh)] == fresh
    assert set(served[len(fresh) :]) == {candidates[0].name}


def test_a_removed_account_is_forgotten() -> None:
    turn = Turn()
    for strategy in ("weighted", "hybrid"):
        turn, _ = ranked(strategy, turn, made("ab"), NOW, {})
    left = forgotten(turn, "a")
    assert "a" not in left.smooth
    assert "a" not in left.touched
    assert left.smooth == {"b": turn.smooth["b"]}
    assert forgotten(left, "a") is left


def test_resets_a_minute_apart_are_two_resets() -> None:
    for minute in range(61):
        week = DAY + 60.0 * minute
        soon, later = with_windows("b", 1, week, 0), with_windows("a", 0, week + 60, 0)
        assert order_of("drain-soonest", [later, soon]) == "ba", minute


def test_the_jitter_of_a_five_hour_reset_does_not_count_either() -> None:
    first, second = with_windows("a", 0, DAY, 101.9), with_windows("b", 1, DAY, 100.1)
    assert (NOW + 101.9) // 60 == (NOW + 100.1) // 60
    assert order_of("drain-soonest", [first, second]) == "ab"


def test_a_window_that_ends_in_this_moment_does_not_run_any_more() -> None:
    ended, running = with_windows("a", 0, 0, 0), with_windows("b", 1, DAY, HOUR)
    assert order_of("drain-soonest", [ended, running]) == "ba"
    over = with_windows("a", 0, DAY, 0)
    assert order_of("drain-soonest", [over, with_windows("b", 1, DAY, HOUR)]) == "ba"


def test_a_touch_at_the_end_of_a_window_has_opened_none_yet() -> None:
    """Hybrid waits for the window that the touch opens, not for the one that was just over."""
    touched = Turn(touched={"a": NOW - 10, "b": NOW - 10})
    over = msgspec.structs.replace(with_windows("a", 0, DAY, -10), requests_since_start=1)
    other = msgspec.structs.replace(with_windows("b", 1, DAY, -5), requests_since_start=1)
    _, order = ranked("hybrid", touched, [over, other], NOW, {})
    assert [c.name for c in order] == ["b", "a"]

"""The budget of repeats and the circuit: what is allowed, what is given back, and when it is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.repeats import (
    CALM_SECONDS,
    FAULTS_IN_A_ROW,
    PRICE,
    SAVED_MAX,
    Trouble,
    answered,
    asked,
    faulted,
    given_back,
)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("first", "fault", "repeat", "served", "answer")),
        st.sampled_from("abc"),
        st.floats(0, 5),
    ),
    max_size=200,
)

UNTROUBLED = Trouble()


def allowed(known: Trouble, firsts: int, tries: int) -> tuple[Trouble, int]:
    count = 0
    for _ in range(tries):
        known, paid = asked(known, firsts)
        count += paid
    return known, count


@pytest.mark.parametrize(("firsts", "repeats"), [(0, 10), (4, 10), (5, 11), (49, 19), (1000, 100)])
def test_ten_are_in_hand_and_five_first_attempts_pay_for_one_more(
    firsts: int, repeats: int
) -> None:
    """But what a thousand would bring is capped at a hundred."""
    known, count = allowed(Trouble(), firsts, 500)
    assert count == repeats
    assert not asked(known, firsts)[1]
    assert asked(known, firsts + PRICE)[1]


def test_what_was_served_is_given_back_but_never_more_than_can_be_saved() -> None:
    known, _ = allowed(Trouble(), 0, 10)
    assert not asked(known, 0)[1]
    assert asked(given_back(known), 0)[1]
    full = Trouble(saved=SAVED_MAX)
    assert given_back(full) == full


def test_after_a_calm_ten_are_in_hand_again_and_what_was_saved_stays() -> None:
    spent = faulted(Trouble(saved=0, last_fault=90.0), "a", "500", 100.0)
    assert not asked(spent, 0)[1]
    soon = faulted(spent, "a", "500", 100.0 + CALM_SECONDS - 0.1)
    assert allowed(soon, 0, 9)[1] == 0
    later = faulted(soon, "a", "500", soon.until)
    assert allowed(later, 0, 99)[1] == 10
    rich = faulted(Trouble(saved=17 * PRICE, last_fault=0.0), "a", "500", 1000.0)
    assert allowed(rich, 0, 99)[1] == 17


def in_a_row(accounts: str, known: Trouble = UNTROUBLED, at: float = 10.0) -> Trouble:
    for name in accounts:
        known = faulted(known, name, "500", at)
    return known


def test_the_circuit_opens_at_the_fifteenth_fault_in_a_row_of_two_accounts() -> None:
    almost = in_a_row("ab" * 7)
    assert len("ab" * 7) == FAULTS_IN_A_ROW - 1
    assert almost.opened is None
    opened = in_a_row("a", almost, 12.0)
    assert opened.opened == 12.0
    assert opened.is_open(12.0)
    assert not asked(opened, 1000)[1], "nothing is repeated, whatever was saved"
    assert in_a_row("b", opened, 13.0).opened == 12.0, "since when stays"


def test_one_account_alone_opens_nothing() -> None:
    alone = in_a_row("a" * 50)
    assert alone.opened is None
    assert in_a_row("b", alone).opened is not None


def test_of_the_accounts_that_met_faults_no_more_are_kept_than_open_the_circuit() -> None:
    """A pool of hundreds must not make each fault copy hundreds of names."""
    assert in_a_row("abcdef").accounts == ("a", "b")


def test_an_overload_is_the_upstreams_own_word_whoever_hears_it() -> None:
    known = in_a_row("a" * 14)
    assert faulted(known, "a", "server_error", 10.0).opened is None
    assert faulted(known, "a", "overloaded", 10.0).opened == 10.0


def test_any_answer_closes_it_and_faults_are_counted_anew() -> None:
    closed = answered(in_a_row("abc" * 5))
    assert closed.opened is None
    assert in_a_row("ab" * 7, closed).opened is None
    assert asked(closed, 0)[1]


def test_a_circuit_that_nobody_tried_for_a_while_is_closed() -> None:
    opened = in_a_row("ab" * 8, at=10.0)
    assert opened.is_open(39.9)
    assert not opened.is_open(40.0)
    anew = in_a_row("a", opened, 40.0)
    assert anew.opened is None
    assert asked(anew, 0)[1]


@pytest.mark.promise("U7", "U2")
@given(STEPS)
def test_repeats_that_are_not_served_stay_below_a_fifth_and_ten_in_hand(
    steps: list[tuple[str, str, float]],
) -> None:
    """Ten for each calm, whatever happens in whatever order."""
    known, now, firsts, unserved, calms, open_repeats = Trouble(), 0.0, 0, 0, 1, 0
    for what, account, pause in steps:
        now += pause
        match what:
            case "first":
                firsts += 1
            case "fault" | "repeat":
                calms += 0 <= known.until <= now
                known = faulted(known, account, "500", now)
                if what == "fault":
                    continue  # nobody asks for more
                known, paid = asked(known, firsts)
                assert not (paid and known.opened is not None)
                unserved += paid
                open_repeats += paid
            case "served" if open_repeats:
                known, open_repeats, unserved = given_back(known), open_repeats - 1, unserved - 1
            case "answer":
                known = answered(known)
        assert 0 <= known.saved <= SAVED_MAX
    assert unserved <= firsts / PRICE + 10 * calms

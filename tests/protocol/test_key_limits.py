"""What an inbound key may spend."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.inbound_keys import InboundKey, KeyLimits
from protocol.key_limits import Spending, admit, day_of, remembered, spent, tokens_of, used
from protocol.request_line import RequestLine
from tests.protocol.test_inbound_keys import NOW, key

DAY = NOW - NOW % 86400


def limited(requests: int = 0, tokens: int = 0, budget: float = 0.0) -> InboundKey:
    return msgspec.structs.replace(key()[0], limits=KeyLimits(requests, tokens, budget))


def test_without_limits_everything_is_let_through_and_nothing_remembered() -> None:
    free = limited()
    spending, problem = admit(Spending(), free, 0.0, NOW)
    assert problem is None
    assert spending == Spending()


def test_the_request_past_the_limit_hears_when_the_next_one_may_come() -> None:
    two = limited(requests=2)
    spending, _ = admit(Spending(), two, 0.0, NOW)
    spending, problem = admit(spending, two, 10.0, NOW)
    assert problem is None
    same, problem = admit(spending, two, 20.5, NOW)
    assert problem is not None
    assert (problem.status, problem.retry_after) == (429, 40)
    assert "2 requests a minute" in problem.message
    assert same == spending, "a refused request does not count"
    assert admit(spending, two, 60.0, NOW)[1] is None


@given(st.integers(1, 5), st.lists(st.floats(0, 20), max_size=40))
def test_no_sixty_seconds_see_more_requests_than_the_limit(limit: int, pauses: list[float]) -> None:
    holder, spending, now = limited(requests=limit), Spending(), 0.0
    let_in: list[float] = []
    for pause in pauses:
        now += pause
        spending, problem = admit(spending, holder, now, NOW)
        if problem is None:
            let_in.append(now)
            assert sum(1 for at in let_in if at > now - 60) <= limit
        else:
            assert sum(1 for at in let_in if at > now - 60) == limit


def test_tokens_are_counted_when_they_are_known_and_stop_the_next_request() -> None:
    holder = limited(tokens=1000)
    spending = spent(Spending(), holder, 600, 0.0, 0.0, NOW)
    assert admit(spending, holder, 1.0, NOW)[1] is None
    spending = spent(spending, holder, 600, 0.0, 30.0, NOW)
    _, problem = admit(spending, holder, 31.0, NOW)
    assert problem is not None
    assert problem.retry_after == 29
    assert admit(spending, holder, 60.0, NOW)[1] is None


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 50)), max_size=60))
def test_tokens_are_never_forgotten_within_their_minute(events: list[tuple[float, int]]) -> None:
    holder, spending, now = limited(tokens=200), Spending(), 0.0
    past: list[tuple[float, int]] = []
    for pause, tokens in events:
        now += pause
        spending = spent(spending, holder, tokens, 0.0, now, NOW)
        past.append((now, tokens))
        last_minute = sum(count for at, count in past if at > now - 60)
        if last_minute >= 200:
            assert admit(spending, holder, now, NOW)[1] is not None
        if sum(count for at, count in past if at > now - 62) < 200:
            assert admit(spending, holder, now, NOW)[1] is None
    assert len(spending.tokens) <= 62


def test_tokens_of_one_second_are_remembered_together_for_a_minute() -> None:
    holder = limited(tokens=1000)
    spending = spent(Spending(), holder, 600, 0.0, 9000.2, NOW)
    spending = spent(spending, holder, 300, 0.0, 9000.9, NOW)
    assert spending.tokens == ((9000.9, 900),)
    spending = spent(spending, holder, 50, 0.0, 9001.0, NOW)
    assert spending.tokens == ((9000.9, 900), (9001.0, 50))
    assert spent(spending, holder, 7, 0.0, 9061.0, NOW).tokens == ((9061.0, 7),)


def test_only_what_is_limited_is_remembered() -> None:
    assert spent(Spending(), limited(), 600, 0.0, 0.0, NOW).tokens == ()
    assert spent(Spending(), limited(tokens=10), 0, 0.0, 0.0, NOW).tokens == ()


def test_a_key_of_which_nothing_more_is_said_has_no_limits_and_no_rights() -> None:
    plain, spending = InboundKey("0a0b0c0d", "ci", b"salt", b"digest"), Spending()
    assert not plain.owner
    for now in range(100):
        spending, problem = admit(spending, plain, now, NOW)
        assert problem is None
        spending = spent(spending, plain, 10**6, 1000.0, now, NOW)


def test_what_came_from_a_cache_or_is_unknown_does_not_count() -> None:
    line = RequestLine("", "r", "POST", "/v1/messages")
    assert tokens_of(line) == 0
    told = msgspec.structs.replace(
        line, input_tokens=1, output_tokens=10, cache_read_tokens=100, cache_write_tokens=1000
    )
    assert tokens_of(told) == 1011


def test_a_budget_ends_with_its_day() -> None:
    holder = limited(budget=1.0)
    spending = spent(Spending(), holder, 10, 0.6, 0.0, DAY + 100)
    assert admit(spending, holder, 1.0, DAY + 101)[1] is None
    spending = spent(spending, holder, 10, 0.4, 1.0, DAY + 200)
    _, problem = admit(spending, holder, 2.0, DAY + 86400 - 90.5)
    assert problem is not None
    assert problem.retry_after == 91
    assert "its $1 of today" in problem.message
    _, problem = admit(spending, holder, 2.0, DAY + 86400 - 0.5)
    assert problem is not None
    assert problem.retry_after == 1
    assert admit(spending, holder, 3.0, DAY + 86400)[1] is None
    fresh = spent(spending, holder, 10, 0.1, 4.0, DAY + 86400)
    assert (fresh.day, fresh.spent) == (day_of(DAY + 86400), 0.1)


def test_the_days_cost_is_known_after_a_restart() -> None:
    holder = msgspec.structs.replace(limited(budget=1.0), spent_day=day_of(NOW), spent=1.5)
    assert admit(remembered(holder), holder, 0.0, NOW)[1] is not None
    assert admit(remembered(holder), holder, 0.0, NOW + 86400)[1] is None


@pytest.mark.parametrize("epoch", [0.0, DAY, DAY + 86399.999])
def test_days_are_those_of_the_logs(epoch: float) -> None:
    assert day_of(epoch) == ("1970-01-01" if not epoch else "2027-01-15")


def test_what_is_used_is_that_of_the_last_minute_and_of_the_day() -> None:
    holder = limited(requests=5, tokens=100, budget=1.0)
    spending = admit(admit(Spending(), holder, 0.0, NOW)[0], holder, 30.0, NOW)[0]
    spending = spent(spending, holder, 40, 0.25, 31.0, NOW)
    now = used(spending, holder, 59.0, NOW)
    assert (now.requests_last_minute, now.tokens_last_minute, now.cost_today) == (2, 40, 0.25)
    later = used(spending, holder, 60.0, NOW)
    assert (later.requests_last_minute, later.tokens_last_minute) == (1, 40)
    assert used(spending, holder, 91.0, NOW).tokens_last_minute == 0
    assert used(spending, holder, 91.0, NOW + 86400).cost_today == 0.0


def test_of_a_limit_that_is_off_nothing_is_known_but_the_cost() -> None:
    holder = limited()
    spending = spent(Spending(), holder, 40, 0.25, 31.0, NOW)
    now = used(spending, holder, 32.0, NOW)
    assert (now.requests_last_minute, now.tokens_last_minute, now.cost_today) == (None, None, 0.25)


def test_when_a_key_was_used_last_is_known_from_this_life_or_from_the_one_before() -> None:
    holder = msgspec.structs.replace(limited(), last_used=NOW - 500)
    assert used(Spending(), holder, 0.0, NOW).last_used == NOW - 500
    assert used(Spending(), holder, 0.0, NOW, NOW - 5).last_used == NOW - 5
    assert used(Spending(), limited(), 0.0, NOW, NOW - 5).last_used == NOW - 5


def test_the_cost_of_a_day_is_told_to_a_millionth_of_a_dollar() -> None:
    spending = spent(Spending(), limited(), 40, 0.12345678, 31.0, NOW)
    assert used(spending, limited(), 32.0, NOW).cost_today == 0.123457

"""What happened, in counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.explanation import Attempt, Pause
from protocol.prices import Billed
from protocol.request_line import RequestLine
from protocol.tally import (
    ACCOUNTS_MAX,
    CLIENTS_MAX,
    MODELS_MAX,
    OTHER,
    UNPROVEN_MODELS_MAX,
    Histogram,
    Names,
    Tally,
)
from protocol.told import Told


def over(**fields: Any) -> Billed:
    given = {"account": "a", "served_model": "m", "status": 200, "ms_total": 1500.0, **fields}
    return Billed("2026-03-10T00:00:00Z", **given)


def tallied(*entries: Billed, told: Told | None = None) -> Tally:
    tally = Tally()
    for entry in entries:
        tally.finished(entry, told)
    return tally


def test_requests_are_counted_by_who_served_them_and_how_they_ended() -> None:
    entries = [over(), over(), over(account=None, provider="p"), over(status=499, terminal="stall")]
    assert tallied(*entries).requests == {
        ("a", "", "m", "200", "complete"): 2,
        ("", "p", "m", "200", "complete"): 1,
        ("a", "", "m", "499", "stall"): 1,
    }


def test_what_is_not_known_is_an_empty_label() -> None:
    tally = tallied(Billed("", terminal="refused"))
    assert tally.requests == {("", "", "", "", "refused"): 1}


def test_tokens_are_counted_by_their_kind() -> None:
    tally = tallied(
        over(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=0)
    )
    assert tally.tokens == {
        ("a", "m", "input"): 1,
        ("a", "m", "output"): 2,
        ("a", "m", "cache_read"): 3,
    }


def test_costs_add_up_and_an_unknown_one_is_none() -> None:
    assert tallied(over(cost_usd=0.5), over(), over(cost_usd=0.25)).cost_usd == 0.75


def test_times_are_seconds() -> None:
    tally = tallied(over(ms_first_byte=300.0), over())
    assert (tally.request_seconds.total, sum(tally.request_seconds.counts)) == (3.0, 2)
    assert (tally.first_byte_seconds.total, sum(tally.first_byte_seconds.counts)) == (0.3, 1)


def test_each_attempt_after_which_the_next_account_was_tried_is_a_failover() -> None:
    steps = (
        Attempt(0, 1, "a", "failed", action="next", reason="five_hour"),
        Pause(1, 1, "max_wait"),
        Attempt(1, 1, "b", "failed", action="again", reason="overloaded"),
        Attempt(2, 1, "b", "failed", action="next"),
        Attempt(2, 1, "c", "left"),
    )
    tally = tallied(over(), told=Told(0.0, 1.0, steps=steps))
    assert tally.failovers == {("five_hour",): 1, (OTHER,): 1}


def test_models_that_clients_make_up_take_no_room_from_those_that_answer() -> None:
    tally = tallied(*(over(served_model=f"made-up-{n}", status=404) for n in range(1000)))
    assert len({key[2] for key in tally.requests}) == UNPROVEN_MODELS_MAX + 1
    tally.finished(over(served_model="real", output_tokens=1), None)
    assert tally.requests["a", "", "real", "200", "complete"] == 1
    tally.finished(over(served_model="real", status=429), None)
    assert tally.requests["a", "", "real", "429", "complete"] == 1


def test_no_number_of_names_makes_more_labels_than_there_may_be() -> None:
    tally = tallied(
        *(over(account=f"a{n}", served_model=f"m{n}", status=n, output_tokens=1)
          for n in range(5000))
    )  # fmt: skip
    assert len({key[0] for key in tally.requests}) == ACCOUNTS_MAX + 1
    assert len({key[2] for key in tally.requests}) == MODELS_MAX + 1
    assert sum(tally.requests.values()) == 5000
    assert sum(tally.tokens.values()) == 5000


def test_a_name_that_has_its_place_keeps_it() -> None:
    names = Names(2)
    assert [names.label(name) for name in ("a", "b", "c", "a", "b")] == ["a", "b", OTHER, "a", "b"]


@given(st.lists(st.floats(0, 1e6)))
def test_every_length_is_in_one_bucket_and_below_its_bound(lengths: list[float]) -> None:
    histogram = Histogram((1.0, 10.0, 100.0))
    for seconds in lengths:
        histogram.add(seconds)
    assert histogram.total == pytest.approx(sum(lengths))
    below = 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        below += count
        assert below == sum(seconds <= bound for seconds in lengths)
    assert sum(histogram.counts) == len(lengths)


def test_a_copy_does_not_change_any_more() -> None:
    tally = tallied(over(output_tokens=1, cost_usd=1.0, ms_first_byte=1.0))
    tally.refreshed("a", "renewed")
    copied = tally.copy()
    tally.finished(over(output_tokens=1, cost_usd=1.0, ms_first_byte=1.0), None)
    tally.refreshed("a", "renewed")
    assert sum(copied.requests.values()) == sum(copied.tokens.values()) == 1
    assert (copied.cost_usd, copied.refreshes["a", "renewed"]) == (1.0, 1)
    assert sum(copied.request_seconds.counts) == sum(copied.first_byte_seconds.counts) == 1


def of_a_key(**fields: Any) -> RequestLine:
    return RequestLine("2026-03-10T00:00:00Z", "r", "POST", "/v1/messages", **fields)


def test_requests_with_a_key_are_counted_by_its_name() -> None:
    tally = Tally()
    tally.keyed(of_a_key(client="ci", status=200, input_tokens=3, output_tokens=2, cost_usd=0.5))
    tally.keyed(of_a_key(client="ci", status=200, output_tokens=2, cost_usd=0.25))
    tally.keyed(of_a_key(client="me", status=429))
    assert tally.client_requests == {("ci", "200"): 2, ("me", "429"): 1}
    assert tally.client_tokens == {("ci", "input"): 3, ("ci", "output"): 4}
    assert tally.client_cost_usd == {("ci",): 0.75}
    assert tally.requests == {}, "they are counted there by who served them"
    before = tally.copy()
    tally.keyed(of_a_key(client="ci", status=200, output_tokens=1, cost_usd=1.0))
    assert before.client_requests[("ci", "200")] == 2
    assert before.client_tokens[("ci", "output")] == 4
    assert before.client_cost_usd == {("ci",): 0.75}


def test_keys_are_bounded_like_all_names() -> None:
    tally = Tally()
    for number in range(CLIENTS_MAX + 50):
        tally.keyed(of_a_key(client=f"key-{number}", status=200, output_tokens=1, cost_usd=1.0))
    for counted in (tally.client_requests, tally.client_tokens, tally.client_cost_usd):
        assert len(counted) == CLIENTS_MAX + 1
    assert tally.client_requests[(OTHER, "200")] == 50
    assert tally.client_cost_usd[(OTHER,)] == 50.0

"""What a request costs, and how its line says so."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.prices import Billed, Rate, Tariff, billed, cost, with_cost
from protocol.request_line import RequestLine, decode_line, encode_line

DOLLARS = Tariff(Rate(4e-6), Rate(20e-6), Rate(0.4e-6), Rate(5e-6))
STEPPED = Tariff(Rate(1e-6, ((200, 2e-6), (400, 3e-6))), Rate(5e-6), Rate(1e-6), Rate(1e-6))


def test_cached_input_is_priced_apart_from_input_that_was_read_anew() -> None:
    assert cost(DOLLARS, Billed("", input_tokens=1000)) == pytest.approx(0.004)
    assert cost(DOLLARS, Billed("", cache_read_tokens=1000)) == pytest.approx(0.0004)
    assert cost(DOLLARS, Billed("", cache_write_tokens=1000)) == pytest.approx(0.005)
    assert cost(DOLLARS, Billed("", output_tokens=1000)) == pytest.approx(0.02)


def test_costs_of_all_kinds_of_tokens_add_up() -> None:
    entry = Billed(
        "", input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4
    )  # fmt: skip
    assert cost(DOLLARS, entry) == pytest.approx(4e-6 + 40e-6 + 1.2e-6 + 20e-6)


@pytest.mark.parametrize(
    ("tokens", "dollars"), [(200, 200e-6), (201, 402e-6), (400, 800e-6), (401, 1203e-6)]
)
def test_past_a_step_all_tokens_cost_what_the_step_says(tokens: int, dollars: float) -> None:
    assert cost(STEPPED, Billed("", input_tokens=tokens)) == pytest.approx(dollars)


@pytest.mark.parametrize("cached", ["cache_read_tokens", "cache_write_tokens"])
def test_cached_tokens_count_towards_a_step(cached: str) -> None:
    entry = msgspec.structs.replace(Billed("", input_tokens=1), **{cached: 200})
    assert cost(STEPPED, entry) == pytest.approx(2e-6 + 200e-6)


def test_a_cost_is_told_in_hundred_millionths_of_a_dollar() -> None:
    odd = Tariff(Rate(1.23456789e-5), Rate(0), Rate(0), Rate(0))
    assert cost(odd, Billed("", input_tokens=1)) == 0.00001235


def test_a_line_of_an_earlier_version_tells_no_attempts_and_no_time() -> None:
    entry = billed(b'{"at":"2026-03-10T00:00:00Z"}')
    assert (entry.attempts, entry.ms_total, entry.terminal) == (0, 0.0, "complete")


def test_a_request_that_told_no_tokens_is_not_counted() -> None:
    assert not Billed("").counted
    assert Billed("", output_tokens=0).counted
    assert Billed("", cache_write_tokens=0).counted


texts = st.one_of(st.text(), st.just('"cost_usd":null'), st.just('x","cost_usd":null,"y":"'))


@given(texts, texts, texts, st.floats(0, 1e6))
def test_only_the_field_itself_gets_the_cost_whatever_strangers_wrote(
    model: str, session: str, reason: str, dollars: float
) -> None:
    line = RequestLine("2026-03-10T00:00:00Z", "r", "POST", "/v1/messages", model=model)
    line = msgspec.structs.replace(line, session=session, reason=reason)
    encoded = encode_line(line)
    priced = decode_line(with_cost(encoded, dollars))
    assert priced == msgspec.structs.replace(decode_line(encoded), cost_usd=dollars)


def test_a_line_without_a_cost_stays_as_it_was() -> None:
    encoded = encode_line(RequestLine("", "r", "POST", "/v1/messages"))
    assert with_cost(encoded, None) is encoded


def test_what_is_priced_is_read_from_the_line_as_it_is_written() -> None:
    line = RequestLine(
        "2026-03-10T00:00:00Z", "r", "POST", "/v1/messages", served_model="m", account="a",
        status=200, attempts=2, ms_total=12.5, input_tokens=3, reason="fill-first",
    )  # fmt: skip
    entry = billed(encode_line(line))
    assert entry == Billed(
        at=line.at, served_model="m", account="a", status=200, attempts=2, ms_total=12.5,
        input_tokens=3, reason="fill-first",
    )  # fmt: skip

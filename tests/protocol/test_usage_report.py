"""What requests used, summed up from log lines."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.request_line import RequestLine, encode_line
from protocol.usage_report import (
    DIMENSIONS,
    NAMED_MAX,
    NOBODY,
    OTHERS,
    UNKNOWN,
    Report,
    Sums,
    Unreadable,
)

FILE = "requests-2026-03-10.jsonl"


def line(**fields: Any) -> bytes:
    given = {
        "at": "2026-03-10T12:00:00.000Z", "request_id": "r", "method": "POST",
        "path": "/v1/messages", "status": 200, **fields,
    }  # fmt: skip
    return encode_line(RequestLine(**given))


def report(*lines: bytes, by: str = "account", since: str = "") -> Report:
    made = Report(by, since)
    made.read(FILE, b"".join(lines))
    return made


def test_tokens_costs_and_errors_of_one_account_add_up() -> None:
    made = report(
        line(account="a", input_tokens=1, output_tokens=2, cache_read_tokens=3,
             cache_write_tokens=4, cost_usd=0.5),
        line(account="a", input_tokens=10, output_tokens=20, cost_usd=0.25),
        line(account="a", status=529),
        line(account="a", status=None),
    )  # fmt: skip
    ((key, sums),) = made.rows()
    assert key == "a"
    assert sums == Sums(4, 2, 11, 22, 3, 4, 0.75, 0)
    assert made.total() == sums


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("account", "a"),
        ("model", "served"),
        ("day", "2026-03-10"),
        ("client", "agent/1"),
        ("session", "s"),
    ],
)
def test_it_is_broken_down_by_what_was_asked_for(by: str, key: str) -> None:
    one = line(account="a", model="asked", served_model="served", client="agent/1", session="s")
    assert [row[0] for row in report(one, by=by).rows()] == [key]


def test_a_provider_that_served_stands_where_an_account_would() -> None:
    assert report(line(provider="openai")).rows()[0][0] == "openai"


@pytest.mark.parametrize(
    ("by", "key"),
    [("account", NOBODY), ("model", UNKNOWN), ("client", UNKNOWN), ("session", UNKNOWN)],
)
def test_what_no_line_says_has_a_row_of_its_own(by: str, key: str) -> None:
    assert report(line(), by=by).rows()[0][0] == key


def test_a_model_without_a_price_is_unpriced_and_not_free() -> None:
    made = report(line(account="a", input_tokens=5))
    assert made.rows()[0][1].cost_usd is None
    assert made.rows()[0][1].unpriced == 1
    assert made.rows()[0][1].view()["cost_usd"] is None


def test_a_request_without_tokens_is_not_unpriced() -> None:
    assert report(line(account="a", status=404)).total().unpriced == 0


def test_a_price_of_zero_is_a_price() -> None:
    total = report(line(account="a", input_tokens=5, cost_usd=0.0)).total()
    assert (total.cost_usd, total.unpriced) == (0.0, 0)


def test_the_cache_share_is_of_all_input() -> None:
    total = report(line(input_tokens=10, cache_read_tokens=70, cache_write_tokens=20)).total()
    assert total.cache_share == pytest.approx(0.7)
    assert report(line(output_tokens=9)).total().cache_share is None


def test_what_came_before_does_not_count() -> None:
    made = report(
        line(at="2026-03-10T11:59:59.999Z"), line(at="2026-03-10T12:00:00.000Z"),
        since="2026-03-10T12:00:00.000Z",
    )  # fmt: skip
    assert made.total().requests == 1


def test_days_are_in_their_order_and_all_else_by_cost_then_tokens() -> None:
    lines = [
        line(account="cheap", at="2026-03-12T00:00:00.000Z", input_tokens=1, cost_usd=0.1),
        line(account="dear", at="2026-03-11T00:00:00.000Z", input_tokens=1, cost_usd=9.0),
        line(account="unpriced", at="2026-03-10T00:00:00.000Z", input_tokens=5000),
    ]
    assert [key for key, _ in report(*lines).rows()] == ["dear", "cheap", "unpriced"]
    days = [key for key, _ in report(*lines, by="day").rows()]
    assert days == ["2026-03-10", "2026-03-11", "2026-03-12"]


@pytest.mark.parametrize(
    "foreign",
    [
        b'{"at":"2026-03-10T12:00:00.000Z","request_id":"torn","met',
        b"not json",
        b"[1]",
        b'{"at":"2026-03-10T12:00:00.000Z","some":"body else"}',
        b'{"at":5}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
    ],
)
def test_torn_and_foreign_lines_are_counted_and_named_and_stop_nothing(foreign: bytes) -> None:
    made = report(line(account="a"), foreign + b"\n", line(account="a"), foreign + b"\n")
    assert made.total().requests == 2
    assert made.unreadable == [Unreadable(FILE, 2, 2)]


def test_lines_are_counted_through_the_blocks_of_a_file() -> None:
    made = Report("account")
    read = made.read(FILE, line() * 3)
    made.read(FILE, line() + b"torn\n", 1 + read)
    made.read(FILE, b"torn again", 6)
    assert made.unreadable == [Unreadable(FILE, 2, 5)]


def test_blank_lines_are_nothing() -> None:
    made = report(b"\n", line(), b"\n\n")
    assert (made.total().requests, made.unreadable) == (1, [])


def test_the_names_of_strangers_fill_no_memory() -> None:
    made = report(*(line(session=f"s{n}") for n in range(NAMED_MAX + 50)), by="session")
    keys = dict(made.rows())
    assert len(keys) == NAMED_MAX + 1
    assert keys[OTHERS].requests == 50
    assert made.total().requests == NAMED_MAX + 50


tokens = st.one_of(st.none(), st.integers(0, 10**12))
lines = st.builds(
    line,
    account=st.sampled_from(["a", "b", None]),
    session=st.text(max_size=3),
    input_tokens=tokens,
    output_tokens=tokens,
    cache_read_tokens=tokens,
    cache_write_tokens=tokens,
    cost_usd=st.one_of(st.none(), st.floats(0, 1e6)),
    status=st.one_of(st.none(), st.integers(100, 599)),
)


@given(st.lists(st.one_of(lines, st.binary(max_size=30).map(lambda b: b + b"\n")), max_size=20))
def test_all_rows_together_are_the_total_whatever_stands_in_the_file(given: list[bytes]) -> None:
    for by in DIMENSIONS:
        made = report(*given, by=by)
        assert sum(sums.requests for _, sums in made.rows()) == made.total().requests
        bad = sum(found.lines for found in made.unreadable)
        written = b"".join(given).split(b"\n")
        assert made.total().requests + bad == sum(bool(one.strip()) for one in written)


def test_every_field_that_is_read_is_one_that_is_written() -> None:
    written = msgspec.structs.fields(RequestLine)
    names = {field.name for field in written}
    for by in DIMENSIONS:
        read = {f.name for f in msgspec.structs.fields(Report(by)._decoder.type)}
        assert read <= names

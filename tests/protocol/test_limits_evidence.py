"""The rate-limit headers, well-formed and not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.limits_evidence import WINDOWS_MAX, Evidence, Window, read_evidence, read_seconds
from protocol.request import Headers

U = b"anthropic-ratelimit-unified-"


def test_windows_keep_their_names_known_or_not() -> None:
    found = read_evidence(
        (
            (U + b"status", b"allowed_warning"),
            (U + b"5h-status", b"allowed"),
            (U + b"5H-Utilization", b"0.42"),
            (U + b"5h-reset", b"1790000000"),
            (U + b"7d_oi-status", b" Rejected "),
            (U + b"30d-new-utilization", b"1.0"),
            (b"retry-after", b"7"),
        )
    )
    assert found.windows == (
        Window("5h", False, 1790000000.0),
        Window("7d_oi", True),
        Window("30d-new", True),
    )
    assert (found.retry_after, found.repeat, found.told, found.claimed) == (7.0, False, True, None)
    assert found.spent == found.windows[1:]


def test_the_limits_of_a_key_are_windows_too() -> None:
    found = read_evidence(
        (
            (b"anthropic-ratelimit-input-tokens-limit", b"50000"),
            (b"anthropic-ratelimit-input-tokens-remaining", b"0"),
            (b"anthropic-ratelimit-input-tokens-reset", b"2026-09-21T14:13:20Z"),
            (b"anthropic-ratelimit-requests-remaining", b"49"),
        )
    )
    assert found.windows == (
        Window("input-tokens", True, 1790000000.0),
        Window("requests", False),
    )


def test_a_claimed_window_is_spent_even_without_headers_of_its_own() -> None:
    overall = ((U + b"status", b"rejected"), (U + b"reset", b"99"))
    claim = (U + b"representative-claim", b"five_hour")
    assert read_evidence((*overall, claim)).windows == (Window("5h", True, 99.0),)
    own = ((U + b"5h-status", b"allowed"), (U + b"5h-reset", b"70"))
    assert read_evidence((*overall, claim, *own)).windows == (Window("5h", True, 70.0),)
    assert read_evidence(overall).windows == (Window("unified", True, 99.0),)


@pytest.mark.parametrize(
    "name",
    [b"overage-status", b"slow-status", b"grace-status", b"overage-period-x-status"],
)
def test_what_is_no_window_is_not_read_as_one(name: bytes) -> None:
    assert read_evidence(((U + name, b"rejected"),)).windows == ()


@pytest.mark.parametrize(
    "value", [b"", b"soon", b"-1", b"1e3", b"nan", b"9" * 400, b"2026-09-21T14:13:20", b"\xff"]
)
def test_a_reset_that_cannot_be_read_is_none(value: bytes) -> None:
    assert read_evidence(((U + b"5h-reset", value),)).windows == (Window("5h"),)


@pytest.mark.parametrize(
    ("window", "families", "longest"),
    [
        ("5h", (), 18060.0),
        ("7d", (), 604860.0),
        ("7d_oi", ("fable", "mythos"), 604860.0),
        ("7d_opus", ("opus",), 604860.0),
        ("requests", (), 604800.0),
        ("30d", (), 604800.0),
    ],
)
def test_a_window_has_families_and_a_longest_bench(
    window: str, families: tuple[str, ...], longest: float
) -> None:
    assert (Window(window).families, Window(window).longest) == (families, longest)


def test_no_headers_are_no_evidence() -> None:
    assert read_evidence(()) == Evidence()


names = st.one_of(
    st.binary(max_size=30),
    st.builds(
        lambda a, b, c: a + b + c,
        st.sampled_from([U, b"anthropic-ratelimit-"]),
        st.sampled_from([b"", b"5h-", b"7d_oi-", b"requests-", b"overage-", b"x-"]),
        st.sampled_from([b"status", b"reset", b"utilization", b"remaining", b"limit", b"?"]),
    ),
    st.sampled_from([U + b"representative-claim", b"retry-after", b"x-should-retry"]),
)
values = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"rejected", b"allowed", b"0", b"1.5", b"true", b"five_hour", b"\xb2"]),
)


@given(st.lists(st.tuples(names, values), max_size=60))
def test_no_headers_make_it_raise_and_windows_are_bounded(
    headers: list[tuple[bytes, bytes]],
) -> None:
    found = read_evidence(tuple(headers))
    assert len(found.windows) <= WINDOWS_MAX + 1
    assert len({window.name for window in found.windows}) == len(found.windows)


def test_a_flood_of_windows_is_cut() -> None:
    flood: Headers = tuple((U + f"w{n}-status".encode(), b"rejected") for n in range(500))
    assert len(read_evidence(flood).windows) == WINDOWS_MAX


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        ("five_hour", "5h"),
        ("seven_day", "7d"),
        ("seven_day_opus", "7d_opus"),
        ("seven_day_sonnet", "7d_sonnet"),
        ("seven_day_overage_included", "7d_oi"),
        ("Something_New", "something_new"),
        ("x" * 40, "x" * 32),
    ],
)
def test_a_claim_names_a_window_known_or_not(claim: str, name: str) -> None:
    headers = ((U + b"status", b"rejected"), (U + b"representative-claim", claim.encode()))
    assert read_evidence(headers).windows == (Window(name, True),)


def test_what_remains_of_a_window_is_noted_by_its_plain_name() -> None:
    assert read_evidence(((U + b"5h-remaining", b"0"),)).windows == (Window("5h", True),)
    assert read_evidence(((U + b"overage-remaining", b"0"),)).windows == ()


def test_a_number_has_one_point_at_most() -> None:
    assert read_seconds(b"1.5") == 1.5
    assert read_seconds(b"1.2.3") is None

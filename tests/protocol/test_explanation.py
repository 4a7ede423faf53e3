"""Where a request's time went."""

from __future__ import annotations

import pytest

from protocol.explanation import Attempt, Choice, Pause, Spent, Step, spent


@pytest.mark.parametrize(
    ("steps", "body", "total", "expected"),
    [
        ((), 2.0, 5.0, Spent(body=2.0, other=3.0)),
        (
            (
                Choice(1.0, 0.5, "a"),
                Attempt(1.5, 10.0, "a", "failed", 429),
                Pause(11.5, 100.0, "max_wait"),
                Choice(111.5, 0.5, "b"),
                Attempt(112.0, 50.0, "b", "served", 200, "complete", ms_first_byte=120.0),
            ),
            1.0,
            163.0,
            Spent(1.0, choosing=1.0, waiting=100.0, upstream=18.0, delivering=42.0, other=1.0),
        ),
        # A held stream had its first byte before the attempt that filled it began.
        (
            (Attempt(50.0, 10.0, "a", "served", 200, "complete", ms_first_byte=5.0),),
            0.0,
            60.0,
            Spent(upstream=0.0, delivering=10.0, other=50.0),
        ),
    ],
)
def test_the_time_is_told_apart(
    steps: tuple[Step, ...], body: float, total: float, expected: Spent
) -> None:
    assert spent(steps, body, total) == expected

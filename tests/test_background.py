"""Tests in the background start programs that hear every signal."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.kit.background import OFTEN_IGNORED, hand_on_no_deafness

HEARD = f"import signal; print([signal.getsignal(n) is signal.SIG_IGN for n in {[*map(int, OFTEN_IGNORED)]}])"


def ignored_by_a_program() -> str:
    """Whether a program that is started now ignores them."""
    done = subprocess.run([sys.executable, "-c", HEARD], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_is_started_hears_the_signals_that_we_ignore() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in OFTEN_IGNORED}
    try:
        assert ignored_by_a_program() == "[True, True]", "the control"
        hand_on_no_deafness()
        assert ignored_by_a_program() == "[False, False]"
        for number in OFTEN_IGNORED:
            signal.raise_signal(number)  # and we go on
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", OFTEN_IGNORED)
def test_a_handler_that_is_there_stays(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    hand_on_no_deafness()
    assert signal.getsignal(number) is before

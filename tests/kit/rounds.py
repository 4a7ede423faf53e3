"""How often a test that repeats itself does so: a few times in every run, many in a sweep."""

from __future__ import annotations

import os

SWEEPING = os.environ.get("TEST_SWEEP", "") not in ("", "0")
"""Set by `make sweep`, which runs the tests marked `sweep` alone."""


def rounds(quick: int, full: int) -> int:
    """`quick` in `make test`, `full` in `make sweep`."""
    return full if SWEEPING else quick

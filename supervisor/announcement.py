"""Printing what a start says. Standard library only: the keeper prints what its worker says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable


def say(first: str, rest: Iterable[str]) -> None:
    """Prints the line that programs wait for, and the others below it. A reader that has gone does
    no harm."""
    try:
        # In one write, also where nothing is buffered: whoever waits for it reads a whole line.
        print(f"{first}\n", end="", flush=True)
        for line in rest:
            print(f"  {line}", flush=True)
    except OSError:
        _give_up_stdout()


def _give_up_stdout() -> None:
    """What could not be written would be tried once more at exit, and spoil the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    finally:
        os.close(nowhere)

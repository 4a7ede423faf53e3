"""What the exit code of `supervisor` means; from 64 on as in BSD's sysexits.h."""

from __future__ import annotations

STOPPED_AS_ASKED = 0
FAILED = 1
USAGE = 2
NOTHING_ANSWERS = 69
GAVE_UP = 70
TAKEN = 73
"""The port, or the state directory, belongs to somebody else."""
PERMISSION = 77
CONFIGURATION = 78

NOT_EXECUTABLE = 126
"""`exec`, as a shell has it."""
NOT_FOUND = 127
"""`exec`, as a shell has it."""

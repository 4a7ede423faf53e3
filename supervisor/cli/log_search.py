"""One request, looked for in the files of the logs."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.cli.log_line import AttemptView, LineView, attempt_line, request_line
from supervisor.log_files import backwards, log_files


def line_of(place: Path, request_id: str) -> LineView | None:
    """The newest line of the request; None where no file has it. Raises OSError."""
    for path in reversed(log_files(place, "requests")):
        for line in backwards(path, os.fsencode(request_id)):
            told = request_line(line)
            if told is not None and told.request_id == request_id:
                return told
    return None


def attempts_of(place: Path, request_id: str) -> list[AttemptView]:
    """What the debug log has of it, in order; nothing where it was off. Raises OSError."""
    found: list[AttemptView] = []
    for path in reversed(log_files(place, "debug")):
        for line in backwards(path, os.fsencode(request_id)):
            told = attempt_line(line)
            if told is not None and told.request_id == request_id:
                found.append(told)
    return found[::-1]

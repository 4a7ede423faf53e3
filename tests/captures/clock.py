"""A wall clock of the play's own: it stands still, and is moved by hand.

The program's processes see it through libfaketime (Debian: `apt install faketime`), so that nothing in a
picture depends on the day or on how fast this machine is. The monotonic clock, by which the program
measures and waits, stays the real one.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

LIBRARIES = (
    "/usr/lib/*/faketime/libfaketime.so.1",
    "/usr/lib*/faketime/libfaketime.so.1",
)
NOTICED_SECONDS = 3.5
"""The library reads the file anew when what it knows is older than a whole second, or two."""
FIRST_SHOWN = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
"""What the first day is shown as, whenever the pictures are made."""


class NoClock(Exception):
    """libfaketime is not installed."""


class Clock:
    def __init__(self, file: Path, library: Path) -> None:
        # Tomorrow: files that are really written today must not lie in the future.
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        self.first = tomorrow.replace(hour=9, minute=0, second=0, microsecond=0)
        self._moment = self.first
        self._file = file
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self._write()

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Self]:
        """Raises NoClock."""
        found = [path for pattern in LIBRARIES for path in sorted(Path("/").glob(pattern[1:]))]
        if not found:
            raise NoClock("libfaketime is not installed: apt install faketime")
        with tempfile.TemporaryDirectory(prefix="clock-") as directory:
            yield cls(Path(directory) / "now", found[0])

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._moment.timestamp()

    def move(self, minutes: float) -> None:
        """Goes on by so much, and returns when every process has noticed."""
        self._moment += timedelta(minutes=minutes)
        self._write()
        time.sleep(NOTICED_SECONDS)

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(self._moment.strftime("%Y-%m-%d %H:%M:%S"), "utf-8")
        new.replace(self._file)

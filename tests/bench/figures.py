"""The arithmetic of the figures and how they are written down: pure, so that it is tested."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slope:
    """A straight line through points: its rise per unit of x, and the standard error of that."""

    rise: float
    error: float


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The least squares fit. Raises ValueError with fewer than three points or a single x."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / max(count, 1)
    mean_y = sum(y for _, y in points) / max(count, 1)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if count < 3 or not spread:
        raise ValueError("a line needs three points or more, not all at one place")
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    missed = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in points)
    return Slope(rise, (missed / (count - 2) / spread) ** 0.5)


def percentile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that at least this share (0 to 1) of all does not exceed.

    Raises ValueError without any sample.
    """
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("there is no sample")
    below = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[min(max(below, 1), len(ordered)) - 1]


def median(samples: Iterable[float]) -> float:
    """The middle one."""
    return percentile(samples, 0.5)


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_PERCENTILE = re.compile(r"^\s+(50|99)(?:\.\d+)?%\s+([\d.]+)(us|ms|s|m) *$", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+) *$", re.MULTILINE)
_COUNT = re.compile(r"^\s+(\d+) requests in ", re.MULTILINE)
_ERRORS = re.compile(r"^\s+(?:Socket errors|Non-2xx or 3xx responses): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Load:
    """What one run of load measured; latencies in seconds. `errors` is "" without any."""

    requests: int
    per_second: float
    p50: float
    p99: float
    errors: str


def of_wrk(output: str) -> Load | None:
    """What wrk printed; None where that is not what wrk prints."""
    rate, count = _RATE.search(output), _COUNT.search(output)
    latency = {
        name: float(value) * _UNITS[unit] for name, value, unit in _PERCENTILE.findall(output)
    }
    if rate is None or count is None or latency.keys() != {"50", "99"}:
        return None
    errors = "; ".join(_ERRORS.findall(output))
    return Load(int(count[1]), float(rate[1]), latency["50"], latency["99"], errors)


NONE = "-"

_DIGITS = {"ms": 3, "s": 2, "MB": 0, "KB": 1, "%": 2, "": 0}


def shown(value: float | None, unit: str = "", *, sign: bool = False) -> str:
    """A cell: `-` for None, else the number with the digits that its unit deserves."""
    if value is None:
        return NONE
    digits = 1 if not unit and abs(value) < 10 else _DIGITS[unit]
    return f"{value:{'+' if sign else ''},.{digits}f}{' ' + unit if unit else ''}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first column is text and whose others are numbers, in columns of one width.

    Raises ValueError for a row that has more or fewer cells than there are columns.
    """
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    titles = [title.replace("|", "\\|") for title in columns]
    widths = [
        max(map(len, column)) for column in zip(titles, *cells, ["---"] * len(titles), strict=True)
    ]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(row: Sequence[str]) -> str:
        first, *rest = row
        numbers = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        return f"| {' | '.join([first.ljust(widths[0]), *numbers])} |"

    return [line(titles), line(rule), *map(line, cells)]


@dataclass(frozen=True)
class Bar:
    """One promise: what was wanted, what was measured, and whether that is enough."""

    what: str
    target: str
    measured: str
    met: bool | None

    def cells(self) -> tuple[str, str, str, str]:
        """A row of the table."""
        verdict = {True: "yes", False: "**no**", None: "not measured"}[self.met]
        return self.what, self.target, self.measured, verdict


def at_most(what: str, limit: float, measured: float | None, unit: str, *, note: str = "") -> Bar:
    """Met by a figure that does not exceed the limit. `note` is written behind the figure."""
    met = None if measured is None else measured <= limit
    text = shown(measured, unit) + (f" ({note})" if note and measured is not None else "")
    return Bar(what, f"at most {limit:g} {unit}".rstrip(), text, met)


def at_least_as(what: str, other: str, ours: float | None, theirs: float | None) -> Bar:
    """Met by a rate that is not below somebody else's."""
    if ours is None or not theirs:
        return Bar(what, f"at least {other}", NONE, None)
    text = f"{ours:,.0f} against {theirs:,.0f} ({ours / theirs:.0%})"
    return Bar(what, f"at least {other}", text, ours >= theirs)

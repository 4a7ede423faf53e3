"""The table of a benchmark, and the same as JSON."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, field
from typing import Any

WIDTHS = (46, 14, 19, 14)


@dataclass(frozen=True)
class Figure:
    """One row. `left` and `right` are numbers in `unit`, or None where there is none to compare."""

    what: str
    left: float | None
    right: float
    unit: str
    ratio: bool = False

    def difference(self) -> str:
        """What the right one has more; for a rate, which part of the left one it is."""
        if self.left is None:
            return ""
        if self.ratio:
            return f"1/{self.left / self.right:.1f}" if self.right else "1/inf"
        return _shown(self.right - self.left, self.unit, sign="+")

    def cells(self) -> tuple[str, str, str, str]:
        """The row as text."""
        left = "-" if self.left is None else _shown(self.left, self.unit)
        return f"  {self.what}", left, _shown(self.right, self.unit), self.difference()


def _shown(value: float, unit: str, sign: str = "") -> str:
    digits = {"ms": 2, "us": 0, "s": 2, "MB": 1, "KB": 0, "%": 0}.get(unit, 0)
    return f"{value:{sign},.{digits}f} {unit}".rstrip()


@dataclass
class Section:
    """Rows under one heading, and what the two number columns of them are."""

    title: str
    columns: tuple[str, str] = ("direct", "through the proxy")
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, what: str, left: float | None, right: float, unit: str, *, ratio: bool = False
    ) -> None:
        """One more row."""
        self.figures.append(Figure(what, left, right, unit, ratio))


@dataclass
class Report:
    """Everything that was measured, and everything that went wrong with it."""

    version: str
    quick: bool
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    sections: list[Section] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def section(self, title: str, columns: tuple[str, str] | None = None) -> Section:
        """A new section at the end."""
        made = Section(title, columns) if columns else Section(title)
        self.sections.append(made)
        return made

    def text(self) -> str:
        """The table."""
        about = self.machine
        lines = [
            f"llm-supervisor {self.version} on {about['cores']} cores, {about['python']}, "
            f"{about['system']}, load average {about['load_average']:.1f}"
            + (", --quick: rough figures" if self.quick else ""),
            "upstream, proxy and load client share these cores; nothing leaves this machine",
        ]
        for section in self.sections:
            lines += ["", _aligned((section.title, *section.columns, "difference"))]
            lines += [_aligned(figure.cells()) for figure in section.figures]
            lines += [f"  ({note})" for note in section.notes]
        lines += ["", f"measured in {self.seconds:.0f} s"]
        for alarm in self.alarms:
            lines += ["*" * 96, f"** WRONG: {alarm}"]
        if self.alarms:
            lines.append("*" * 96)
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """The same for programs; a figure's numbers are in its `unit`."""
        return asdict(self)


def _aligned(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    numbers = (cell.rjust(width) for cell, width in zip(rest, WIDTHS[1:], strict=True))
    return (first.ljust(WIDTHS[0]) + "".join(numbers)).rstrip()


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    }

"""Which promise a test proves, and what it measured while doing so.

A test says which rows of tests/reliability/promises.toml it proves with
`@pytest.mark.promise("S4")`; a control, which shows that the fault bites where nothing guards
against it, adds `control=True`. docs/reliability.md is made of rows, marks and figures
(`make reliability`).

What a test measures it hands to the fixture `measured`. The figures of tests that passed are kept
in tests/reliability/figures.json in a sweep (`make sweep`), or with TEST_MEASURED=1; a quick run
changes nothing. Test processes that work side by side send theirs to the one that started them.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.rounds import SWEEPING

FIGURES = Path(__file__).parents[1] / "reliability" / "figures.json"
KEEPING = SWEEPING or os.environ.get("TEST_MEASURED", "") not in ("", "0")
_PROPERTY = "measured"

Measured = Callable[..., None]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """`measured("S4", "put back, slowest", 3.2, "ms", rounds=300)`: one figure of one row.

    `rounds` is how many times it was tried. A name that a row has already is replaced.
    """

    def note(row: str, name: str, value: float, unit: str = "", *, rounds: int = 1) -> None:
        figure = {
            "value": round(value, 3) if isinstance(value, float) else value,
            "unit": unit,
            "rounds": rounds,
            "test": request.node.nodeid.partition("[")[0],
        }
        request.node.user_properties.append((_PROPERTY, (row, name, figure)))

    return note


class Figures:
    """Collects what passed, in the process that writes it down."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new: list[tuple[str, str, dict[str, Any]]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of every test, wherever it ran."""
        if report.when == "call" and report.passed:
            self._new += [
                tuple(value) for name, value in report.user_properties if name == _PROPERTY
            ]

    def pytest_sessionfinish(self) -> None:
        """Adds to what earlier runs measured."""
        if not self._new:
            return
        known = json.loads(self._path.read_text()) if self._path.exists() else {}
        for row, name, figure in self._new:
            known.setdefault(row, {})[name] = {**figure, "date": _today(), "machine": _machine()}
        text = json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False)
        self._path.write_text(text + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Figures are kept by the process that was started by hand, when they are to be kept."""
    if KEEPING and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Figures(FIGURES))


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"

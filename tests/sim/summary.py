"""`--seed N` replays one run; the summary tells what all runs of a session did."""

from __future__ import annotations

from collections import Counter

import pytest

Simulated = tuple[float, int, dict[str, int]]
"""Virtual hours, requests, and faults by kind, as a test records them in `user_properties`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known everywhere, so that `pytest tests --seed N` means the same as `pytest tests/sim`."""
    parser.addoption("--seed", type=int, default=None, help="replay this run of tests/sim alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A replay is of one run: nothing else takes part."""
    if config.getoption("--seed") is None:
        return
    kept = [item for item in items if "seed" in getattr(item, "fixturenames", ())]
    kept = [item for item in kept if item.path.parent.name == "sim"]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """From the reports, since the runs may have been in other processes."""
    found: list[Simulated] = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "simulated"
    ]
    if not found:
        return
    faults: Counter[str] = Counter()
    for _, _, injected in found:
        faults.update(injected)
    hours, requests = sum(one[0] for one in found), sum(one[1] for one in found)
    terminalreporter.section("simulation")
    terminalreporter.line(
        f"{len(found)} runs, {hours:.1f} virtual hours, {requests} requests, "
        f"{sum(faults.values())} faults injected"
    )
    for kind, count in sorted(faults.items()):
        terminalreporter.line(f"{count:8d} {kind}")

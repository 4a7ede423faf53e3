"""`--seed N` replays one run; the summary tells what all runs of a session did, and a sweep writes
it into `docs/simulation.md`."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kit.rounds import SWEEPING

Simulated = tuple[float, int, dict[str, int]]
"""Virtual hours, requests, and faults by kind, as a test records them in `user_properties`."""

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"
BEGIN, END = "<!-- the last sweep -->\n", "<!-- end of the last sweep -->\n"
RUN = "test_whatever_happens"
FEWEST_RUNS = 100
"""Of less the page says nothing."""


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
    reports = [
        report
        for some in terminalreporter.stats.values()
        for report in some
        if getattr(report, "when", "") == "call"
    ]
    found: list[Simulated] = [
        value for report in reports for name, value in report.user_properties if name == "simulated"
    ]
    if not found:
        return
    failed = sum(report.failed for report in reports if RUN in report.nodeid)
    terminalreporter.section("simulation")
    faults = _faults(found)
    terminalreporter.line(_headline(found))
    for kind, count in sorted(faults.items()):
        terminalreporter.line(f"{count:8d} {kind}")
    if SWEEPING and len(found) >= FEWEST_RUNS:
        PAGE.write_text(with_figures(PAGE.read_text("utf-8"), found, failed, _today()), "utf-8")


def with_figures(page: str, found: Sequence[Simulated], failed: int, date: str) -> str:
    """The page with these runs as its last sweep. Raises ValueError where it has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no place between {BEGIN!r} and {END!r}")
    outcome = "all promises kept" if not failed else f"{failed} failed"
    faults, runs = _faults(found), _runs_with(found)
    rows = [f"| {kind} | {count:,} | {runs[kind]:,} |" for kind, count in sorted(faults.items())]
    table = "\n".join(["| fault | injected | in runs |", "|---|---:|---:|", *rows])
    return f"{before}{begin}{date}: {_headline(found)}; {outcome}.\n\n{table}\n{end}{after}"


def _headline(found: Sequence[Simulated]) -> str:
    hours, requests = sum(one[0] for one in found), sum(one[1] for one in found)
    return (
        f"{len(found):,} runs, {hours:,.1f} virtual hours, {requests:,} requests, "
        f"{_faults(found).total():,} faults injected"
    )


def _faults(found: Sequence[Simulated]) -> Counter[str]:
    faults: Counter[str] = Counter()
    for _, _, injected in found:
        faults.update(injected)
    return faults


def _runs_with(found: Sequence[Simulated]) -> Counter[str]:
    return Counter(kind for _, _, injected in found for kind in injected)


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()

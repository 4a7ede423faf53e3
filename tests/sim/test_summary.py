"""What a sweep writes into its page."""

from __future__ import annotations

import pytest

from tests.sim.summary import BEGIN, END, PAGE, with_figures

RUNS = [(0.5, 1200, {"cut": 3, "5xx": 1}), (1.0, 300, {"cut": 2}), (0.25, 7, {})]


def test_a_sweep_replaces_the_last_ones_figures_and_nothing_else() -> None:
    page = with_figures(f"before\n{BEGIN}old\n{END}after\n", RUNS, 0, "2026-01-02")
    assert page == (
        f"before\n{BEGIN}2026-01-02: 3 runs, 1.8 virtual hours, 1,507 requests, "
        "6 faults injected; all promises kept.\n\n"
        "| fault | injected | in runs |\n|---|---:|---:|\n| 5xx | 1 | 1 |\n| cut | 5 | 2 |\n"
        f"{END}after\n"
    )
    assert with_figures(page, RUNS, 0, "2026-01-02") == page


def test_a_sweep_in_which_runs_failed_says_so() -> None:
    assert "; 2 failed." in with_figures(BEGIN + END, RUNS, 2, "2026-01-02")


def test_a_page_without_a_place_for_figures_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_figures("nothing here", RUNS, 0, "2026-01-02")


def test_the_page_has_a_place_for_them() -> None:
    assert with_figures(PAGE.read_text("utf-8"), RUNS, 0, "2026-01-02")

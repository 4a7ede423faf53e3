"""docs/reliability.md says what is true: rows, marks and figures make it, nobody's hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability import page

TEST = """
import pytest

pytestmark = [pytest.mark.sweep, pytest.mark.promise("A2")]

@pytest.mark.promise("A1", "S4")
@pytest.mark.parametrize("one", [1])
async def test_it_holds(one):
    pass

@pytest.mark.promise("A1", control=True)
def test_without_it_does_not():
    pass
"""
ROW = {"group": "Some", "fault": "f", "promise": "p", "inject": "i", "passes": "x"}


def test_the_page_is_what_rows_marks_and_figures_say() -> None:
    wanted = page.render(page.rows(), page.proofs(), page.figures())
    assert page.PAGE.read_text(encoding="utf-8") == wanted, "run `make reliability` and commit it"


def test_every_mark_and_every_figure_is_of_a_row() -> None:
    assert set(page.proofs()) <= set(page.rows())
    assert set(page.figures()) <= set(page.rows())


def test_every_figure_is_of_a_test_that_proves_its_row() -> None:
    """A test that was removed takes its figures along: remove them from figures.json by hand."""
    proofs = page.proofs()
    for row, figures in page.figures().items():
        tests = {f"{proof.path}::{proof.name}" for proof in proofs[row]}
        assert {figure["test"] for figure in figures.values()} <= tests, row


def test_marks_are_found_on_tests_and_on_whole_modules(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_some.py").write_text(TEST)
    found = page.proofs(folder)
    assert {row: [proof.name for proof in tests] for row, tests in found.items()} == {
        "A1": ["test_it_holds", "test_without_it_does_not"],
        "A2": ["test_it_holds", "test_without_it_does_not"],
        "S4": ["test_it_holds"],
    }
    assert [proof.control for proof in found["A1"]] == [False, True]
    assert all(proof.sweep for proof in found["A1"])


def test_a_row_without_a_test_or_with_nothing_but_a_control_is_not_proven() -> None:
    control = page.Proof("tests/test_some.py", "test_without", control=True, sweep=False)
    proof = control._replace(control=False)
    assert "**Not proven**" in page.render({"A1": ROW}, {}, {})
    assert "**Not proven**" in page.render({"A1": ROW}, {"A1": [control]}, {})
    assert "Not proven: A1." in page.render({"A1": ROW}, {"A1": [control]}, {})
    assert "**Not proven**" not in page.render({"A1": ROW}, {"A1": [control, proof]}, {})


def test_a_row_that_is_not_kept_says_why_whatever_its_tests() -> None:
    proof = page.Proof("tests/test_some.py", "test_it", control=False, sweep=False)
    text = page.render({"A1": {**ROW, "not_kept": "because"}}, {"A1": [proof]}, {})
    assert "**Not kept as it stands:** because" in text
    assert "Of 1 promises 0 have tests that prove them." in text
    assert "Not kept as they stand: A1." in text


def test_a_figure_is_shown_with_its_rounds_its_day_and_its_machine() -> None:
    figure = {"value": 12.5, "unit": "ms", "rounds": 300, "date": "2026-01-02", "machine": "m"}
    text = page.render({"A1": ROW}, {}, {"A1": {"slowest": figure}})
    assert "slowest: 12.5 ms in 300 rounds (2026-01-02, m)" in text


MEASURES = """
import pytest

def test_that_passes(measured):
    measured("A1", "passed", 3, "ms", rounds=7)

def test_that_fails(measured):
    measured("A1", "failed", 4, "ms")
    raise AssertionError
"""


def test_figures_of_tests_that_passed_are_kept_by_the_process_that_began_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_measures.py").write_text(MEASURES)
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\n"
        "from tests.kit import promises\n"
        "promises.FIGURES = Path(__file__).with_name('figures.json')\n"
        "from tests.kit.promises import *\n"
    )
    monkeypatch.setenv("TEST_MEASURED", "1")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    options = ["-q", "-p", "xdist", "-n", "1", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", "/dev/null", str(tmp_path)],
        cwd=page.ROOT,
        capture_output=True,
        check=False,
        timeout=50,
    )
    monkeypatch.setattr(page, "FIGURES", tmp_path / "figures.json")
    (kept,) = page.figures()["A1"].items()
    assert kept[0] == "passed"
    assert (kept[1]["value"], kept[1]["rounds"]) == (3, 7)

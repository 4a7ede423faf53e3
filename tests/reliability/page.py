"""docs/reliability.md, made of the rows, of the marks in the tests and of the figures they left.

`python -m tests.reliability.page` writes it (`make reliability`).
"""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
ROWS = Path(__file__).parent / "promises.toml"
FIGURES = Path(__file__).parent / "figures.json"

INTRODUCTION = """\
# What is promised, and what proves it

This page is written by `make reliability` from three things, and `make test` fails when it does not
agree with them: the promises (`tests/reliability/promises.toml`), the tests that are marked with
one (`@pytest.mark.promise("S4")`), and the figures that those tests left behind when they last ran
in full (`tests/reliability/figures.json`, written by `make sweep`). A promise that no test is
marked with says so. What a test leaves open stands beside it.

A *control* is the same fault without the guard: it fails the test if nothing goes wrong then.
Figures are of one machine at one time; the limits that the tests hold are what is promised.
"""


class Proof(NamedTuple):
    """A test that is marked with a row."""

    path: str
    name: str
    control: bool
    sweep: bool


Rows = dict[str, dict[str, str]]
Figures = dict[str, dict[str, dict[str, Any]]]


def rows() -> Rows:
    """By row id: group, fault, promise, inject, passes, and perhaps open or not_kept."""
    return tomllib.loads(ROWS.read_text(encoding="utf-8"))


def figures() -> Figures:
    """By row id and name: value, unit, rounds, test, date, machine."""
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}


def proofs(folder: Path = ROOT / "tests") -> dict[str, list[Proof]]:
    """Every marked test, by row id; read from the source, so that nothing has to be imported."""
    found: dict[str, list[Proof]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.promise(" in text:
            for row, proof in _marked(ast.parse(text), path.relative_to(folder.parent).as_posix()):
                found[row].append(proof)
    return dict(found)


def _marked(tree: ast.Module, path: str) -> Iterator[tuple[str, Proof]]:
    everywhere = [
        mark
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for mark in (node.value.elts if isinstance(node.value, ast.List) else [node.value])
    ]
    for function in _tests(tree):
        marks = everywhere + function.decorator_list
        sweep = any(ast.unparse(mark).endswith("mark.sweep") for mark in marks)
        for mark in marks:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.promise":
                control = any(keyword.arg == "control" for keyword in mark.keywords)
                for row in mark.args:
                    yield ast.literal_eval(row), Proof(path, function.name, control, sweep)


def _tests(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    scopes = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for scope in scopes:
        for node in scope.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_"):
                yield node


def render(promised: Rows, marked: dict[str, list[Proof]], measured: Figures) -> str:
    """The page."""
    kept = [row for row in promised if "not_kept" not in promised[row]]
    proven = [row for row in kept if _is_proven(marked.get(row, []))]
    partly = [row for row in proven if promised[row].get("open")]
    told = [
        f"Of {len(promised)} promises {len(proven)} have tests that prove them.",
        f"With something left open: {_listed(partly)}.",
        f"Not proven: {_listed(set(kept) - set(proven))}.",
        f"Not kept as they stand: {_listed(set(promised) - set(kept))}.",
    ]
    lines = [INTRODUCTION, " ".join(told)]
    group = ""
    for row, text in promised.items():
        if text["group"] != group:
            group = text["group"]
            lines += ["", f"## {group}"]
        lines += ["", *_section(row, text, marked.get(row, []), measured.get(row, {}))]
    return "\n".join(lines) + "\n"


def _listed(found: Collection[str]) -> str:
    return ", ".join(sorted(found)) or "none"


def _is_proven(tests: list[Proof]) -> bool:
    return any(not proof.control for proof in tests)


def _section(
    row: str, text: dict[str, str], tests: list[Proof], measured: dict[str, dict[str, Any]]
) -> Iterator[str]:
    yield f"### {row}: {text['fault']}"
    yield ""
    yield f"- **Promise:** {text['promise']}"
    yield f"- **Broken by:** {text['inject']}"
    yield f"- **Passed when:** {text['passes']}"
    if text.get("not_kept"):
        yield f"- **Not kept as it stands:** {text['not_kept']}"
    elif not _is_proven(tests):
        yield "- **Not proven**: no test is marked with it."
    if tests:
        yield "- **Shown by:**" if text.get("not_kept") else "- **Proven by:**"
        for proof in sorted(tests, key=lambda proof: (proof.control, proof.path, proof.name)):
            sentence = proof.name.removeprefix("test_").replace("_", " ")
            more = [word for word in ("control", "sweep") if getattr(proof, word)]
            yield f"  - [{proof.path}](../{proof.path}): {sentence}{_in_brackets(more)}"
    if measured:
        yield "- **Measured:**"
        for name, figure in sorted(measured.items()):
            tries = f" in {figure['rounds']:,} rounds" if figure["rounds"] > 1 else ""
            value = f"{figure['value']:,} {figure['unit']}".strip()
            yield f"  - {name}: {value}{tries} ({figure['date']}, {figure['machine']})"
    if text.get("open"):
        yield f"- **Left open:** {text['open']}"


def _in_brackets(words: list[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


def main() -> int:
    """Write it."""
    PAGE.write_text(render(rows(), proofs(), figures()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

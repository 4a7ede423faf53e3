"""The mutator changes what decides, one thing at a time, and leaves the wording alone."""

from __future__ import annotations

import ast

import pytest

from tests.mutation import measure, page, run
from tests.mutation.mutants import mutants


def changed(source: str) -> set[str]:
    return {mutant.name.partition(": ")[2] for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a < b -> a <= b"}),
        ("a in b", {"a in b -> a not in b"}),
        ("x = not a", {"not a -> a"}),
        ("x = a + b", {"a + b -> a - b"}),
        ("x = True", {"True -> False"}),
        ("x = 3.5", {"3.5 -> 4.5"}),
        ("x = {'word': y}", {"'word' -> 'other word'"}),
        ("x = 'two words'", set()),
        ("x: 'annotated' = y", set()),
        ("'''docstring'''", set()),
        ("__all__ = ['name']", set()),
        ("class A(B, frozen=True): pass", set()),
        ("if a: pass", {"a -> not a"}),
        ("min(a)", {"min(a) -> max(a)", "min(a) -> pass"}),
        ("x = replace(a, b=c)", {"replace(a, b=c) -> replace(a)"}),
        ("f(a)", {"f(a) -> pass"}),
    ],
)
def test_each_kind_of_change(source: str, expected: set[str]) -> None:
    assert changed(source) == expected


def test_every_mutant_differs_in_one_place_compiles_and_has_a_name_of_its_own() -> None:
    source = (page.ROOT / "protocol" / "redirect.py").read_text()
    names, texts = set(), {ast.unparse(ast.parse(source))}
    for mutant in mutants(source):
        compile(mutant.tree, "mutant", "exec")
        names.add(mutant.name)
        texts.add(ast.unparse(mutant.tree))
    assert len(texts) == len(names) + 1 > 15


def test_a_name_stays_when_lines_move() -> None:
    source = "def f(a):\n    return a < 3\n"
    assert {m.name for m in mutants(source)} == {m.name for m in mutants("\n\n" + source)}


def test_every_module_that_decides_is_there_and_has_tests() -> None:
    known = measure.modules()
    assert set(page.DECISIONS) <= set(known)
    assert [name for name in page.DECISIONS if not measure.tests_of(name)] == []


def test_the_page_is_what_was_measured_and_explained() -> None:
    wanted = page.render(page.results(), page.explained())
    assert page.PAGE.read_text(encoding="utf-8") == wanted, "run `make mutation ARGS=--page`"


def test_every_survivor_of_what_decides_is_explained() -> None:
    assert page.unexplained(page.results(), page.explained()) == []


def test_no_reason_is_kept_for_a_mutant_that_was_killed() -> None:
    alive = {name: set(result["survivors"]) for name, result in page.results().items()}
    stale = {
        name: gone
        for name, reasons in page.explained().items()
        if (gone := set(reasons) - alive.get(name, set()))
    }
    assert stale == {}


def test_what_is_known_of_a_module_is_forgotten_when_its_code_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change that is new was noticed by nobody yet."""
    name = "redirect"
    last = {"code": measure.code_digest(name), "survivors": ["one"]}
    monkeypatch.setattr(page, "results", lambda: {name: last})
    known = run._known(name)
    assert known is not None
    assert not any(known.values())
    last["code"] = "of another day"
    assert run._known(name) is None

"""Style that the linter cannot say, and who may know whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("actors", "protocol", "server", "supervisor")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
THIS_FILE = Path(__file__)
MY_HOME = Path.home()  # read at import: in a test there is only a made-up one

MODULE_LINES_MAX = 350
FUNCTION_LINES_MAX = 60

# Longer ones, by "path" or "path:function", each with its length and the reason. A length may only
# shrink: the entry of a file that got shorter must be lowered, and in the end removed.
LONGER_FILES: dict[str, tuple[int, str]] = {}
LONGER_FUNCTIONS: dict[str, tuple[int, str]] = {}

VAGUE_WORDS = {"helper", "helpers", "manager", "managers", "misc", "util", "utils"}

# The file that knows actors.
WIRING = {"supervisor/tree.py"}

# Who may import whom. An arrow that is missing here would let a decision depend on a socket.
MAY_IMPORT = {
    "protocol": {"protocol"},
    "actors": {"protocol", "actors"},
    "server": {"protocol", "actors", "server"},
    "supervisor": {"protocol", "actors", "server", "supervisor"},
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring: explaining is not what makes it long."""
    docstring = 0
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def _defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def _words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return {word.lower() for word in spaced.split("_")}


def _for_type_checkers(tree: ast.AST) -> set[ast.AST]:
    """Every node below an `if TYPE_CHECKING`: such an import names a type and wires nothing."""
    return {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test).endswith("TYPE_CHECKING")
        for statement in guard.body
        for node in ast.walk(statement)
    }


def imported_modules(tree: ast.AST) -> set[str]:
    """What is imported at run time; `from actors import vault` counts as `actors.vault`."""
    guarded = _for_type_checkers(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in guarded:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in PACKAGES:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _actor_modules() -> set[str]:
    """The modules of `actors` that define an actor; the others are the runtime, open to all."""
    return {
        _module(path)
        for path in (ROOT / "actors").rglob("*.py")
        if any(
            name.endswith("Actor") for name in _defined_names(ast.parse(path.read_text("utf-8")))
        )
    }


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _known(tree: ast.AST, actors: set[str]) -> set[str]:
    return imported_modules(tree) & actors


def _too_long(
    lengths: dict[str, int], maximum: int, known: dict[str, tuple[int, str]]
) -> list[str]:
    limits = {name: lines for name, (lines, _reason) in known.items()}
    found = [
        f"{name} has {lines} lines, {limits.get(name, maximum)} are allowed"
        for name, lines in lengths.items()
        if lines > limits.get(name, maximum)
    ]
    found += [
        f"{name} is down to {lengths.get(name, 0)} lines: lower or remove its entry"
        for name, lines in limits.items()
        if lengths.get(name, 0) < lines
    ]
    return found


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)


def test_no_module_is_too_long_to_be_read_in_one_go() -> None:
    lengths = {_name(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert _too_long(lengths, MODULE_LINES_MAX, LONGER_FILES) == []


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{_name(path)}:{function.name}": _own_lines(function)
        for path in SOURCES
        for function in _functions(ast.parse(path.read_text("utf-8")))
    }
    assert _too_long(lengths, FUNCTION_LINES_MAX, LONGER_FUNCTIONS) == []


def test_an_allowance_that_is_no_longer_needed_is_taken_back() -> None:
    known = {"a.py": (400, "a table"), "b.py": (400, "a table")}
    assert _too_long({"a.py": 400, "b.py": 400}, 350, known) == []
    assert len(_too_long({"a.py": 401, "b.py": 399}, 350, known)) == 2


def test_no_name_is_so_vague_that_anything_could_be_put_there() -> None:
    vague = [
        f"{_name(path)}: {name}"
        for path in [*SOURCES, *TESTS]
        for name in [
            path.stem,
            path.parent.name,
            *_defined_names(ast.parse(path.read_text("utf-8"))),
        ]
        if not name.startswith("test_") and _words(name) & VAGUE_WORDS
    ]
    assert vague == []


def test_the_words_of_a_name_are_told_apart() -> None:
    assert _words("ConnectionManager") == {"connection", "manager"}
    assert _words("http_utils") == {"http", "utils"}
    assert not _words("utilization") & VAGUE_WORDS


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert _lines_with(later, [*SOURCES, *TESTS]) == []


def test_no_path_of_somebodys_machine_is_written_down() -> None:
    texts = [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    texts += [
        *(ROOT / "requirements").iterdir(),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.md"),
    ]
    somebodys = re.compile(r"(?<![\w.}$/])/(?:root|home/(?!(?:me|you|user|USER)\b)\w+)/")
    assert _lines_with(somebodys, [*SOURCES, *texts]) == []
    # A test may make up a person; it may not name the one who wrote it.
    mine = re.compile(re.escape(f"{MY_HOME}/"))
    assert _lines_with(mine, [*SOURCES, *TESTS, *texts]) == []


def _lines_with(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in paths
        if path != THIS_FILE
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def test_there_are_actors_to_check() -> None:
    assert _actor_modules(), "no class named ...Actor: the two tests below would check nothing"


def test_only_the_tree_knows_the_actors() -> None:
    actors = _actor_modules()
    knowing = {
        _name(path): sorted(known)
        for path in SOURCES
        if not _name(path).startswith("actors/")
        and _name(path) not in WIRING
        and (known := _known(ast.parse(path.read_text("utf-8")), actors))
    }
    assert knowing == {}


def test_no_actor_knows_another() -> None:
    actors = _actor_modules()
    knowing = {
        _name(path): sorted(known)
        for path in SOURCES
        if _name(path).startswith("actors/")
        and (known := _known(ast.parse(path.read_text("utf-8")), actors) - {_module(path)})
    }
    assert knowing == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_one_that_lies_above_it(package: str) -> None:
    upward = [
        f"{_name(path)} imports {module}"
        for path in SOURCES
        if _name(path).startswith(f"{package}/")
        for module in sorted(imported_modules(ast.parse(path.read_text("utf-8"))))
        if (top := module.partition(".")[0]) in PACKAGES and top not in MAY_IMPORT[package]
    ]
    assert upward == []


def test_an_import_of_an_actor_is_seen_however_it_is_written() -> None:
    for source in (
        "import actors.vault",
        "from actors import vault",
        "from actors.vault import VaultActor",
        "def late():\n    from actors.vault import VaultActor",
    ):
        assert _known(ast.parse(source), {"actors.vault"}) == {"actors.vault"}
    guarded = "if TYPE_CHECKING:\n    from actors.vault import VaultActor"
    assert _known(ast.parse(guarded), {"actors.vault"}) == set()

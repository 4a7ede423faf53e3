"""One module of `protocol`: which of its mutants do its tests notice?

Each mutant is imported and tested in a fork of a process that has everything from elsewhere loaded
already, so that one costs a third of a second. Its own tests run first, then those that noticed
mutants before it, then all of `tests/protocol` that import it; the first that fails ends the matter.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import CodeType, ModuleType

import hypothesis
import pytest

from tests.mutation.mutants import mutants

ROOT = Path(__file__).parents[2]
OURS = ("actors", "protocol", "server", "supervisor", "tests")

SLOWEST = 4.0
"""How many times as much work as the untouched code a mutant may do before it counts as hanging.
Work, not time: on a busy machine everything takes long."""

STUCK_SECONDS = 900
"""Whoever does nothing for so long hangs too."""

NOTICED_FIRST = 12
"""So many of the tests that noticed the mutants before are tried before the rest."""


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of `protocol`, by its name below the package."""
    files = sorted((ROOT / "protocol").rglob("*.py"))
    return {file.relative_to(ROOT / "protocol").with_suffix("").as_posix(): file for file in files}


def tests_of(module: str) -> list[Path]:
    """Those named for it first, then all that import it, or the package that shows what it has; of
    one that none imports, those of the modules that do."""
    package, _, stem = module.rpartition("/")
    wanted = {_name(module), *([_name(package)] if package and _shows_parts(package) else [])}
    files = sorted((ROOT / "tests" / "protocol").rglob("test_*.py"))
    own = [file for file in files if file.stem == f"test_{stem}"]
    own += [file for file in files if file.stem.startswith(f"test_{stem}_")]
    others = [file for file in files if wanted & _imported(file)]
    while not own + others:
        wider = wanted | {
            _name(other) for other in modules() if wanted & _imported(modules()[other])
        }
        if wider == wanted:
            break
        wanted = wider
        others = [file for file in files if wanted & _imported(file)]
    return list(dict.fromkeys(own + others))


def _shows_parts(package: str) -> bool:
    own = _imported(modules()[f"{package}/__init__"])
    return any(name.startswith(f"{_name(package)}.") for name in own)


def _name(module: str) -> str:
    return "protocol." + module.removesuffix("/__init__").replace("/", ".")


@functools.cache
def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def digest(module: str) -> str:
    """Of the module and its tests: as long as it is the same, so is the outcome."""
    return _digest([ROOT / "protocol" / f"{module}.py", *tests_of(module)])


def code_digest(module: str) -> str:
    """Of the module alone: as long as it is the same, more tests can only notice more."""
    return _digest([ROOT / "protocol" / f"{module}.py"])


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module from the code of a mutant."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        package = self._path.name == "__init__.py"
        spec = importlib.util.spec_from_loader(fullname, self, is_package=package)
        if spec is not None and package:
            spec.submodule_search_locations = [str(self._path.parent)]
        return spec

    def get_source(self, fullname: str) -> str:
        return self._path.read_text()

    def get_code(self, fullname: str) -> CodeType:
        return self._code

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)  # noqa: S102 - what a loader is for


def survivors(module: str, known: Mapping[str, bool] | None = None) -> Iterator[tuple[str, bool]]:
    """Each mutant's name and whether it survived; `known` are those that need not be tried.

    RuntimeError when the tests fail without any change, or when the module has none.
    """
    tests = tests_of(module)
    if not tests:
        raise RuntimeError(f"protocol/{module}.py: no test imports it")
    _load(tests)
    path = ROOT / "protocol" / f"{module}.py"
    name = _name(module)
    untouched = compile(path.read_text(), str(path), "exec")
    begin = _work_of_children()
    if _noticed(tests, (), _Mutated(name, path, untouched), seconds=300) is not None:
        raise RuntimeError(f"protocol/{module}.py: its tests fail without any change")
    seconds = 5 + SLOWEST * (_work_of_children() - begin)
    noticing: list[str] = []
    for mutant in mutants(path.read_text()):
        if known is not None and mutant.name in known:
            yield mutant.name, known[mutant.name]
            continue
        code = compile(mutant.tree, str(path), "exec")
        test = _noticed(tests, noticing, _Mutated(name, path, code), seconds)
        yield mutant.name, test is None
        if test:
            noticing = [test, *(one for one in noticing if one != test)][:NOTICED_FIRST]


def _work_of_children() -> float:
    """Seconds of a processor that the forks that are over have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _load(tests: Sequence[Path]) -> None:
    """Everything that is not ours stays loaded for all forks."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        pytest.main([*_OPTIONS, "--collect-only", *map(str, tests)])
    hypothesis.settings.load_profile("mutation")
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        if not name.startswith("tests.mutation"):
            del sys.modules[name]


hypothesis.settings.register_profile(
    "mutation",
    max_examples=20,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,  # the same examples for every mutant
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),  # a machine that is busy proves nothing
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)

# Neither the fixtures of every test, which pure code does not need, nor what looks after loops, threads
# and hangs. Tests that repeat themselves find what the others do not by luck alone.
_WITHOUT = [
    "anyio",
    "cacheprovider",
    "doctest",
    "faulthandler",
    "junitxml",
    "legacypath",
    "logging",
    "pastebin",
    "randomly",
    "threadexception",
    "timeout",
    "trio",
    "unraisableexception",
    "xdist",
    "xdist.looponfail",
]
_OPTIONS = [
    *("-x", "-q", "--noconftest", "--assert=plain", "-W", "ignore"),
    *("-c", os.devnull, "--rootdir", str(ROOT), "-o", "python_files=test_*.py"),
    # Else everything that lies beside one of the folders above is looked at, for each mutant.
    *("--confcutdir", str(ROOT / "tests" / "protocol")),
    *(option for plugin in _WITHOUT for option in ("-p", f"no:{plugin}")),
]


def _noticed(
    tests: Sequence[Path], noticing: Sequence[str], finder: _Mutated, seconds: float
) -> str | None:
    """The test that fails; "" where it is not known which, or where it works for too long."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        outcome = 1
        try:
            os.setpgid(0, 0)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            signal.alarm(STUCK_SECONDS)
            gc.disable()
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            sys.dont_write_bytecode = True
            sys.meta_path.insert(0, finder)
            failure = _Failure()
            outcome = _outcome(tests, noticing, failure)
            os.write(writer, failure.test.encode())
        finally:
            os._exit(outcome)
    os.close(writer)
    with os.fdopen(reader) as told:
        test = told.read()
    _, status = os.waitpid(child, 0)
    return None if os.waitstatus_to_exitcode(status) == 0 else test


class _Failure:
    """A plugin of pytest that keeps the name of the test that failed."""

    test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.test = f"{ROOT}/{report.nodeid}"


def _outcome(tests: Sequence[Path], noticing: Sequence[str], failure: _Failure) -> int:
    """The first file by itself: most mutants end there, before the others are even imported. What
    makes up its own examples takes longest, so it comes last."""
    for part, marked in (
        (tests[:1], "not sweep and not hypothesis"),
        (noticing, "not sweep"),
        (tests[1:], "not sweep and not hypothesis"),
        (tests, "not sweep and hypothesis"),
    ):
        arguments = [*_OPTIONS, "-m", marked, *map(str, part)]
        outcome = pytest.main(arguments, plugins=[failure]) if part else 0
        if part is noticing and outcome != pytest.ExitCode.TESTS_FAILED:
            continue  # a test that this mutant does not have, as one made of a table, fails nothing
        if outcome not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return int(outcome)
    return 0

"""`protocol` decides and does nothing else; the keeper needs nothing but Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = sorted((ROOT / "protocol").rglob("*.py"))

# Modules whose import, anywhere below `protocol`, says that something waits, reads or sends there.
IMPURE_IMPORTS = {
    "anyio", "asyncio", "fcntl", "ftplib", "getpass", "glob", "h11", "httpx", "hypercorn", "io",
    "logging", "mmap", "multiprocessing", "os", "pty", "quart", "quart_trio", "random", "resource",
    "rich", "click", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "trio",
    "concurrent.futures", "http.client", "http.server", "pathlib.Path", "urllib.request", "uuid",
}  # fmt: skip

# What is called by a built-in name or as a method and looks at the world all the same.
IMPURE_CALLS = {
    "open", "print", "input", "breakpoint", "exec", "eval", "__import__",
    "datetime.now", "datetime.utcnow", "datetime.today", "datetime.datetime.now",
    "date.today", "datetime.date.today",
}  # fmt: skip

# What must not be loaded once `protocol` is. Not the whole list above: the standard library's
# innocent modules load some of it for themselves.
NEVER_LOADED = ("anyio", "asyncio", "h11", "httpx", "hypercorn", "quart", "quart_trio", "trio")

# Files that run where no package may be relied on.
STANDARD_LIBRARY_ONLY = [
    path
    for path in (ROOT / "supervisor" / "keeper.py", ROOT / "supervisor" / "keeper")
    if path.exists()
] + [ROOT / "supervisor" / "client_settings.py", ROOT / "supervisor" / "client_point.py"]

OUR_PACKAGES = {"actors", "protocol", "server", "supervisor"}


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node.func)


def impurities(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [
        f"line {line}: imports {name}"
        for line, name in _imports(tree)
        if name in IMPURE_IMPORTS or name.partition(".")[0] in IMPURE_IMPORTS
    ]
    found += [
        f"line {line}: imports {name}"
        for line, name in _imports(tree)
        if name.partition(".")[0] in OUR_PACKAGES - {"protocol"}
    ]
    found += [f"line {line}: calls {name}" for line, name in _calls(tree) if name in IMPURE_CALLS]
    return sorted(set(found))


def _loaded_after(program: str) -> set[str]:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_protocol_looks_at_no_clock_file_socket_or_event_loop(path: Path) -> None:
    assert impurities(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import trio",
        "def later():\n    import time",
        "from os import environ",
        "from pathlib import Path",
        "import http.client",
        "import urllib.request",
        "from datetime import datetime\ndatetime.now()",
        "open('x')",
        "from actors import mailbox",
    ],
)
def test_what_is_impure_is_recognised(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    ["import msgspec", "from pathlib import PurePosixPath", "from http import HTTPStatus",
     "from urllib.parse import urlsplit", "from protocol import sse", "import protocol.config"],
)  # fmt: skip
def test_what_is_pure_is_let_through(source: str) -> None:
    assert impurities(source) == []


def test_importing_protocol_loads_no_event_loop_and_no_network() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PURE
    ]
    loaded = _loaded_after("import " + ", ".join(modules))
    assert set(modules) <= loaded
    assert sorted(loaded.intersection(NEVER_LOADED)) == []
    assert sorted(OUR_PACKAGES.intersection(loaded)) == ["protocol"]


def test_the_keeper_needs_nothing_but_the_standard_library() -> None:
    for path in STANDARD_LIBRARY_ONLY:
        loaded = _loaded_after(f"import supervisor.{path.stem}")
        foreign = {
            name.partition(".")[0] for name in loaded if not name.startswith("_")
        } - sys.stdlib_module_names - OUR_PACKAGES  # fmt: skip
        # The site packages' own start-up files may load modules before the first line runs.
        foreign -= {name.partition(".")[0] for name in _loaded_after("")}
        assert sorted(foreign) == [], path.name


def test_the_process_that_becomes_the_keeper_loads_no_event_loop_and_no_web_framework() -> None:
    loaded = _loaded_after("import supervisor.cli.run, supervisor.starting")
    assert "supervisor.keeper" in loaded
    assert sorted(loaded.intersection(NEVER_LOADED)) == []

"""What holds for every test: a home of its own, no inherited settings, nothing but loopback."""

from __future__ import annotations

import contextlib
import functools
import inspect
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trio

from tests.kit import background, canaries, leaks
from tests.kit.canaries import pytest_runtest_makereport as pytest_runtest_makereport
from tests.kit.leaks import leaves_nothing as leaves_nothing
from tests.kit.promises import measured as measured
from tests.kit.promises import pytest_configure as pytest_configure

pytest_plugins = ["tests.sim.summary"]

# ------------------------------------------------------------------------------------ hypothesis

# No deadline: a shared machine stalls for longer than any honest example takes.
hypothesis.settings.register_profile(
    "local", deadline=None, max_examples=100, print_blob=True, stateful_step_count=40
)
# In CI the same examples every time: a red run is red because of the change it ran on.
hypothesis.settings.register_profile(
    "ci", hypothesis.settings.get_profile("local"), derandomize=True, database=None
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# -------------------------------------------------------------------------------------- canaries

background.hand_on_no_deafness()
canaries.watch_secrets()
leaks.watch_mailboxes()


def pytest_runtest_setup() -> None:
    canaries.begin()


# ----------------------------------------------------------------------------------- environment

INHERITED_PREFIXES = ("ANTHROPIC_", "CLAUDE_", "OPENAI_", "SUPERVISOR_", "XDG_")
INHERITED_NAMES = {
    "CLAUDECODE",
    "COLUMNS",
    "FORCE_COLOR",
    "NO_COLOR",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
}


def _would_change_a_test(name: str) -> bool:
    upper = name.upper()
    return (
        upper.startswith(INHERITED_PREFIXES) or upper.endswith("_PROXY") or upper in INHERITED_NAMES
    )


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, which is all that this test and what it starts can see of one.

    `SUPERVISOR_CONFIG` stays unset: the configuration directory is below the new home anyway, and
    a test of where the file is looked for starts from what a new user has.
    """
    for name in [name for name in os.environ if _would_change_a_test(name)]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    runtime = home / ".runtime"
    runtime.mkdir(mode=0o700)
    for name, path in {
        "HOME": home,
        "USERPROFILE": home,
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local" / "share",
        "XDG_RUNTIME_DIR": runtime,
        "XDG_STATE_HOME": home / ".local" / "state",
        "CLAUDE_CONFIG_DIR": home / ".claude",
        "SUPERVISOR_STATE_DIR": home / ".local" / "state" / "llm-supervisor",
    }.items():
        monkeypatch.setenv(name, str(path))
    return home


def _real_settings() -> Path:
    """Of the person at the keyboard; read at import, because a test has only a made-up home."""
    named = os.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(named) if named else Path.home() / ".claude") / "settings.json"


REAL_SETTINGS = _real_settings()


class TouchedRealSettings(Exception):
    """This test tried to write the settings of the person at the keyboard."""


_touched: list[str] = []


def _is_real(path: object) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    directory = os.fsdecode(path).rpartition("/")[0]
    return directory == str(REAL_SETTINGS.parent)


def _watch_the_settings(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: whatever would change a file in the real directory is refused."""
    if event == "open":
        path, mode, flags = arguments
        writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        touched = [path] if writing or (isinstance(mode, str) and set(mode) & set("wax+")) else []
    elif event in ("os.rename", "os.link", "os.symlink"):
        touched = list(arguments[:2])
    elif event in ("os.remove", "os.truncate", "os.chmod", "os.chown"):
        touched = list(arguments[:1])
    else:
        return
    if any(_is_real(path) for path in touched):
        _touched.append(f"{event} {touched}")
        raise TouchedRealSettings(_touched[-1])


sys.addaudithook(_watch_the_settings)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


@pytest.fixture(autouse=True)
def log_level_stays() -> Iterator[None]:
    """A reload sets the level of all logs, and a test that looks at the log runs in this process too."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


@pytest.fixture(autouse=True, scope="session")
def real_settings_stay() -> Iterator[None]:
    """The whole run fails when the real settings are others at its end: that sees what processes
    did that were started here (and an edit of their owner's, meanwhile)."""
    before = _content(REAL_SETTINGS)
    yield
    assert _content(REAL_SETTINGS) == before, f"{REAL_SETTINGS} was changed during the tests"


@pytest.fixture(autouse=True)
def touches_no_real_settings() -> Iterator[list[str]]:
    """Fails the test that tried, also when the program under test took the refusal well."""
    _touched.clear()
    yield _touched
    if _touched:
        tried = ", ".join(_touched)
        _touched.clear()
        pytest.fail(f"touched the real settings: {tried}")


# --------------------------------------------------------------------------------------- network


class LeftLoopback(Exception):
    """This test tried to reach another machine."""


_left_loopback: list[str] = []


def _text(host: object) -> str:
    if isinstance(host, bytes | bytearray):
        return bytes(host).decode("ascii", "replace")
    return "" if host is None else str(host)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_local(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _refuse(what: str) -> None:
    _left_loopback.append(what)
    raise LeftLoopback(what)


def _watch_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: it sees every socket of the process, however many wrappers lie above it."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple) and not _is_local(_text(address[0])):
            _refuse(f"{event} {address}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = _text(arguments[0])
        if _is_local(host) or _address(host) is not None:
            return
        if host.endswith(".invalid"):  # reserved for names that never resolve
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        _refuse(f"{event} {host}")


sys.addaudithook(_watch_the_network)


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[list[str]]:
    """Fails the test that reached out, also when the program under test took the refusal well.

    Yields the list of what was tried; a test that means to try clears it.
    """
    _left_loopback.clear()
    yield _left_loopback
    if _left_loopback:
        tried = ", ".join(_left_loopback)
        _left_loopback.clear()
        pytest.fail(f"left loopback: {tried}")


# ----------------------------------------------------------------------------------------- hangs

CLEAN_UP_SECONDS = 15
"""How long before pytest-timeout's limit a hanging trio test is cancelled.

pytest-timeout raises wherever the main thread happens to be, which is inside trio's own loop: trio
breaks down, and the tests after it with it. A cancelled test ends like any other.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    usual = float(config.getoption("timeout") or config.getini("timeout"))
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("timeout")
            limit = marker.args[0] if marker and marker.args else usual
            item.obj = _ended_after(max(limit - CLEAN_UP_SECONDS, limit / 2), item.obj)


def _ended_after(
    seconds: float, test: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """`test`, cancelled after `seconds` by the wall clock, whatever clock the test runs on."""

    @functools.wraps(test)
    async def run(**fixtures: Any) -> None:
        waiting: list[str] = []
        scope = trio.CancelScope()

        def give_up() -> None:
            waiting.extend(_where_tasks_wait(trio.lowlevel.current_root_task()))
            scope.cancel()

        def time_is_up(token: trio.lowlevel.TrioToken) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(give_up)

        token = trio.lowlevel.current_trio_token()
        timer = threading.Timer(seconds, time_is_up, [token])
        timer.daemon = True
        timer.start()
        try:
            with scope:
                await test(**fixtures)
        finally:
            timer.cancel()
        if waiting:
            pytest.fail(f"hung for {seconds:g} s:\n" + "\n".join(waiting), pytrace=False)

    return run


def _where_tasks_wait(task: trio.lowlevel.Task | None, depth: int = 0) -> Iterator[str]:
    if task is None:
        return
    frames = [
        f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in task.iter_await_frames()
        if Path(frame.f_code.co_filename).name not in ("_run.py", "_traps.py")
    ]
    yield "  " * depth + f"{task.name}: " + " > ".join(frames[-6:])
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _where_tasks_wait(child, depth + 1)

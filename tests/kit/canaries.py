"""Every credential that a test uses is a canary: written down anywhere, it fails that test (X5).

The doors of the kit, and `Secret` itself, report each credential they see and each place that a
program under test can write to: state and log directories, its two outputs, its management answers,
the disk in memory. When the test has ended all of it is searched, and what pytest captured as well.

A test that means to write one down is marked `plants_canaries`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path

import pytest

from protocol import secrets
from protocol.secrets import SHORTEST_MASKED_VALUE, Secret
from tests.kit.memory_disk import MemoryDisk

Texts = Iterable[tuple[str, str]]
"""Where, and what stands there."""

_IN_CONFIGURATION = re.compile(r"""(?:api_key|token)\s*=\s*(["'])([^"'$]+)\1""")
_CARRIES_ONE = re.compile(r"key|token|secret|authorization", re.IGNORECASE)

HOLDS_CREDENTIALS = ("accounts.json", ".credentials.json", "client.key")
"""Files whose purpose that is, and copies that are kept of them (names that begin so)."""

FILE_BYTES_MAX = 4 * 1024 * 1024


class Watch:
    """What one test used, and where it could have been written to."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.places: list[Callable[[], Texts]] = []

    def found(self, more: Texts = ()) -> list[str]:
        """Where a credential stands that should stand nowhere."""
        canaries = [value for value in self.used if len(value) >= SHORTEST_MASKED_VALUE]
        if not canaries:
            return []
        texts = [*more, *(text for place in self.places for text in place())]
        return [
            f"{where}: {_around(text, value)}"
            for where, text in texts
            for value in canaries
            if value in text
        ]


def _around(text: str, value: str) -> str:
    at = text.index(value)
    return text[max(at - 60, 0) : at + len(value) + 20]


current = Watch()


# --- what the kit reports


def used(value: str) -> None:
    """A credential of this test."""
    current.used.add(value.strip())


def used_in(configuration: str) -> None:
    """Those that are written out in a configuration."""
    current.used.update(found[1] for found in _IN_CONFIGURATION.findall(configuration))


def used_among(pairs: Iterable[tuple[str, str]] | Mapping[str, str]) -> None:
    """Those in headers or environment variables whose names tell."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    for name, value in items:
        if _CARRIES_ONE.search(name):
            used(value.removeprefix("Bearer "))


def written_to(directory: Path) -> None:
    """A directory that a program under test writes to."""
    current.places.append(lambda: _files(directory))


def kept_on(disk: MemoryDisk) -> None:
    """A disk in memory."""
    current.places.append(
        lambda: [
            (str(path), data.decode("utf-8", "replace"))
            for path, data in disk.files.items()
            if not path.name.startswith(HOLDS_CREDENTIALS)
        ]
    )


def said(where: str, read: Callable[[], str]) -> None:
    """An output, to be read at the end."""
    current.places.append(lambda: [(where, read())])


def answered(target: str, body: bytes) -> None:
    """An answer of ours; those of relayed routes are the upstream's."""
    if target.startswith(("/status", "/health", "/metrics", "/dashboard")):
        current.places.append(lambda: [(target, body.decode("utf-8", "replace"))])


def _files(directory: Path) -> Texts:
    if not directory.is_dir():
        return
    for path in directory.rglob("*"):
        if path.name.startswith(HOLDS_CREDENTIALS) or not path.is_file():
            continue
        if path.stat().st_size <= FILE_BYTES_MAX:
            yield str(path), path.read_bytes().decode("utf-8", "replace")


# --- pytest's side, for conftest.py

_wrap = Secret.__init__


def _wrap_and_report(self: Secret, value: str) -> None:
    _wrap(self, value)
    current.used.add(value.strip())


def watch_secrets() -> None:
    """From here on every `Secret` that is made is a canary of the test that made it."""
    setattr(Secret, "__init__", _wrap_and_report)  # noqa: B010 - a method, to the type checker


def begin() -> None:
    """A new test. Secrets that live on, as those of modules do, are canaries of all tests."""
    live = [secret for ref in secrets._LIVE.valuerefs() if (secret := ref()) is not None]
    current.places = []
    current.used = {secret.reveal().strip() for secret in live}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a test after which a canary is found."""
    report = yield
    if report.when == "setup":
        return report
    if report.when == "call" and report.passed and not item.get_closest_marker("plants_canaries"):
        captured = [
            ("captured stdout", report.capstdout),
            ("captured stderr", report.capstderr),
            ("captured log", report.caplog),
        ]
        places = current.found(captured)
        if places:
            report.outcome = "failed"
            report.longrepr = "a credential was written down:\n" + "\n".join(places)
    return report

"""Client programs that are too large to be installed for every run of the tests.

Each lives in a virtual environment of its own; a variable names the program in it, and its tests are
skipped where that is not set (`docs/contributing.md`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

PATIENCE_SECONDS = 180.0
"""Both programs read for seconds what they import, on a busy machine for a minute."""

NOWHERE = "http://127.0.0.1:9"

# Read at import: the tests' own environment starts empty.
_NAMED = {name: os.environ.get(name) for name in ("TEST_AIDER_BINARY", "TEST_LITELLM_PYTHON")}


def named_program(variable: str) -> str:
    """The program that `variable` names; the test is skipped where it names none."""
    named = _NAMED[variable]
    if not named:
        pytest.skip(f"{variable} names no program: see docs/contributing.md")
    assert Path(named).exists(), f"{named}, named in {variable}, does not exist"
    return named


async def run_program(
    command: list[str], home: Path, stdin: bytes = b"", **environment: str
) -> tuple[int, str, str]:
    """Its exit code, stdout and stderr. It reaches this machine and nothing else."""
    made = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TERM": "dumb",
        "HTTP_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost",
        **environment,
    }
    with trio.fail_after(PATIENCE_SECONDS):
        result = await trio.run_process(
            command,
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=home,
            env=made,
        )
    return result.returncode, result.stdout.decode(), result.stderr.decode()

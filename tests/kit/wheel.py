"""The program as people install it: a built wheel in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def installed_wheel(directory: Path) -> Path:
    """The command, in an environment that has this program as a wheel and no other copy of it."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", directory, ROOT)
    (wheel,) = directory.glob("*.whl")
    home = directory / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    run(*pip, "--python", home / "bin" / "python", "install", "--no-index", "--no-deps", wheel)
    (packages,) = home.glob("lib/python*/site-packages")
    # What it depends on: that of the tests, without its links to the source.
    found = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(found))
    return home / "bin" / "supervisor"


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """What it said; a command that fails fails the test. `environment` is added to the test's."""
    ended = subprocess.run(
        list(map(str, command)), env={**os.environ, **environment}, cwd="/", text=True,
        capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended

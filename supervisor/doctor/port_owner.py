"""Which process listens on a port, as far as this user may know."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"


def owner_of(port: int, proc: Path = Path("/proc")) -> str:
    """`pid 123 (nginx)`; "" where it cannot be known: another user's process, most often."""
    if (proc / "net" / "tcp").exists():
        return _by_proc(port, proc)
    if shutil.which("lsof"):
        return _by_lsof(port)
    return ""


def _by_proc(port: int, proc: Path) -> str:
    inodes = set(_listening_inodes(port, proc))
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    name = (process / "comm").read_text("utf-8", "replace").strip()
                    return f"pid {process.name} ({name})"
    return ""


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{fields[9]}]"


def _by_lsof(port: int) -> str:
    """macOS. Never run here."""
    command = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = {line[:1]: line[1:] for line in said.stdout.splitlines() if line}
    return f"pid {found['p']} ({found.get('c', '?')})" if "p" in found else ""

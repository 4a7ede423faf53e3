"""What the figures depend on: the machine, its load, and the versions of everything that took part."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import ssl
import subprocess
from pathlib import Path

import nginx
import wrk
from running import ROOT

OURS = ("trio", "httptools", "h11", "httpx", "hypercorn", "quart-trio", "msgspec")


def said(*command: str) -> str:
    """The first line that a program prints; "" when it is not there or prints nothing."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=20, cwd=ROOT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else ""


def commit() -> str:
    """Which state of the sources was measured."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return "an unknown commit"
    found = said("git", "rev-parse", "--short=10", "HEAD") or "an unknown commit"
    changed = said("git", "status", "--porcelain", "--untracked-files=no", "--", *_CODE)
    return f"{found}{', with changes' if changed else ''}"


_CODE = ("actors", "protocol", "server", "supervisor", "requirements")


def load_average() -> str:
    """Over one, five and fifteen minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def missing() -> list[str]:
    """What is not installed, what is left out for it, and where it comes from."""
    found = []
    if not nginx.found():
        found.append(
            "nginx is missing (Debian: apt install nginx-light): a slower upstream takes its place, "
            "and nothing is measured with TLS"
        )
    if not wrk.found():
        found.append(
            "wrk is missing (Debian: apt install wrk): a slower client takes its place, so that "
            "requests/s and events/s are too low"
        )
    if not shutil.which("node"):
        found.append("Node is missing (Debian: apt install nodejs): there is no bare Node pipe")
    return found


def described() -> list[str]:
    """Lines of a list in Markdown, without the load average."""
    return [
        (
            f"- {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, llm-supervisor "
            f"{_version('llm-supervisor')} at {commit()}"
        ),
        (
            f"- {_cores()} cores for everything together ({_processor()}), {_memory()}, "
            f"{platform.system()} {platform.release()} {platform.machine()}"
        ),
        f"- {platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}, "
        + ", ".join(f"{name} {_version(name)}" for name in OURS),
        "- "
        + ", ".join(
            what
            for what in (
                said(nginx.found() or "nginx", "-v").replace("nginx version: ", ""),
                said("wrk", "-v").partition(" [")[0],
                f"Node {said('node', '--version')}" if shutil.which("node") else "",
            )
            if what
        ),
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "a processor that does not say its name"


def _memory() -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / 2**30:.0f} GB of memory"

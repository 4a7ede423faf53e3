"""The load: wrk, a client that is never the slow part (Debian: `apt install wrk`)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import recorded
from figures import Load, of_wrk
from running import Failed

_SCRIPT = """\
wrk.method = "POST"
wrk.path = "{path}"
wrk.headers["content-type"] = "application/json"
wrk.headers["anthropic-version"] = "2023-06-01"
wrk.headers["x-api-key"] = "made-up"
{headers}local file = io.open("{body}", "rb")
wrk.body = file:read("*all")
file:close()
"""


def found() -> str | None:
    """The program, where it is installed."""
    return shutil.which("wrk")


def run(
    url: str,
    home: Path,
    *,
    answer: str,
    request_bytes: int,
    connections: int,
    seconds: float,
    prefix: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> Load:
    """Asks `url` for `answer` on so many connections for so long. Raises Failed."""
    home.mkdir(parents=True, exist_ok=True)
    body, script = home / "body.json", home / "post.lua"
    body.write_bytes(recorded.question(request_bytes, stream=answer.endswith(".sse")))
    more = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers)
    path = f"{prefix}/v1/messages?answer={answer}"
    script.write_text(_SCRIPT.format(path=path, body=body, headers=more), "utf-8")
    program = found()
    if program is None:
        raise Failed("wrk is not installed")
    command = [
        program,
        "-t1",
        f"-c{connections}",
        f"-d{max(round(seconds), 1)}s",
        "--timeout=30s",
        "--latency",
    ]
    done = subprocess.run(
        [*command, "-s", str(script), url],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode:
        raise Failed(f"wrk: {done.stderr or done.stdout}")
    load = of_wrk(done.stdout)
    if load is None:
        raise Failed(f"wrk said something unforeseen: {done.stdout}")
    return load

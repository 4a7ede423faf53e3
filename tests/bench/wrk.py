"""The load: wrk, a client that is never the slow part (Debian: `apt install wrk`)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from running import Failed

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_PERCENTILE = re.compile(r"^\s+(50|99)(?:\.\d+)?%\s+([\d.]+)(us|ms|s|m)$", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_COUNT = re.compile(r"^\s+(\d+) requests in ", re.MULTILINE)
_ERRORS = re.compile(r"^\s+(?:Socket errors|Non-2xx or 3xx responses): (.+)$", re.MULTILINE)

_SCRIPT = """\
wrk.method = "POST"
wrk.path = "/v1/messages?answer={answer}"
wrk.headers["content-type"] = "application/json"
wrk.headers["anthropic-version"] = "2023-06-01"
wrk.headers["x-api-key"] = "made-up"
local file = io.open("{body}", "rb")
wrk.body = file:read("*all")
file:close()
"""


@dataclass(frozen=True)
class Load:
    """What one run measured; latencies in seconds. `errors` is wrk's own line, "" without any."""

    requests: int
    per_second: float
    p50: float
    p99: float
    errors: str


def found() -> str | None:
    """The program, where it is installed."""
    return shutil.which("wrk")


def run(
    url: str, home: Path, *, answer: str, request_bytes: int, connections: int, seconds: float
) -> Load:
    """Asks `url` for `answer` on so many connections for so long. Raises Failed."""
    home.mkdir(parents=True, exist_ok=True)
    body, script = home / "body.json", home / "post.lua"
    request = {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "stream": answer.endswith(".sse"),
        "messages": [{"role": "user", "content": ""}],
    }
    padding = max(0, request_bytes - len(json.dumps(request)))
    request["messages"] = [{"role": "user", "content": "x" * padding}]
    body.write_text(json.dumps(request), "utf-8")
    script.write_text(_SCRIPT.format(answer=answer, body=body), "utf-8")
    program = found()
    if program is None:
        raise Failed("wrk is not installed")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout=30s", "--latency"]
    done = subprocess.run(
        [*command, "-s", str(script), url],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode:
        raise Failed(f"wrk: {done.stderr or done.stdout}")
    return parsed(done.stdout)


def parsed(output: str) -> Load:
    """What wrk printed. Raises Failed."""
    rate, count = _RATE.search(output), _COUNT.search(output)
    percentiles = {
        name: float(value) * _UNITS[unit] for name, value, unit in _PERCENTILE.findall(output)
    }
    if rate is None or count is None or "50" not in percentiles:
        raise Failed(f"wrk said something unforeseen: {output}")
    return Load(
        int(count[1]),
        float(rate[1]),
        percentiles["50"],
        percentiles["99"],
        "; ".join(_ERRORS.findall(output)),
    )

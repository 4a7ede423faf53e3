"""Text from outside in every place that is written down or shown: one event stays one line, and no
terminal is told anything (X4).

A program as a process, with the debug log and bodies on. Hostile are paths, headers, model names,
session ids, an account's metadata, a provider's name in the configuration, and what the upstream
answers, in errors, headers and streams.
"""

from __future__ import annotations

import json
import os
import pty
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import Answer, SeenRequest, text_stream
from tests.e2e.conftest import (
    Upstream,
    config,  # noqa: F401 - a fixture
    state,  # noqa: F401 - a fixture
    upstream,  # noqa: F401 - a fixture
)
from tests.kit.live import accounts
from tests.kit.process import Supervised, listening, pointed_at, started, write_config
from tests.kit.wire import Headers, Wire

EVIL = '\r\n{"at":"forged","status":200}\x1b[2J\x1b]0;pwned\x07\x9b31m\x85\u2028\u2029\x7f\x00'
PERCENT = "".join(f"%{byte:02X}" for byte in EVIL.encode("utf-8"))
ANSWERS = 9


def evil_answer(seen: SeenRequest) -> Answer:
    """Hostile in status, headers, error type and message; or in a stream's model."""
    try:
        asked = json.loads(seen.body)
    except ValueError:
        asked = {}
    if asked.get("stream") is True:
        return text_stream(EVIL, model=f"claude{EVIL}")
    error = {"type": f"invalid{EVIL}", "message": f"bad {EVIL}"}
    body = json.dumps({"type": "error", "error": error}).encode()
    headers = (
        ("content-type", "application/json"),
        ("request-id", "r\x85\x9b31m"),
        ("anthropic-ratelimit-unified-5h-utilization", "0.5"),
        ("anthropic-ratelimit-unified-5h-status", "a\x9b31m\x85"),
        ("anthropic-ratelimit-unified-representative-claim", "five\x85hour"),
    )
    status = 500 if asked.get("model") == "again" else 400
    return Answer(status=status, headers=headers, body=body)


def controls(text: str) -> list[str]:
    """What a terminal or a reader of lines could take for something else than text."""
    return [
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character != "\n"
    ]


def test_the_look_finds_what_it_is_to_find() -> None:
    """The control."""
    assert len(controls(EVIL)) >= 10
    assert controls('{"a": "é"}\n') == []


def requests() -> Iterator[tuple[str, Headers, bytes]]:
    """Target, headers and body of each request; every one is answered and logged."""
    hostile: Headers = [
        ("user-agent", "evil/1 \x85\x9b31m\xad"),
        ("x-claude-code-session-id", "s\x85\x9b31m"),
        ("x-claude-code-agent-id", '"},{"at":"forged"'),
        ("x-request-id", "no\x85good\x9b31m"),
        ("anthropic-beta", "b\x85,\x9b31m"),
        ("referer", "http://a/\x85"),
    ]
    model = {"model": f"claude{EVIL}", "messages": [{"role": "user", "content": EVIL}]}
    yield "/v1/messages", hostile, json.dumps(model).encode()
    yield "/v1/messages", hostile, json.dumps({**model, "stream": True}).encode()
    yield "/v1/messages", hostile, json.dumps({**model, "model": "again"}).encode()
    yield "/v1/messages", hostile, b'{"model":"\\ud83d' + EVIL.encode() + b'"}'
    yield "/v1/messages", [("x-account-name", "who\x85\x9b31m")], b"{}"
    yield f"/v1/files/{PERCENT}?{PERCENT}", hostile, b"{}"
    yield f"/nothing/{PERCENT}", hostile, b""
    yield "/v1/chat/completions", hostile, json.dumps(model).encode()
    yield "/v1/messages", [("origin", "http://evil\x85\x9b31m")], b"{}"


async def shown(state_directory: Path, *arguments: str) -> str:
    """What a command writes to a terminal; colours are taken out."""
    controller, terminal = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "60"}
    try:
        async with started(
            *arguments,
            command=("-m", "supervisor"),
            state=state_directory,
            stdin=terminal,
            stdout=terminal,
            environment=environment,
        ) as process:
            found = b""
            with trio.move_on_after(20):
                while process.process.poll() is None or _readable(controller):
                    if _readable(controller):
                        found += os.read(controller, 65536)
                    else:
                        await trio.sleep(0.02)
    finally:
        os.close(terminal)
        os.close(controller)
    text = found.decode("utf-8", "replace").replace("\r\n", "\n")
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])


@pytest.mark.promise("X4")
@pytest.mark.slow
async def test_what_others_write_is_text_wherever_we_write_it(
    upstream: Upstream,  # noqa: F811 - the fixture
    config: Path,  # noqa: F811
    state: Path,  # noqa: F811
) -> None:
    upstream.default(evil_answer)
    note = json.dumps(EVIL.replace("\x00", "").replace("\x7f", ""))
    more = (
        f'{accounts("a")}\nmetadata = {{ note = {note} }}\n[logs]\nlevel = "debug"\nbodies = true\n'
    )
    write_config(config, pointed_at(upstream.url, more))
    async with listening(config, "--no-client", state=state) as process:
        bodies = await ask_all(process)
        for target in ("/status", "/status/requests", "/status/accounts/a"):
            answered = await process.ask("GET", target)
            assert answered.status == 200
            bodies[target] = answered.body
        for line in json.loads(bodies["/status/requests"])["requests"]:
            one = await process.ask("GET", f"/status/requests/{line['request_id']}")
            bodies[f"request {line['request_id']}"] = one.body
        for arguments in (("status",), ("status", "--json"), ("check", str(config))):
            text = await shown(state, *arguments)
            assert "a" in text
            bodies[" ".join(arguments)] = text.encode()
        write_config(config, f"[server]\n{note} = 1\n")
        refused = await process.reload()
        assert refused.status == 422
        bodies["a refused reload"] = refused.body
        process.process.terminate()
        assert await process.ends() == 0
        said = process.stderr
    for place, body in bodies.items():
        assert controls(body.decode("utf-8")) == [], place
    for line in said.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", line), line
    assert controls(said) == []
    logged = written(state / "logs")
    assert len(logged["requests"]) == ANSWERS - 1, "all but the route that is not there"
    assert len(logged["debug"]) >= 5
    assert not any(line.get("at") == "forged" for lines in logged.values() for line in lines)


async def ask_all(process: Supervised) -> dict[str, bytes]:
    """Sends them all, and keeps what we authored."""
    bodies: dict[str, bytes] = {}
    count = 0
    for target, headers, body in requests():
        async with await Wire.to(process.url) as wire:
            answered = await wire.ask("POST", target, headers, body)
        count += 1
        ours = answered.header("x-supervisor-attempts") in (None, "0")
        if ours:
            bodies[f"{count} {target[:20]}"] = answered.body
    assert count == ANSWERS
    assert len(bodies) >= 3
    return bodies


def written(logs: Path) -> dict[str, list[Any]]:
    """Each log's lines; every one of them is JSON, in whatever way lines are told apart."""
    found: dict[str, list[Any]] = {"requests": [], "debug": []}
    for path in logs.glob("*.jsonl"):
        data = path.read_bytes()
        text = data.decode("utf-8")
        assert controls(text) == [], path.name
        assert len(text.splitlines()) == data.count(b"\n")
        found[path.name.partition("-")[0]] += [json.loads(line) for line in text.splitlines()]
    return found

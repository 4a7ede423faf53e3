"""The debug log in the whole program, in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from actors.mailbox import Mailbox
from actors.messages import DebugLine, JournalMessage, RequestLine
from server.attempt_trace import ROOM_FOR_REQUESTS, About, AttemptTrace, Detail
from server.scripted import (
    ScriptedUpstream,
    error,
    openai_error,
    rate_limited,
    reply_to,
    reset_before_head,
    stall_before_head,
    text_message,
)
from server.upstream_port import UpstreamRequest
from tests.kit.http_client import MemoryClient
from tests.kit.memory_disk import MemoryDisk
from tests.kit.program import RunningProgram, program_in_memory

ACCOUNTS = """
[[account]]
name = "first"
api_key = "credential-of-first"
[[account]]
name = "second"
token = "credential-of-second"
"""
DEBUG = '[logs]\nlevel = "debug"\n'
BODIES = "[logs]\nbodies = true\n"


async def ask(program: RunningProgram, content: str = "my-prompt", **headers: str) -> int:
    client = MemoryClient(await program.connect())
    turns = [{"role": "user", "content": content}]
    body = {"model": "claude-x", "max_tokens": 9, "messages": turns}
    status = (await client.post("/v1/messages", body, headers)).status
    await client.leave()
    await trio.sleep(1)
    return status


def files(program: RunningProgram, kind: str) -> list[str]:
    disk = program.parts.disk
    assert isinstance(disk, MemoryDisk)
    found = [data for path, data in disk.files.items() if path.name.startswith(kind)]
    return b"".join(found).decode().splitlines()


def debug(program: RunningProgram) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files(program, "debug-")]


async def test_each_attempt_is_a_line_with_its_headers_masked(autojump_clock: object) -> None:
    upstream = ScriptedUpstream(
        scripts={
            "credential-of-first": [rate_limited(retry_after=3000)],
            "credential-of-second": [text_message("my-answer")],
        }
    )
    async with program_in_memory(ACCOUNTS + DEBUG, upstream) as program:
        assert await ask(program, **{"x-request-id": "one", "x-api-key": "key-of-a-client"}) == 200
        first, second = debug(program)
        assert [line["request_id"] for line in (first, second)] == ["one", "one"]
        assert [line["attempt"] for line in (first, second)] == [1, 2]
        assert [line["account"] for line in (first, second)] == ["first", "second"]
        assert [line["status"] for line in (first, second)] == [429, 200]
        assert ["retry-after", "3000"] in first["response_headers"]
        assert ["x-api-key", "***"] in first["request_headers"]
        assert ["authorization", "***"] in second["request_headers"]
        assert second["bytes_received"] > 0
        text = "\n".join(files(program, ""))
        for hidden in ("credential-of", "key-of-a-client", "my-prompt", "my-answer"):
            assert hidden not in text


async def test_bodies_are_there_for_the_asking_only_and_credentials_not_even_then(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream(lambda seen: error(400, message=f"you sent {seen.credential}"))
    async with program_in_memory(ACCOUNTS + BODIES, upstream) as program:
        assert await ask(program, "my-prompt, and credential-of-first") == 400
        (line,) = debug(program)
        assert "my-prompt, and ***" in line["request_body"]
        assert "you sent ***" in line["response_body"]
        assert "credential-of" not in "\n".join(files(program, ""))


@pytest.mark.parametrize("logs", ["", '[logs]\nlevel = "info"\n'])
async def test_without_being_asked_for_there_is_no_debug_log(
    logs: str, autojump_clock: object
) -> None:
    async with program_in_memory(ACCOUNTS + logs, ScriptedUpstream()) as program:
        assert await ask(program) == 200
        assert files(program, "debug-") == []
        assert len(files(program, "requests-")) == 1


async def test_it_is_turned_on_while_running(autojump_clock: object) -> None:
    async with program_in_memory(ACCOUNTS, ScriptedUpstream()) as program:
        assert await ask(program) == 200
        program.change(f'{ACCOUNTS}{DEBUG}[upstream]\nbase_url = "http://api.test"\n')
        client = MemoryClient(await program.connect())
        assert (await client.post("/status/reload", b"")).status == 200
        assert await ask(program) == 200
        assert len(debug(program)) == 1


async def test_a_fault_and_a_client_that_left_are_told_from_a_good_end(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream([reset_before_head(), text_message("x")])
    async with program_in_memory(ACCOUNTS + DEBUG, upstream) as program:
        assert await ask(program) == 200
        upstream.default(stall_before_head())
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model":"m","messages":[]}')
        await trio.sleep(5)
        await client.leave()
        await trio.sleep(5)
        ends = [line.get("ended", "complete") for line in debug(program)]
        assert ends == ["disconnect", "complete", "left"]


@pytest.mark.promise("X4")
async def test_lines_cannot_be_forged(autojump_clock: object) -> None:
    """Control characters in a path, headers, the model and an upstream's error (X4)."""
    nasty = '\u2028\x85 "},\x1b[2J\\r\\n'
    upstream = ScriptedUpstream(lambda seen: error(400, message=f"bad\r\n\u2028\x00{nasty}"))
    async with program_in_memory(ACCOUNTS + DEBUG + "bodies = true\n", upstream) as program:
        for number in range(5):
            client = MemoryClient(await program.connect())
            document = {"model": f"m{nasty}", "messages": [{"role": "user", "content": nasty}]}
            headers = {"user-agent": "a\xa0b\xff", "x-claude-code-session-id": f"s{number}\x80"}
            target = "/v1/messages?a=%0d%0a%00%1b"
            assert (await client.post(target, document, headers)).status == 400
            await client.leave()
        await trio.sleep(1)
        for kind in ("requests-", "debug-"):
            lines = files(program, kind)
            assert len(lines) == 5
            for line in lines:
                json.loads(line)
                assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in line)
                assert not {"\u2028", "\u2029"} & set(line)


class Broken:
    """An upstream that is never asked."""

    def send(self, request: UpstreamRequest) -> Any:
        raise AssertionError


async def test_lines_of_requests_go_first_and_what_found_no_room_is_counted() -> None:
    journal: Mailbox[JournalMessage] = Mailbox("journal", capacity=1024)
    trace = AttemptTrace(journal, lambda: Detail(attempts=True), lambda: 0.0)

    async def attempt() -> None:
        with pytest.raises(AssertionError):
            async with trace.watch(Broken(), About("r", "a", 1)).send(
                UpstreamRequest("POST", b"/", [], b"")
            ):
                pass

    inbox = journal.open_inbox()
    for _ in range(ROOM_FOR_REQUESTS + 7):
        await attempt()
    assert (journal.depth, trace.dropped) == (ROOM_FOR_REQUESTS, 7)
    assert journal.tell_nowait(RequestLine("", "x", "POST", "/")), "there is room for a request"
    inbox.receive_waiting(1024)
    await attempt()
    await attempt()
    lines = [envelope.message for envelope in inbox.receive_waiting(1024)]
    assert [line.dropped for line in lines if isinstance(line, DebugLine)] == [7, 0]


PROVIDERS = """
[[provider]]
name = "other"
base_url = "http://openai.test/v1"
api_key = "credential-of-other"
headers = { X-Team = "credential-of-team" }
[[provider]]
name = "moon"
dialect = "anthropic"
base_url = "http://moon.test/anthropic"
api_key = "credential-of-moon"
[[fallback]]
provider = "other"
model = "gpt-5"
[[fallback]]
provider = "moon"
model = "kimi-3"
"""


async def test_attempts_at_providers_are_lines_too_and_tell_no_key(autojump_clock: object) -> None:
    upstream = ScriptedUpstream(
        lambda seen: rate_limited(retry_after=3000),
        scripts={
            "credential-of-other": openai_error(503, "busy, credential-of-other"),
            "credential-of-moon": reply_to,
        },
    )
    config = ACCOUNTS + BODIES + PROVIDERS
    async with program_in_memory(config, upstream) as program:
        assert await ask(program, **{"x-request-id": "one"}) == 200
        *_, other, moon = debug(program)
        assert [(one["account"], one["provider"]) for one in (other, moon)] == [
            ("", "other"),
            ("", "moon"),
        ]
        assert [(one["attempt"], one["status"]) for one in (other, moon)] == [(3, 503), (4, 200)]
        assert [one["request_id"] for one in (other, moon)] == ["one", "one"]
        assert ["authorization", "***"] in other["request_headers"]
        assert ["x-team", "***"] in other["request_headers"]
        assert '"gpt-5"' in other["request_body"]
        assert "credential-of" not in "\n".join(files(program, ""))

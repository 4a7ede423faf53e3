"""A provider serves when the accounts cannot, and the client notices nothing but a header."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from protocol.sse import EventScanner
from protocol.translation.collect import collect
from protocol.translation.grammar import Grammar
from protocol.usage import Usage
from server.record import Record
from server.scripted import (
    Answer,
    Cut,
    Pause,
    ScriptedUpstream,
    SeenRequest,
    Send,
    error,
    gemini_error,
    gemini_reply,
    no_answer,
    openai_error,
    openai_reply,
    overloaded,
    rate_limited,
    reply_to,
    server_error,
    text_block,
    tool_use_block,
    unauthorized,
)
from server.scripted.answers import Source
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import RunningProgram, program_in_memory

ACCOUNT = '[[account]]\nname = "first"\napi_key = "key-first"\n[cooldown]\nauth = 5\n'
OPENAI = """
[[provider]]
name = "other"
base_url = "http://openai.test/v1"
api_key = "key-other"
models = ["gpt-5"]
"""
GEMINI = """
[[provider]]
name = "google"
dialect = "gemini"
base_url = "http://gemini.test"
api_key = "key-google"
models = ["gemini-3-pro"]
"""
COMPATIBLE = """
[[provider]]
name = "moon"
dialect = "anthropic"
base_url = "http://moon.test/anthropic"
api_key = "key-moon"
models = ["kimi-3"]
"""
TO_OPENAI = OPENAI + '[[fallback]]\nprovider = "other"\nmodel = "gpt-5"\n'
TO_GEMINI = GEMINI + '[[fallback]]\nprovider = "google"\nmodel = "gemini-3-pro"\n'
TO_COMPATIBLE = COMPATIBLE + '[[fallback]]\nprovider = "moon"\nmodel = "kimi-3"\n'

CLIENT = {
    "anthropic-version": "2026-10-21",
    "anthropic-beta": "oauth-2025-04-20,context-1m-2025-08-07",
    "authorization": "Bearer of-the-client",
    "x-claude-code-session-id": "s-1",
}
MESSAGE: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 99,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1"},
        {"type": "text", "text": "Be brief."},
    ],
    "messages": [{"role": "user", "content": "hi"}],
    "metadata": {"user_id": "user-1"},
}
STREAM = {**MESSAGE, "stream": True}
DRY = rate_limited(retry_after=300)


def upstream(accounts: Source, foreign: Source) -> ScriptedUpstream:
    """One server for both: whoever brings the account's key gets `accounts`."""
    made = ScriptedUpstream(foreign)
    made.script("key-first", accounts)
    return made


async def ask(
    program: RunningProgram, document: object = MESSAGE, path: str = "/v1/messages", **more: str
) -> Received:
    client = MemoryClient(await program.connect())
    return await client.post(path, document, {**CLIENT, **more})


async def line(program: RunningProgram) -> dict[str, Any]:
    client = MemoryClient(await program.connect())
    answer: Any = (await client.get("/status/requests")).json()
    found: dict[str, Any] = answer["requests"][0]
    return found


async def status(program: RunningProgram) -> dict[str, Any]:
    client = MemoryClient(await program.connect())
    found: Any = (await client.get("/status")).json()
    assert isinstance(found, dict)
    return found


def collected(answer: Received) -> dict[str, Any]:
    """The message of a stream that is well formed."""
    events, grammar = [], Grammar()
    for event in EventScanner(10_000_000).feed(answer.body):
        data = msgspec.json.decode(event.data)
        assert event.name == data["type"]
        grammar.feed(data)
        events.append(data)
    grammar.finish()
    return collect(events)


def foreign_requests(server: ScriptedUpstream) -> list[SeenRequest]:
    return [seen for seen in server.requests if seen.credential != "key-first"]


@pytest.mark.parametrize(
    "failure",
    [
        DRY,
        rate_limited(),
        unauthorized(),
        server_error(500),
        overloaded(),
        no_answer(),
    ],
)
@pytest.mark.parametrize(
    ("config", "foreign", "served"),
    [
        (TO_OPENAI, openai_reply(text_block("Hello.")), "other/gpt-5"),
        (TO_GEMINI, gemini_reply(text_block("Hello.")), "google/gemini-3-pro"),
    ],
)
async def test_a_provider_answers_when_the_account_cannot(
    failure: Answer, config: str, foreign: Source, served: str, autojump_clock: object
) -> None:
    async with program_in_memory(ACCOUNT + config, upstream(failure, foreign)) as program:
        whole = await ask(program)
        of_whole = await line(program)
        streamed = await ask(program, STREAM)
        written = await line(program)
    message: Any = whole.json()
    assert whole.status == streamed.status == 200
    assert message["content"] == [{"type": "text", "text": "Hello."}]
    assert message["usage"]["input_tokens"] == 30
    assert collected(streamed)["content"] == message["content"]
    assert whole.header("x-supervisor-fallback") == served
    assert whole.header("x-supervisor-account") is None
    assert (written["provider"], written["served_model"]) == tuple(served.split("/"))
    for told in (of_whole, written):
        assert (told["account"], told["status"], told["terminal"]) == (None, 200, "complete")
    assert (written["input_tokens"], written["output_tokens"]) == (30, 7)
    assert written["reason"].startswith(f"fallback: {served}")
    assert written["model"] == "claude-x"


async def test_without_a_fallback_the_client_gets_the_accounts_own_answer(
    autojump_clock: object,
) -> None:
    """The control: the same program, less the fallback."""
    server = upstream(DRY, openai_reply())
    async with program_in_memory(ACCOUNT + OPENAI, server) as program:
        answer = await ask(program)
    assert (answer.status, answer.body) == (429, DRY.body)
    assert foreign_requests(server) == []


@pytest.mark.promise("X6")
@pytest.mark.parametrize("config", [TO_OPENAI, TO_GEMINI, TO_COMPATIBLE])
async def test_nothing_of_the_client_and_of_the_accounts_reaches_a_provider(
    config: str, autojump_clock: object
) -> None:
    server = upstream(DRY, reply_to)
    async with program_in_memory(ACCOUNT + config, server) as program:
        await ask(program)
    (seen,) = foreign_requests(server)
    told = repr(seen.headers) + seen.body.decode()
    for secret in ("of-the-client", "key-first", "billing-header", "oauth-2025", "context-1m"):
        assert secret not in told
    assert seen.header("x-claude-code-session-id") is None
    assert seen.header("anthropic-beta") is None
    assert "Be brief." in told


async def test_an_anthropic_provider_gets_the_same_body_with_its_own_models_name(
    autojump_clock: object,
) -> None:
    server = upstream(DRY, reply_to)
    body = (
        b'{ "max_tokens" : 9,"model":"claude-x", "messages":[{"role":"user","content":"\\u00e9"}] }'
    )
    async with program_in_memory(ACCOUNT + TO_COMPATIBLE, server) as program:
        answer = await ask(program, body)
    (seen,) = foreign_requests(server)
    assert (answer.status, answer.header("x-supervisor-fallback")) == (200, "moon/kimi-3")
    assert seen.path == "/anthropic/v1/messages"
    assert seen.body == body.replace(b"claude-x", b"kimi-3")
    assert (seen.api_key, seen.bearer) == ("key-moon", None)
    assert seen.header("anthropic-version") == "2023-06-01"


async def test_a_request_that_is_wrong_itself_never_goes_to_a_provider(
    autojump_clock: object,
) -> None:
    refusal = error(400, message="messages: Field required")
    server = upstream(refusal, openai_reply())
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        answer = await ask(program)
        malformed = await ask(program, b'{"model": "gpt-5", ')
    assert (answer.status, answer.body) == (400, refusal.body)
    assert (malformed.status, server.requests[-1].body) == (400, b'{"model": "gpt-5", ')
    assert foreign_requests(server) == []


@pytest.mark.parametrize(
    "failure",
    [
        openai_error(500, "broken"),
        openai_error(401, "Incorrect API key provided"),
        openai_error(429, "slow down"),
        openai_error(404, "no such model"),
        no_answer(),
        Answer(status=302, headers=(("location", "http://elsewhere.test/"),)),
        Answer(body=b"<html>"),
        Answer(headers=(("content-type", "text/event-stream"),), body=b'data: {"error": {}}\n\n'),
        Answer(headers=(("content-type", "text/event-stream"),), body=b""),
    ],
)
async def test_if_all_fail_the_client_sees_the_first_choices_own_answer(
    failure: Answer, autojump_clock: object
) -> None:
    server = upstream(DRY, failure)
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        whole, streamed = await ask(program), await ask(program, STREAM)
        written = await line(program)
    assert (whole.status, whole.body) == (429, DRY.body)
    assert streamed.status == 429  # by now the account rests: an answer of ours
    assert whole.header("x-supervisor-account") == "first"
    assert whole.header("x-supervisor-fallback") is None
    assert len(foreign_requests(server)) >= 1
    assert (written["provider"], written["status"]) == (None, 429)


async def test_the_next_fallback_serves_when_the_first_cannot(autojump_clock: object) -> None:
    def foreign(seen: SeenRequest) -> Answer:
        if "generatecontent" in seen.path.lower():
            return gemini_reply(text_block("From the second."))(seen)
        return openai_error(503, "busy")

    server = upstream(DRY, foreign)
    config = ACCOUNT + OPENAI + GEMINI
    for provider, model in (("other", "gpt-5"), ("google", "gemini-3-pro")):
        config += f'[[fallback]]\nprovider = "{provider}"\nmodel = "{model}"\n'
    async with program_in_memory(config, server) as program:
        answer = await ask(program, STREAM)
        written = await line(program)
        fallback = (await status(program))["fallback"]
    assert collected(answer)["content"] == [{"type": "text", "text": "From the second."}]
    assert answer.header("x-supervisor-fallback") == "google/gemini-3-pro"
    assert answer.header("x-supervisor-attempts") == "3"
    assert written["attempts"] == 3
    assert [(one["provider"], one["state"]) for one in fallback] == [
        ("other", "cooling"),
        ("google", "available"),
    ]


async def test_what_only_the_client_can_mend_is_told_in_the_providers_words(
    autojump_clock: object,
) -> None:
    """Too long for the fallback: Claude Code knows these words and compacts the conversation."""
    words = "This model's maximum context length is 128000 tokens."
    server = upstream(DRY, openai_error(400, words))
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        answer = await ask(program)
        unknown = await ask(program, {**MESSAGE, "safeguards": {"a": 1}})
    told: Any = answer.json()
    assert (answer.status, told["error"]) == (
        400,
        {"type": "invalid_request_error", "message": words},
    )
    mended: Any = unknown.json()
    assert mended["error"]["message"] == "safeguards: Extra inputs are not permitted"


async def test_a_limited_provider_is_left_alone_for_as_long_as_it_said(
    autojump_clock: object,
) -> None:
    limited = gemini_error(429, "RESOURCE_EXHAUSTED", "quota", retry_delay="40s")
    server = upstream(DRY, limited)
    async with program_in_memory(ACCOUNT + TO_GEMINI, server) as program:
        await ask(program)
        await trio.sleep(30)
        await ask(program)
        assert len(foreign_requests(server)) == 1
        (cooling,) = (await status(program))["fallback"]
        assert (cooling["state"], cooling["reason"]) == ("cooling", "limited")
        server.default(gemini_reply())
        await trio.sleep(11)
        assert (await ask(program)).status == 200
        (available,) = (await status(program))["fallback"]
        assert available["state"] == "available"


@pytest.mark.promise("U4")
async def test_a_client_hears_something_while_a_provider_thinks(autojump_clock: object) -> None:
    """A minute before the head, and another before the first content."""

    def slow(seen: SeenRequest) -> Answer:
        made = openai_reply(text_block("At last."))(seen)
        steps = made.steps()
        paused = (steps[0], Pause(60), *steps[1:])
        return msgspec.structs.replace(made, parts=paused, delay=60.0)

    server = upstream(DRY, slow)
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        client = MemoryClient(await program.connect())
        began = trio.current_time()
        await client.send("POST", "/v1/messages", msgspec.json.encode(STREAM), CLIENT)
        answer = await client.receive_head()
        assert trio.current_time() - began < 16
        longest, last = 0.0, trio.current_time()
        while await client.receive_more(answer):
            longest, last = max(longest, trio.current_time() - last), trio.current_time()
    assert longest <= 15.1
    assert answer.body.count(b"event: ping") >= 6
    assert collected(answer)["content"] == [{"type": "text", "text": "At last."}]


async def test_a_stream_that_breaks_off_ends_with_an_error_event(autojump_clock: object) -> None:
    def broken(seen: SeenRequest) -> Answer:
        return openai_reply(text_block("Hello there."))(seen).interrupted(2)

    server = upstream(DRY, broken)
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        answer = await ask(program, STREAM)
        written = await line(program)
    assert (answer.status, answer.complete) == (200, True)
    assert EventScanner().feed(answer.body)[-1].name == "error"
    assert written["terminal"] == "upstream_closed"


async def test_a_tool_call_and_its_result_pass_both_ways(autojump_clock: object) -> None:
    call = tool_use_block("Bash", {"command": "ls"}, tool_id="call_1")
    server = upstream(DRY, gemini_reply(call, signature="c2ln"))
    tools = [{"name": "Bash", "input_schema": {"type": "object", "properties": {}}}]
    async with program_in_memory(ACCOUNT + TO_GEMINI, server) as program:
        first = await ask(program, {**STREAM, "tools": tools})
        said = collected(first)["content"]
        result = {"type": "tool_result", "tool_use_id": said[0]["id"], "content": "a.txt"}
        turns = [
            *MESSAGE["messages"],
            {"role": "assistant", "content": said},
            {"role": "user", "content": [result]},
        ]
        await ask(program, {**STREAM, "tools": tools, "messages": turns})
        server.script("key-first", reply_to)
        await trio.sleep(400)
        back = await ask(program, {**MESSAGE, "tools": tools, "messages": turns})
    sent: Any = foreign_requests(server)[-1].json()
    assert sent["contents"][1]["parts"][0]["thoughtSignature"] == "c2ln"
    assert sent["contents"][2]["parts"][0]["functionResponse"]["response"] == {"output": "a.txt"}
    assert back.header("x-supervisor-account") == "first"
    returned: Any = server.requests[-1].json()
    assert returned["messages"][1]["content"] == [
        {key: value for key, value in said[0].items() if key != "extra_content"}
    ]


async def test_an_account_asked_for_by_name_has_no_fallback(autojump_clock: object) -> None:
    server = upstream(DRY, openai_reply())
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        answer = await ask(program, **{"x-account-name": "first"})
    assert answer.status == 429
    assert foreign_requests(server) == []


async def test_a_client_that_leaves_ends_the_providers_work(autojump_clock: object) -> None:
    endless = Answer(
        headers=(("content-type", "text/event-stream"),),
        parts=(Send(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'), Pause(9999)),
    )
    server = upstream(DRY, endless)
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", msgspec.json.encode(STREAM), CLIENT)
        answer = await client.receive_head()
        await client.receive_more(answer)
        await client.leave()
        with trio.fail_after(5):
            await foreign_requests(server)[0].left.wait()
            await trio.sleep(1)
        written = await line(program)
    assert (written["status"], written["terminal"], written["provider"]) == (
        499,
        "client_closed",
        "other",
    )


async def test_a_stream_that_was_held_open_for_an_account_can_end_at_a_provider(
    autojump_clock: object,
) -> None:
    """The head has gone out by then; the answer follows on the same stream."""
    dry = [rate_limited(retry_after=20), rate_limited(retry_after=300)]
    server = ScriptedUpstream(openai_reply(text_block("At last.")))
    server.script("key-first", *dry)
    async with program_in_memory(
        ACCOUNT + TO_OPENAI + "[routing]\nmax_hold = 60\n", server
    ) as program:
        answer = await ask(program, STREAM)
        written = await line(program)
    assert answer.body.startswith(b"event: ping")
    assert collected(answer)["content"] == [{"type": "text", "text": "At last."}]
    assert written["provider"] == "other"


async def test_a_client_with_a_login_of_its_own_is_told_that_it_was_refused(
    autojump_clock: object,
) -> None:
    """It renews it then; a fallback would hide that. A limit is another matter."""
    server = ScriptedUpstream(openai_reply(text_block("Instead.")))
    server.script("of-the-client", unauthorized())
    async with program_in_memory(TO_OPENAI, server) as program:
        refused = await ask(program)
        server.script("of-the-client", DRY)
        limited = await ask(program)
    assert refused.status == 401
    assert (limited.status, limited.header("x-supervisor-fallback")) == (200, "other/gpt-5")
    assert "of-the-client" not in repr(server.requests[-1].headers)


async def test_the_explanation_names_the_providers_attempts(autojump_clock: object) -> None:
    server = upstream(DRY, openai_error(503, "busy"))
    config = ACCOUNT + OPENAI + GEMINI
    for provider, model in (("other", "gpt-5"), ("google", "gemini-3-pro")):
        config += f'[[fallback]]\nprovider = "{provider}"\nmodel = "{model}"\n'
    async with program_in_memory(config, server) as program:
        await ask(program, **{"x-request-id": "one"})
        client = MemoryClient(await program.connect())
        told: Any = (await client.get("/status/requests/one")).json()
    steps = [one for one in told["explanation"]["steps"] if one["step"] == "attempt"]
    assert [(one["account"], one["outcome"], one["reason"]) for one in steps] == [
        ("first", "failed", "rate_limited"),
        ("other/gpt-5", "failed", "server"),
        ("google/gemini-3-pro", "failed", "server"),
    ]
    assert steps[1]["detail"] == "503 overloaded_error busy"


async def test_a_key_that_a_provider_repeats_is_masked(autojump_clock: object) -> None:
    server = upstream(
        DRY, openai_error(400, "bad: key-other-0123456789 and sk-proj-abcdefghijklmn")
    )
    config = (ACCOUNT + TO_OPENAI).replace('"key-other"', '"key-other-0123456789"')
    async with program_in_memory(config, server) as program:
        answer = await ask(program)
        written = await line(program)
    for told in (answer.body.decode(), str(written)):
        assert "0123456789" not in told
        assert "abcdefghijklmn" not in told
    assert answer.status == 400


@pytest.mark.parametrize("config", [TO_OPENAI, TO_GEMINI])
async def test_a_call_as_large_as_a_file_arrives_whole(config: str, autojump_clock: object) -> None:
    """Gemini gives a call in one event: all of a file that is to be written."""
    file = {"content": "x" * 3_000_000}
    call = tool_use_block("Write", file, tool_id="call_1")
    reply = gemini_reply(call) if config is TO_GEMINI else huge_openai_call(file)
    async with program_in_memory(ACCOUNT + config, upstream(DRY, reply)) as program:
        (block,) = collected(await ask(program, STREAM))["content"]
    assert block["input"] == file


async def test_an_event_without_end_breaks_the_stream_visibly(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.provider_attempt.WHOLE_BYTES_MAX", 10_000)
    reply = huge_openai_call({"content": "x" * 20_000}, before="Hello.")
    async with program_in_memory(ACCOUNT + TO_OPENAI, upstream(DRY, reply)) as program:
        answer = await ask(program, STREAM)
    last = EventScanner().feed(answer.body)[-1]
    assert last.name == "error"
    assert b"too large" in last.data


def huge_openai_call(document: object, before: str = "") -> Answer:
    arguments = msgspec.json.encode(document).decode()
    call = {"index": 0, "id": "call_1", "function": {"name": "Write", "arguments": arguments}}
    deltas = [{"content": before}, {"tool_calls": [call]}]
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    body = b"".join(b"data: " + msgspec.json.encode(one) + b"\n\n" for one in chunks)
    return Answer(headers=(("content-type", "text/event-stream"),), body=body)


@pytest.mark.parametrize("complete", [False, True])
async def test_the_usage_of_a_stream_that_broke_off_is_marked_as_such(
    complete: bool, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last numbers told are booked once (`peers.md` P19), and not as the final ones."""
    counted = b'"usage":{"prompt_tokens":10,"completion_tokens":3}'
    events = tuple(
        Send(b'data: {"choices":[{"delta":{"content":"x"}}],' + counted + b"}\n\n")
        for _ in range(3)
    )
    end = (
        Send(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n') if complete else Cut()
    )
    stream = Answer(headers=(("content-type", "text/event-stream"),), parts=(*events, end))
    seen: list[Usage] = []
    monkeypatch.setattr(Record, "over", _noting(seen))
    async with program_in_memory(ACCOUNT + TO_OPENAI, upstream(DRY, stream)) as program:
        await ask(program, STREAM)
        written = await line(program)
    assert (written["input_tokens"], written["output_tokens"]) == (10, 3)
    assert seen[0].partial is not complete


def _noting(seen: list[Usage]) -> Any:
    over = Record.over

    def noting(record: Record) -> Any:
        seen.append(record.usage)
        return over(record)

    return noting

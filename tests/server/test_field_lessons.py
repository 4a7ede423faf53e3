"""What goes wrong with translating proxies in the field, each lesson a test of its own (`peers.md` 3 C).

Most are also held in detail elsewhere; here each is seen through the whole program.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
import trio

from protocol.translation.schema import cleaned
from server.scripted import (
    Answer,
    ScriptedUpstream,
    SeenRequest,
    gemini_reply,
    openai_error,
    openai_reply,
    rate_limited,
    reply_to,
    reply_with,
    text_block,
    thinking_block,
    tool_use_block,
)
from tests.kit import corpus
from tests.kit.http_client import MemoryClient
from tests.kit.program import program_in_memory
from tests.kit.rounds import rounds
from tests.protocol.translation.test_schema import strict
from tests.server.test_fallback import (
    ACCOUNT,
    CLIENT,
    COMPATIBLE,
    DRY,
    GEMINI,
    MESSAGE,
    OPENAI,
    STREAM,
    TO_COMPATIBLE,
    TO_GEMINI,
    TO_OPENAI,
    ask,
    collected,
    foreign_requests,
    line,
    upstream,
)

BASH = {"name": "Bash", "input_schema": {"type": "object", "properties": {}}}


def calls(count: int) -> list[dict[str, Any]]:
    return [
        tool_use_block("Bash", {"command": f"ls {place}"}, tool_id=f"call_{place}")
        for place in range(count)
    ]


def streamed(*pieces: bytes) -> Answer:
    return Answer(headers=(("content-type", "text/event-stream"),), body=b"".join(pieces))


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    document = {"choices": [{"delta": delta, "finish_reason": finish}], **more}
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


@pytest.mark.parametrize("config", [TO_OPENAI, TO_GEMINI])
async def test_p14_a_translated_stream_is_well_formed_and_says_what_the_whole_answer_says(
    config: str, autojump_clock: object
) -> None:
    reply = gemini_reply if config is TO_GEMINI else openai_reply
    blocks = (text_block("Look, é 漢 🦄:"), *calls(2))
    server = upstream(DRY, reply(*blocks))
    asked = {"tools": [BASH]}
    async with program_in_memory(ACCOUNT + config, server) as program:
        whole: Any = (await ask(program, {**MESSAGE, **asked})).json()
        stream = collected(await ask(program, {**STREAM, **asked}))
    names = ("content", "stop_reason", "usage", "model", "role")
    for message in (whole, stream):
        for block in message["content"]:
            block.pop("id", None)  # of Gemini's calls ours: another in each answer
    assert {name: stream[name] for name in names} == {name: whole[name] for name in names}
    assert [block["type"] for block in stream["content"]] == ["text", "tool_use", "tool_use"]


async def test_p14_the_first_delta_is_not_lost_and_data_without_an_event_name_is_read(
    autojump_clock: object,
) -> None:
    answer = streamed(
        b": OPENROUTER PROCESSING\r\n\r\n",
        chunk({"role": "assistant", "content": "First"}).replace(b"\n", b"\r\n"),
        chunk({"content": " last"}, "stop"),
    )
    async with program_in_memory(ACCOUNT + TO_OPENAI, upstream(DRY, answer)) as program:
        received = await ask(program, STREAM)
    assert collected(received)["content"] == [{"type": "text", "text": "First last"}]
    assert received.body.count(b"event: message_start") == 1


@pytest.mark.parametrize("count", [2, 8])
async def test_p15_results_follow_their_calls_in_order_with_images_behind_and_errors_marked(
    count: int, autojump_clock: object
) -> None:
    said = calls(count)
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
    }
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": f"out of {call['id']}"}
        for call in said
    ]
    results[0] |= {"is_error": True}
    results[1] |= {"content": [{"type": "text", "text": "a picture"}, picture]}
    turns = [
        *MESSAGE["messages"],
        {"role": "assistant", "content": said},
        {"role": "user", "content": list(reversed(results))},
    ]
    server = upstream(DRY, openai_reply(text_block("ok")))
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        assert (await ask(program, {**MESSAGE, "tools": [BASH], "messages": turns})).status == 200
    (seen,) = foreign_requests(server)
    sent: Any = seen.json()
    _, _, assistant, *tools, user = sent["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == [call["id"] for call in said]
    assert [one["tool_call_id"] for one in tools] == [call["id"] for call in said]
    assert tools[0]["content"] == "Error: out of call_0"
    assert user["content"][-1]["image_url"]["url"] == "data:image/png;base64,aGk="


async def test_p15_interleaved_deltas_are_put_in_order_and_an_orphan_is_refused_by_us_alone(
    autojump_clock: object,
) -> None:
    def part(index: int, arguments: str, **more: Any) -> bytes:
        function = {"arguments": arguments, **({"name": "Bash"} if more else {})}
        return chunk({"tool_calls": [{"index": index, "function": function, **more}]})

    mixed = streamed(
        *(part(index, "", id=f"call_{index}") for index in range(3)),
        *(part(index, '{"command":"ls') for index in (2, 0, 1)),
        *(part(index, f' {index}"}}') for index in (1, 2, 0)),
        chunk({}, "tool_calls"),
    )
    orphan = {"type": "tool_result", "tool_use_id": "nobodys", "content": "x"}
    turns = [{"role": "user", "content": [orphan]}]
    server = upstream(DRY, mixed)
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        content = collected(await ask(program, STREAM))["content"]
        refused = await ask(program, {**MESSAGE, "messages": turns, "model": "gpt-5"})
        server.script("key-first", reply_to)
        await trio.sleep(400)
        passed = await ask(program, {**MESSAGE, "messages": turns})
    assert content == calls(3)
    assert refused.status == 400
    assert "nobodys" in refused.body.decode()
    assert passed.status == 200
    home: Any = server.requests[-1].json()
    assert home["messages"] == turns  # the accounts' own upstream decides


ODD = (
    b'{ "z":1.50e0, "model" : "claude-x","max_tokens":9,"a":"\\u00e9\\/","a":"again",'
    b'"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"\\u0041",'
    b'"signature":"Er\\u0055B/+=="}]},{"role":"user","content":"hi"}] }'
)


async def test_p16_signed_thinking_reaches_the_accounts_byte_for_byte(
    autojump_clock: object,
) -> None:
    server = upstream(reply_with(thinking_block("Hm.", "sig")), openai_reply())
    async with program_in_memory(ACCOUNT + TO_OPENAI + COMPATIBLE, server) as program:
        answer = await ask(program, ODD)
    assert answer.status == 200
    (seen,) = server.requests
    assert hashlib.sha256(seen.body).digest() == hashlib.sha256(ODD).digest()


async def test_p16_foreign_reasoning_never_has_an_invented_signature(
    autojump_clock: object,
) -> None:
    thought = streamed(chunk({"reasoning_content": "Hm."}), chunk({"content": "Yes."}, "stop"))
    async with program_in_memory(ACCOUNT + TO_OPENAI, upstream(DRY, thought)) as program:
        content = collected(await ask(program, STREAM))["content"]
    assert content[0] == {"type": "thinking", "thinking": "Hm.", "signature": ""}


async def test_p17_every_real_tool_schema_reaches_gemini_in_the_subset_that_it_takes(
    autojump_clock: object,
) -> None:
    fixture = corpus.load("claude-code/tool_search_off")
    document: Any = json.loads(corpus.request_body(fixture, 0))
    server = upstream(DRY, gemini_reply(text_block("ok")))
    async with program_in_memory(ACCOUNT + TO_GEMINI, server) as program:
        assert (await ask(program, document)).status == 200
    (seen,) = foreign_requests(server)
    sent: Any = seen.json()
    (tools,) = sent["tools"]
    assert len(tools["functionDeclarations"]) == len(document["tools"]) > 15
    for declared, tool in zip(tools["functionDeclarations"], document["tools"], strict=True):
        strict(declared["parameters"])
        assert declared["parameters"] == cleaned(tool["input_schema"])


async def test_p18_tokens_are_counted_by_their_provider_else_estimated_above_and_always_told(
    autojump_clock: object,
) -> None:
    words = [{"role": "user", "content": "word " * 1000}]
    silent = streamed(chunk({"content": "Hi"}, "stop"))  # no usage at all
    server = upstream(DRY, silent)
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        counted: Any = (
            await ask(program, {"model": "gpt-5", "messages": words}, "/v1/messages/count_tokens")
        ).json()
        message = collected(await ask(program, STREAM))
        without_limit = {key: value for key, value in STREAM.items() if key != "max_tokens"}
        unlimited = await ask(program, {**without_limit, "model": "gpt-5"})
    assert counted["input_tokens"] >= 1000
    assert set(message["usage"]) >= {"input_tokens", "output_tokens"}
    assert unlimited.status == 200
    sent: Any = foreign_requests(server)[-1].json()
    assert "max_tokens" not in sent


async def test_p19_usage_is_overwritten_and_never_added_and_is_the_whole_answers(
    autojump_clock: object,
) -> None:
    told = {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 60},
    }
    answer = streamed(
        chunk({"content": "a"}, usage={**told, "completion_tokens": 1}),
        chunk({"content": "b"}, usage={**told, "completion_tokens": 2}),
        chunk({}, "stop", usage=told),
        b"data: " + msgspec.json.encode({"choices": [], "usage": told}) + b"\n\n",
        b"data: [DONE]\n\n",
    )
    async with program_in_memory(ACCOUNT + TO_OPENAI, upstream(DRY, answer)) as program:
        usage = collected(await ask(program, STREAM))["usage"]
        written = await line(program)
    names = ("input_tokens", "cache_read_tokens", "output_tokens")
    assert [written[name] for name in names] == [40, 60, 7]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (40, 60)
    assert usage["output_tokens"] == 7


@pytest.mark.sweep
async def test_p20_sessions_stay_with_their_accounts_over_a_short_outage(
    autojump_clock: object,
) -> None:
    """Twenty sessions of fifty turns, one account out for thirty seconds (cached reads are most of a
    bill); the provider behind them is a guest and never becomes a home."""
    names, sessions = ("a", "b", "c"), rounds(quick=5, full=20)
    config = "".join(f'[[account]]\nname = "{name}"\napi_key = "key-{name}"\n' for name in names)
    config += '[routing]\nstrategy = "round-robin"\n'
    server = ScriptedUpstream(reply_to)
    homes: dict[int, str | None] = {}
    at_home = turns = 0
    async with program_in_memory(config + TO_OPENAI, server) as program:
        client = MemoryClient(await program.connect())
        for turn in range(50):
            if turn == 20:
                server.script("key-a", rate_limited(retry_after=30))
            if turn == 23:
                server.script("key-a", reply_to)
            for session in range(sessions):
                headers = {**CLIENT, "x-claude-code-session-id": f"s-{session}"}
                answer = await client.post("/v1/messages", MESSAGE, headers)
                account = answer.header("x-supervisor-account")
                at_home += account == homes.setdefault(session, account)
                turns += 1
            await trio.sleep(10)
    assert len(set(homes.values())) > 1
    assert at_home / turns >= 0.95


@pytest.mark.parametrize("config", [TO_OPENAI, TO_GEMINI, TO_COMPATIBLE])
async def test_p21_what_the_client_says_of_itself_does_not_spoil_a_providers_cache(
    config: str, autojump_clock: object
) -> None:
    server = upstream(DRY, reply_to)
    bodies: list[bytes] = []
    async with program_in_memory(ACCOUNT + config, server) as program:
        for stamp, turns in (("3f2", 1), ("9ab", 3)):
            billing = f"x-anthropic-billing-header: cc_version=2.1.329.{stamp}; cch=00000;"
            history = [
                {"role": "user" if place % 2 == 0 else "assistant", "content": f"turn {place}"}
                for place in range(turns)
            ]
            system = [{"type": "text", "text": billing}, {"type": "text", "text": "Be brief."}]
            asked = {"model": "claude-x", "system": system, "messages": history, "max_tokens": 9}
            await ask(program, asked)
            bodies.append(foreign_requests(server)[-1].body)
    first, second = bodies
    common = next(place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    assert b"billing" not in first + second
    assert b"turn 0" in first[:common]  # everything up to the new turns is the same


async def test_p22_unknown_betas_and_fields_reach_anthropic_and_nobody_else(
    autojump_clock: object,
) -> None:
    betas = "claude-code-20250219,foo-2031-01-01"
    asked = {**MESSAGE, "foo_2031": {"a": 1}}
    server = upstream([reply_to, DRY], openai_reply(text_block("ok")))
    async with program_in_memory(ACCOUNT + TO_OPENAI, server) as program:
        await ask(program, asked, **{"anthropic-beta": betas})
        await ask(program, asked, **{"anthropic-beta": betas})
    home, *_, away = server.requests
    assert home.header("anthropic-beta") == betas
    assert json.loads(home.body)["foo_2031"] == {"a": 1}
    assert away.header("anthropic-beta") is None
    assert b"foo" not in away.body


async def test_p16_a_providers_refusal_of_the_request_is_not_told_as_a_limit(
    autojump_clock: object,
) -> None:
    """Antigravity-Manager showed a 400 on a signature as "429 exhausted"."""
    words = "Corrupted thought signature."

    def foreign(seen: SeenRequest) -> Answer:
        return openai_error(400, words)

    async with program_in_memory(ACCOUNT + GEMINI + OPENAI, upstream(DRY, foreign)) as program:
        answer = await ask(program, {**MESSAGE, "model": "gpt-5"})
    told: Any = answer.json()
    assert (answer.status, told["error"]["message"]) == (400, words)

"""What the log and `/status` say of tokens, however an answer comes and ends."""

from __future__ import annotations

import gzip
import json

import pytest
import trio

from server.scripted import (
    Answer,
    Pause,
    ScriptedUpstream,
    Send,
    Stall,
    error_event,
    event,
    rate_limited,
    stream,
    text_message,
    text_stream,
)
from server.scripted.messages import message_events, text_block
from tests.kit.http_client import MemoryClient
from tests.kit.program import RunningProgram, program_in_memory
from tests.server.test_relay import MESSAGE, ONE, STREAM, TWO, ask, lines

NOTHING = {"input": 0, "output": 0, "cache_read": 0, "cache_write": 0}
FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


async def cost(program: RunningProgram) -> tuple[object, ...]:
    """The tokens of the only request, as its line has them."""
    (line,) = await lines(program)
    return tuple(line[field] for field in FIELDS)


async def sums(program: RunningProgram) -> list[dict[str, int]]:
    """`tokens` of each account."""
    status = (await MemoryClient(await program.connect()).get("/status")).json()
    assert isinstance(status, dict)
    return [account["tokens"] for account in status["accounts"]]


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        (STREAM, text_stream("hello", model="served", input_tokens=100, output_tokens=7)),
        (MESSAGE, text_message("hello", model="served", input_tokens=100, output_tokens=7)),
        (STREAM, text_message("hello", model="served", input_tokens=100, output_tokens=7)),
    ],
)
async def test_an_answer_is_booked_streamed_or_not(
    document: object, answer: Answer, autojump_clock: object
) -> None:
    """Once in its line, and in the sums of the account that served it."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", then=answer)
    async with program_in_memory(ONE, upstream) as program:
        assert (await ask(program, document)).body == answer.whole_body()
        assert await cost(program) == (100, 7, 0, 0)
        (line,) = await lines(program)
        assert (line["model"], line["served_model"]) == ("claude-x", "served")
        await ask(program, document)
        assert await sums(program) == [{**NOTHING, "input": 200, "output": 14}]


async def test_a_stream_that_breaks_is_booked_as_far_as_it_came(autojump_clock: object) -> None:
    """The upstream has been paid for what it read and wrote until then."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", text_stream("hello", input_tokens=100).interrupted(4))
    async with program_in_memory(ONE, upstream) as program:
        assert not (await ask(program, STREAM)).complete
        assert await cost(program) == (100, 1, 0, 0)
        assert await sums(program) == [{**NOTHING, "input": 100, "output": 1}]
        (line,) = await lines(program)
    assert line["terminal"] == "upstream_closed"


@pytest.mark.parametrize("shown", [False, True])
async def test_a_client_that_leaves_is_booked_as_far_as_it_came(
    shown: bool, autojump_clock: object
) -> None:
    """Also when nothing has been shown to it yet."""
    sends = message_events([text_block("hello")], input_tokens=100)
    upstream = ScriptedUpstream()
    upstream.script("key-first", stream(sends, pause=60 if shown else 0.8))
    async with program_in_memory(ONE, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        if shown:
            assert (await client.receive_head()).status == 200
        else:
            await trio.sleep(0.5)
        await client.leave()
        await trio.sleep(1)
        assert await cost(program) == (100, 1, 0, 0)
        assert await sums(program) == [{**NOTHING, "input": 100, "output": 1}]
        (line,) = await lines(program)
    assert (line["status"], line["terminal"]) == (499, "client_closed")


async def test_only_the_attempt_that_served_is_booked(autojump_clock: object) -> None:
    """Neither a refusal nor a stream that began with an error cost anybody anything."""
    begun = event("message_start", {"type": "message_start", "message": {
        "model": "first", "usage": {"input_tokens": 5, "cache_read_input_tokens": 9}}})  # fmt: skip
    upstream = ScriptedUpstream()
    upstream.script("key-first", stream([begun, error_event("api_error")]), rate_limited())
    upstream.script("key-second", then=text_stream("hi", input_tokens=100, output_tokens=7))
    async with program_in_memory(TWO, upstream) as program:
        for _ in range(2):
            answer = await ask(program, STREAM)
            assert answer.header("x-supervisor-account") == "second"
            line = (await lines(program))[0]
            assert line["served_model"] == "claude-sonnet-5-5"
            assert (line["input_tokens"], line["cache_read_tokens"]) == (100, 0)
        assert await sums(program) == [NOTHING, {**NOTHING, "input": 200, "output": 14}]


async def test_when_all_fail_nothing_is_booked(autojump_clock: object) -> None:
    """What the broken streams had said of themselves is in no line and in no sum."""
    begun = event("message_start", {"type": "message_start", "message": {
        "model": "other", "usage": {"input_tokens": 5}}})  # fmt: skip
    upstream = ScriptedUpstream()
    upstream.default(stream([begun, error_event("api_error")]))
    async with program_in_memory(TWO, upstream) as program:
        await ask(program, STREAM)
        assert await cost(program) == (None, None, None, None)
        assert await sums(program) == [NOTHING, NOTHING]


@pytest.mark.parametrize(("parts", "terminal"), [(-1, "client_closed"), (None, "complete")])
async def test_a_client_that_closes_after_the_last_event_was_served_completely(
    parts: int | None, terminal: str, autojump_clock: object
) -> None:
    """The upstream may keep its connection open for as long as it likes."""
    events = message_events([text_block("hello")], output_tokens=7)
    sends = [Send(data) for data in events[:parts]]
    whole = text_stream("hello")
    upstream = ScriptedUpstream()
    steps = (*sends, Stall())
    upstream.script("key-first", Answer(headers=whole.headers, parts=steps, framing="chunked"))
    async with program_in_memory(ONE, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        answer = await client.receive_head()
        while len(answer.body) < sum(len(send.data) for send in sends):
            await client.receive_more(answer)
        await client.leave()
        await upstream.requests[0].left.wait()
        await trio.sleep(1)
        (line,) = await lines(program)
        tokens = (await cost(program))[:2]
    assert line["terminal"] == terminal
    assert line["status"] == (200 if terminal == "complete" else 499)
    assert tokens == (12, 7), "the last numbers come one event before the last"


async def test_the_openai_dialect_is_booked_without_what_came_from_its_cache(
    autojump_clock: object,
) -> None:
    """Its `prompt_tokens` include it, and ours do not."""
    usage = {"prompt_tokens": 100, "completion_tokens": 7,
             "prompt_tokens_details": {"cached_tokens": 80}}  # fmt: skip
    chunks: list[object] = [
        {"model": "gpt-served", "choices": [{"delta": {"content": "hi"}, "finish_reason": None}]},
        {"model": "gpt-served", "choices": [], "usage": usage},
    ]
    said = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    answer = stream([*said, b"data: [DONE]\n\n"])
    upstream = ScriptedUpstream()
    upstream.default(answer)
    async with program_in_memory("", upstream) as program:
        client = MemoryClient(await program.connect())
        received = await client.post("/v1/chat/completions", STREAM)
        assert received.body == answer.whole_body()
        assert await cost(program) == (20, 7, 80, None)
        (line,) = await lines(program)
    assert line["served_model"] == "gpt-served"


async def test_a_compressed_answer_passes_unread_and_costs_an_unknown_sum(
    autojump_clock: object,
) -> None:
    """We ask for plain answers; who compresses all the same is passed on raw (rule 4)."""
    packed = gzip.compress(text_message("hello").whole_body())
    headers = (("content-type", "application/json"), ("content-encoding", "gzip"))
    upstream = ScriptedUpstream()
    upstream.default(Answer(headers=headers, body=packed))
    async with program_in_memory(ONE, upstream) as program:
        assert (await ask(program)).body == packed
        assert await cost(program) == (None, None, None, None)
        assert await sums(program) == [NOTHING]
        (line,) = await lines(program)
    assert line["served_model"] == "claude-x"


async def test_counting_tokens_costs_none(autojump_clock: object) -> None:
    """Its answer is a number of tokens, but of a question that nobody was paid for."""
    async with program_in_memory(ONE, ScriptedUpstream()) as program:
        client = MemoryClient(await program.connect())
        counted = (await client.post("/v1/messages/count_tokens", MESSAGE)).json()
        assert isinstance(counted, dict)
        assert counted["input_tokens"] > 0
        assert await cost(program) == (None, None, None, None)
        assert await sums(program) == [NOTHING]


async def test_a_usage_told_late_is_booked_when_it_is_told(autojump_clock: object) -> None:
    """The sums grow at an answer's end, not at its head."""
    sends = message_events([text_block("hello")], input_tokens=100, output_tokens=7)
    steps = [*(Send(data) for data in sends[:-1]), Pause(30), Send(sends[-1])]
    whole = text_stream("hello")
    upstream = ScriptedUpstream()
    upstream.script("key-first", Answer(headers=whole.headers, parts=tuple(steps)))
    async with program_in_memory(ONE, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        answer = await client.receive_head()
        assert await sums(program) == [NOTHING]
        while await client.receive_more(answer):
            pass
        await trio.sleep(1)
        assert await sums(program) == [{**NOTHING, "input": 100, "output": 7}]

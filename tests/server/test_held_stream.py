"""Streams that are opened and kept alive until an account is back (`max_hold`)."""

from __future__ import annotations

import trio

from protocol.held_stream import PING
from server.scripted import (
    ScriptedUpstream,
    no_answer,
    rate_limited,
    server_error,
    text_message,
    text_stream,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import RunningProgram, program_in_memory

HOLD = '[routing]\nmax_hold = 300\n[[account]]\nname = "first"\napi_key = "key-first"\n'
WHOLE = text_stream("hello").whole_body()


async def ask(program: RunningProgram, *, stream: bool = True) -> Received:
    """One request on a connection of its own."""
    client = MemoryClient(await program.connect())
    return await client.post("/v1/messages", {"model": "m", "stream": stream})


async def test_a_stream_is_kept_alive_by_pings_until_the_account_is_back(
    autojump_clock: object,
) -> None:
    """Two minutes of pings, then the upstream's own events, whole."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=120), then=text_stream("hello"))
    async with program_in_memory(HOLD, upstream) as program:
        began = trio.current_time()
        answer = await ask(program)
        assert 119 <= trio.current_time() - began <= 123
    assert (answer.status, answer.complete) == (200, True)
    assert answer.header("content-type") == "text/event-stream; charset=utf-8"
    assert answer.body.endswith(WHOLE)
    pings = answer.body.removesuffix(WHOLE)
    assert pings == PING * (len(pings) // len(PING))
    assert 9 <= len(pings) // len(PING) <= 10


async def test_the_first_ping_comes_at_once(autojump_clock: object) -> None:
    """A client may give up on silence long before the account is back."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=120), then=text_stream("hello"))
    async with program_in_memory(HOLD, upstream) as program:
        client = MemoryClient(await program.connect())
        began = trio.current_time()
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        head = await client.receive_head()
        while not head.body:
            await client.receive_more(head)
        assert head.body == PING
        assert trio.current_time() - began < 1
        await client.leave()


async def test_a_limit_that_outlasts_the_hold_is_answered_at_once(autojump_clock: object) -> None:
    """Nobody is kept waiting for something that will not come."""
    upstream = ScriptedUpstream()
    upstream.default(rate_limited(retry_after=301))
    async with program_in_memory(HOLD, upstream) as program:
        began = trio.current_time()
        answer = await ask(program)
        assert (answer.status, answer.header("retry-after")) == (429, "301")
        assert trio.current_time() - began < 1


async def test_only_streams_are_held(autojump_clock: object) -> None:
    """An ordinary answer has no way to show life before it is complete."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=120), then=text_message("hello"))
    async with program_in_memory(HOLD, upstream) as program:
        assert (await ask(program, stream=False)).status == 429


async def test_a_failure_after_the_hold_is_told_by_an_error_event(autojump_clock: object) -> None:
    """The first answer, as rule 2 says, in the only form that is left."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=60), then=server_error(500))
    async with program_in_memory(HOLD, upstream) as program:
        answer = await ask(program)
    assert (answer.status, answer.complete) == (200, True)
    assert answer.body.count(b"event: error") == 1
    assert b"rate_limit_error" in answer.body


async def test_an_upstream_that_is_gone_after_the_hold_is_told_too(autojump_clock: object) -> None:
    """Also when the account was benched by somebody else's request, so this one saw no answer."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=60), then=no_answer())
    async with program_in_memory(HOLD, upstream) as program:
        await ask(program, stream=False)
        answer = await ask(program)
    assert answer.complete
    assert b"could not be reached" in answer.body


async def test_a_client_that_leaves_while_it_is_held_costs_nothing_more(
    autojump_clock: object,
) -> None:
    """No request goes upstream for it afterwards."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=120), then=text_stream("hello"))
    async with program_in_memory(HOLD, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        assert (await client.receive_head()).status == 200
        await trio.sleep(20)
        await client.leave()
        await trio.sleep(200)
        status = (await MemoryClient(await program.connect()).get("/status/requests")).json()
    assert isinstance(status, dict)
    (line,) = status["requests"]
    assert (line["status"], line["terminal"]) == (499, "client_closed")
    assert len(upstream.requests) == 1


async def test_streams_that_are_held_for_one_account_do_not_come_back_all_at_once(
    autojump_clock: object,
) -> None:
    """Twenty clients wait for the same moment; the account meets them over two seconds."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=60), then=text_stream("hello"))
    async with program_in_memory(HOLD, upstream) as program:
        await ask(program, stream=False)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, program)
    came_back = [seen.started_at for seen in upstream.requests[1:]]
    assert len(came_back) == 20
    assert max(came_back) - min(came_back) > 1

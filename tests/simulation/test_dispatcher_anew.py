"""A dispatcher that has to start clean knows all the same who rests."""

from __future__ import annotations

from typing import Any

import trio

from actors.runtime import Context, Run
from protocol.dispatch import Acquire
from server.scripted import ScriptedUpstream, rate_limited, text_message
from tests.kit.crashes import InjectedCrash
from tests.kit.http_client import MemoryClient
from tests.kit.program import program_in_memory, wrapped_actors

CONFIG = '[[account]]\nname = "only"\napi_key = "key-only"\n[routing]\nmax_wait = 0\n'
BODY = {"model": "m", "messages": []}


def crashing_on(questions: list[bool]) -> Any:
    """A wrapper that crashes on the question of a request for as long as `questions` says so."""

    def wrap(run: Run) -> Run:
        async def wrapped(context: Context[Any, Any]) -> None:
            receive = context.mailbox.receive

            async def receive_or_crash() -> Any:
                envelope = await receive()
                if isinstance(envelope.message, Acquire) and questions and questions.pop():
                    raise InjectedCrash("on a question")
                return envelope

            setattr(context.mailbox, "receive", receive_or_crash)  # noqa: B010 - a method
            await run(context)

        return wrapped

    return wrap


async def test_a_rest_outlives_two_crashes_of_the_dispatcher_over_the_same_question(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream(default=rate_limited(retry_after=60))
    questions: list[bool] = []
    with wrapped_actors({"dispatcher": crashing_on(questions)}):
        async with program_in_memory(CONFIG, upstream) as program:
            client = MemoryClient(await program.connect())
            assert (await client.post("/v1/messages", BODY)).status == 429
            upstream.default(text_message("too early"))
            await trio.sleep(1)
            questions += [True, True]
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    asking = MemoryClient(await program.connect())
                    nursery.start_soon(asking.post, "/v1/messages", BODY)
            assert questions == []
            await trio.sleep(5)
    assert upstream.requests_total == 1

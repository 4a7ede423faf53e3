"""The official Anthropic SDK through the proxy: it cannot tell the proxy from the upstream."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import anthropic
import pytest
import trio
from anthropic.types import MessageParam, ToolParam

from server.scripted import (
    Stall,
    Wait,
    reply_to,
    stall_before_head,
    text_message,
    text_stream,
    tool_use_stream,
)
from tests.clients.conftest import Start
from tests.kit.live import Live

MODEL = "claude-opus-5-5"
OWN_KEY = "sk-ant-api03-the-clients-own-0123456789"
HI: list[MessageParam] = [{"role": "user", "content": "hi"}]
BASH: ToolParam = {"name": "Bash", "input_schema": {"type": "object"}}
ASKED: dict[str, Any] = {"model": MODEL, "max_tokens": 64, "messages": HI}

T = TypeVar("T")


async def using(base_url: str, do: Callable[[anthropic.Anthropic], T], **options: Any) -> T:
    """Runs it with a client of the SDK, which blocks, in a thread."""
    settings: dict[str, Any] = {"api_key": OWN_KEY, "max_retries": 0, "timeout": 40} | options

    def run() -> T:
        with anthropic.Anthropic(base_url=base_url, **settings) as client:
            return do(client)

    return await trio.to_thread.run_sync(run)


def asynchronous(live: Live, **options: Any) -> anthropic.AsyncAnthropic:
    settings: dict[str, Any] = {"api_key": OWN_KEY, "max_retries": 0, "timeout": 40} | options
    return anthropic.AsyncAnthropic(base_url=live.url, **settings)


def create(client: anthropic.Anthropic) -> anthropic.types.Message:
    return client.messages.create(**ASKED)


def events(client: anthropic.Anthropic) -> list[dict[str, Any]]:
    return [event.to_dict() for event in client.messages.create(**ASKED, stream=True)]


def streamed(client: anthropic.Anthropic) -> anthropic.types.Message:
    with client.messages.stream(**ASKED) as stream:
        return stream.get_final_message()


# ------------------------------------------------------------------- the same as from upstream


@pytest.mark.parametrize("do", [create, events, streamed])
async def test_an_answer_is_the_same_with_the_proxy_as_without(
    live: Live, do: Callable[[anthropic.Anthropic], Any]
) -> None:
    long = "word " * 400
    live.upstream.default(
        text_message(long) if do is create else text_stream(long, events=40, model=MODEL)
    )
    assert await using(live.url, do) == await using(live.upstream_url, do)


async def test_the_asynchronous_client_gets_the_same_message_and_events(live: Live) -> None:
    live.upstream.default(
        text_message("Hello."), text_stream("Hello there.", events=9, model=MODEL)
    )
    async with asynchronous(live) as client:
        message = await client.messages.create(**ASKED)
        assert [block.to_dict() for block in message.content] == [
            {"type": "text", "text": "Hello."}
        ]
        stream = await client.messages.create(**ASKED, stream=True)
        got = [event.to_dict() async for event in stream]
        async with client.messages.stream(**ASKED) as helper:
            final = await helper.get_final_message()
    assert got == await using(live.upstream_url, events)
    assert final == await using(live.upstream_url, streamed)


async def test_a_tool_is_called_and_its_result_goes_back(live: Live) -> None:
    live.upstream.default(tool_use_stream("Bash", {"command": "ls"}, text="Let me."), then=reply_to)
    async with asynchronous(live) as client:
        async with client.messages.stream(**ASKED, tools=[BASH]) as stream:
            first = await stream.get_final_message()
        call = first.content[1]
        assert call.type == "tool_use"
        assert (first.stop_reason, call.name, call.input) == ("tool_use", "Bash", {"command": "ls"})
        turns: list[MessageParam] = [
            *HI,
            {"role": "assistant", "content": [block.to_dict() for block in first.content]},  # type: ignore[typeddict-item]
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "a.txt"}],
            },
        ]
        second = await client.messages.create(
            model=MODEL, max_tokens=64, messages=turns, tools=[BASH]
        )
    assert second.stop_reason == "end_turn"
    assert live.upstream.requests[1].json()["messages"] == turns


async def test_the_beta_client_sends_its_betas_on(live: Live) -> None:
    betas = ["context-1m-2025-08-07", "made-up-2027-01-01"]
    message = await using(
        live.url, lambda client: client.beta.messages.create(**ASKED, betas=betas)
    )
    assert message.content[0].type == "text"
    (seen,) = live.upstream.requests
    assert seen.header("anthropic-beta") == ",".join(betas)
    assert seen.header("anthropic-version") == "2026-10-21"


async def test_tokens_are_counted(live: Live) -> None:
    def count(client: anthropic.Anthropic) -> int:
        return client.messages.count_tokens(model=MODEL, messages=HI).input_tokens

    assert await using(live.url, count) == await using(live.upstream_url, count)


async def test_models_are_listed_and_retrieved(live: Live) -> None:
    def both(client: anthropic.Anthropic) -> tuple[list[Any], Any]:
        return list(client.models.list()), client.models.retrieve(MODEL)

    assert await using(live.url, both) == await using(live.upstream_url, both)
    with pytest.raises(anthropic.NotFoundError):
        await using(live.url, lambda client: client.models.retrieve("no-such-model"))


# --------------------------------------------------------------------------------- credentials


async def test_the_clients_own_credential_goes_upstream_as_it_is_without_accounts(
    start: Start,
) -> None:
    live = await start()
    await using(live.url, create)
    await using(live.url, streamed, api_key=None, auth_token="token-of-the-client")
    await using(live.url, create, default_headers={"x-api-key": "another"})
    seen = [
        (request.header("authorization"), request.api_key) for request in live.upstream.requests
    ]
    assert seen == [
        (f"Bearer {OWN_KEY}", None),
        ("Bearer token-of-the-client", None),
        (f"Bearer {OWN_KEY}", "another"),
    ]


async def test_the_clients_own_credential_never_goes_upstream_with_accounts(start: Start) -> None:
    live = await start("first")
    await using(live.url, create)
    await using(live.url, streamed, api_key=None, auth_token="token-of-the-client")
    await using(live.url, lambda client: list(client.models.list()))
    with pytest.raises(anthropic.NotFoundError):
        await using(live.url, lambda client: client.get("/v1/other", cast_to=object))
    assert {request.credential for request in live.upstream.requests} == {"key-first"}
    assert not any(request.both_credentials for request in live.upstream.requests)
    assert OWN_KEY not in repr([request.headers for request in live.upstream.requests])


async def test_an_account_asked_for_by_name_serves_and_no_other(start: Start) -> None:
    live = await start("first", "second")
    await using(live.url, create, default_headers={"x-account-name": "second"})
    with pytest.raises(anthropic.NotFoundError, match="third") as caught:
        await using(live.url, create, default_headers={"x-account-name": "third"}, max_retries=2)
    (seen,) = live.upstream.requests
    assert (seen.credential, seen.header("x-account-name")) == ("key-second", None)
    assert caught.value.response.headers["x-should-retry"] == "false"


# ----------------------------------------------------------------------------------- much of it


async def test_a_long_stream_arrives_whole(live: Live) -> None:
    text = "".join(f"line {number}: {'x' * 200}\n" for number in range(3000))
    live.upstream.default(text_stream(text, events=3000, model=MODEL))
    message = await using(live.url, streamed)
    assert message.content[0].to_dict() == {"type": "text", "text": text}
    (line,) = await live.wait_for_lines()
    assert (line["terminal"], line["status"], line["stream"]) == ("complete", 200, True)


async def test_events_arrive_while_the_upstream_still_writes(live: Live) -> None:
    whole = text_stream("one two three", events=3, model=MODEL)
    live.upstream.default(whole.interrupted(4, Wait("rest"), *whole.steps()[4:]))
    async with asynchronous(live) as client:
        stream = await client.messages.create(**ASKED, stream=True)
        with trio.fail_after(30):
            while (await anext(stream)).type != "content_block_delta":
                pass
            assert live.upstream.active_requests == 1  # the rest is still behind the gate
            live.upstream.gate("rest").open()
            rest = [event.type async for event in stream]
    assert (rest.count("content_block_delta"), rest[-1]) == (2, "message_stop")


async def test_twenty_streams_run_side_by_side(live: Live) -> None:
    whole = text_stream("Hello " * 50, events=50, model=MODEL)
    live.upstream.default(whole.interrupted(4, Wait("all"), *whole.steps()[4:]))
    texts: list[str] = []

    async def one(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(**ASKED) as stream:
            texts.append(await stream.get_final_text())

    with trio.fail_after(40):
        async with asynchronous(live) as client, trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one, client)
            await live.upstream.wait_for_requests(20)
            live.upstream.gate("all").open()
    assert texts == ["Hello " * 50] * 20
    assert [line["terminal"] for line in await live.wait_for_lines(20)] == ["complete"] * 20


async def test_a_body_of_thirty_megabytes_goes_through(live: Live) -> None:
    live.upstream.default(text_message("Read."))
    text = "0123456789" * 3_000_000
    message = await using(
        live.url,
        lambda client: client.messages.create(
            model=MODEL, max_tokens=9, messages=[{"role": "user", "content": text}]
        ),
    )
    assert message.content[0].to_dict() == {"type": "text", "text": "Read."}
    sent = live.upstream.requests[0].json()["messages"]
    assert sent == [{"role": "user", "content": text}]


@pytest.fixture
def nothing_collected() -> Iterator[None]:
    """A stream that is left early leaves the SDK's nested generators to the collector. What is still
    there at the end of a run is closed by trio; what is collected before is complained about."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.promise("C2")
@pytest.mark.usefixtures("nothing_collected")
async def test_closing_a_stream_early_closes_the_upstream_within_a_second(live: Live) -> None:
    live.upstream.default(text_stream("Hello", model=MODEL).interrupted(4, Stall()))
    async with asynchronous(live) as client:
        with trio.fail_after(30):
            async with client.messages.stream(**ASKED) as stream:
                while (await anext(stream)).type != "content_block_delta":
                    pass
        closed = trio.current_time()
        assert await live.wait_until_left() - closed < 1
    (line,) = await live.wait_for_lines()
    assert (line["status"], line["terminal"]) == (499, "client_closed")


async def test_giving_up_before_an_answer_closes_the_upstream_within_a_second(live: Live) -> None:
    live.upstream.default(stall_before_head())
    async with asynchronous(live) as client, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: client.messages.create(**ASKED))
        with trio.fail_after(30):
            await live.upstream.wait_for_requests(1)
        given_up = trio.current_time()
        nursery.cancel_scope.cancel()
    assert await live.wait_until_left() - given_up < 1
    (line,) = await live.wait_for_lines()
    assert (line["status"], line["terminal"]) == (499, "client_closed")

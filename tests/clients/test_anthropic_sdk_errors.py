"""Errors through the proxy, as the Anthropic SDK raises them; and those that it never sees."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import pytest

from server.scripted import (
    Answer,
    Reset,
    error,
    forbidden,
    gateway_page,
    no_answer,
    overloaded,
    rate_limited,
    reset_before_head,
    server_error,
    stream_with_early_error,
    stream_with_late_error,
    text_message,
    text_stream,
    unauthorized,
)
from tests.clients.conftest import Start
from tests.clients.test_anthropic_sdk import (
    ASKED,
    MODEL,
    asynchronous,
    create,
    events,
    streamed,
    using,
)
from tests.kit.live import Live

CLASSES: list[tuple[Answer, type[anthropic.APIStatusError]]] = [
    (error(400, message="messages.1.role: Input should be 'user'"), anthropic.BadRequestError),
    (unauthorized(), anthropic.AuthenticationError),
    (forbidden(), anthropic.PermissionDeniedError),
    (error(404, message="model: claude-nothing"), anthropic.NotFoundError),
    (error(409), anthropic.ConflictError),
    (error(413), anthropic.APIStatusError),
    (error(422), anthropic.UnprocessableEntityError),
    (rate_limited(), anthropic.RateLimitError),
    (server_error(), anthropic.InternalServerError),
    (gateway_page(503), anthropic.InternalServerError),
    (overloaded(), anthropic.InternalServerError),
]
STATUSES = [str(answer.status) for answer, _ in CLASSES]


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tries after an overload follow at once."""
    monkeypatch.setattr("server.relay.OVERLOAD_DELAYS", (0.0, 0.0))


def account_of(message: Any) -> str:
    return "".join(block.text for block in message.content)


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("answer", "raised"), CLASSES, ids=STATUSES)
async def test_an_upstreams_error_is_the_clients_with_not_a_byte_changed(
    live: Live, answer: Answer, raised: type[anthropic.APIStatusError], stream: bool
) -> None:
    answer = answer.with_headers({"request-id": "req_of_the_upstream"})
    live.upstream.default(answer)
    with pytest.raises(raised) as caught:
        await using(live.url, streamed if stream else create)
    response = caught.value.response
    assert (response.status_code, response.content) == (answer.status, answer.body)
    assert caught.value.request_id == "req_of_the_upstream"
    assert response.headers["content-type"] == answer.header("content-type")


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(unauthorized(), id="401"),
        pytest.param(forbidden(), id="403"),
        pytest.param(rate_limited(retry_after=30), id="429"),
        pytest.param(rate_limited(), id="429 without evidence"),
        pytest.param(server_error(), id="500"),
        pytest.param(gateway_page(503), id="503"),
        pytest.param(no_answer(), id="closed"),
        pytest.param(reset_before_head(), id="reset"),
        pytest.param(text_stream("x").interrupted(0), id="cut before the first event"),
        pytest.param(text_stream("x").interrupted(1, Reset()), id="reset before any content"),
        pytest.param(stream_with_early_error("rate_limit_error"), id="early rate limit"),
        pytest.param(stream_with_early_error("api_error"), id="early server error"),
    ],
)
async def test_the_second_account_serves_and_the_client_never_knows(
    start: Start, failure: Answer
) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", failure)
    live.upstream.script("key-second", text_stream("Hello.", model=MODEL))
    message = await using(live.url, streamed)
    assert account_of(message) == "Hello."
    assert [seen.credential for seen in live.upstream.requests] == ["key-first", "key-second"]
    assert live.upstream.requests[0].body == live.upstream.requests[1].body
    (line,) = await live.wait_for_lines()
    assert (line["status"], line["attempts"], line["account"]) == (200, 2, "second")


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("busy", [overloaded(), stream_with_early_error()], ids=["529", "early"])
async def test_an_overload_is_tried_twice_more_on_the_same_account(
    start: Start, busy: Answer
) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", busy, busy, text_stream("Hello.", model=MODEL))
    assert account_of(await using(live.url, streamed)) == "Hello."
    assert [seen.credential for seen in live.upstream.requests] == ["key-first"] * 3


@pytest.mark.usefixtures("without_pauses")
async def test_an_overload_that_lasts_is_the_providers_and_no_other_account_is_asked(
    start: Start,
) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", overloaded())
    with pytest.raises(anthropic.InternalServerError) as caught:
        await using(live.url, create)
    assert (caught.value.status_code, caught.value.response.content) == (529, overloaded().body)
    assert [seen.credential for seen in live.upstream.requests] == ["key-first"] * 3


async def test_a_request_that_is_wrong_is_not_tried_on_another_account(start: Start) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", error(400, message="prompt is too long"))
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        await using(live.url, create)
    assert len(live.upstream.requests) == 1


async def test_when_every_account_fails_the_first_answer_is_the_clients(start: Start) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", rate_limited(retry_after=50, message="the first's"))
    live.upstream.script("key-second", rate_limited(retry_after=20, message="the second's"))
    with pytest.raises(anthropic.RateLimitError, match="the first's") as caught:
        await using(live.url, create)
    assert caught.value.response.content == rate_limited(message="the first's").body
    assert caught.value.response.headers["retry-after"] in ("19", "20")
    assert caught.value.response.headers["x-supervisor-attempts"] == "2"


async def test_an_account_asked_for_by_name_is_not_replaced_when_it_is_limited(
    start: Start,
) -> None:
    live = await start("first", "second")
    limit = rate_limited(retry_after=30, message="the second's")
    live.upstream.script("key-second", limit)
    for attempts in ("1", None):
        with pytest.raises(anthropic.RateLimitError) as caught:
            await using(live.url, create, default_headers={"x-account-name": "second"})
        assert caught.value.response.headers.get("x-supervisor-attempts") == attempts
        assert 28 <= int(caught.value.response.headers["retry-after"]) <= 30
    assert [seen.credential for seen in live.upstream.requests] == ["key-second"]


async def test_the_sdks_own_retries_wait_as_the_upstream_says(start: Start) -> None:
    live = await start()
    live.upstream.default(rate_limited(retry_after=1), text_message("Hello."))
    assert account_of(await using(live.url, create, max_retries=1)) == "Hello."
    first, second = live.upstream.requests
    assert second.started_at - first.started_at >= 0.9
    assert second.header("x-stainless-retry-count") == "1"


# ------------------------------------------------------------------------------ broken streams


async def test_a_stream_cut_in_mid_text_is_the_sdks_transport_error(live: Live) -> None:
    cut = text_stream("Hello there, this breaks off", model=MODEL).interrupted(4)
    live.upstream.default(cut)
    with pytest.raises(httpx2.RemoteProtocolError):
        await using(live.url, events)
    async with asynchronous(live) as client, client.messages.stream(**ASKED) as stream:
        assert await anext(stream.text_stream) == "Hello ther"
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(stream.text_stream)
    assert len(live.upstream.requests) == 2  # what a client has seen is never repeated


@pytest.mark.parametrize("kind", ["overloaded_error", "rate_limit_error", "invalid_request_error"])
async def test_an_error_in_mid_stream_is_the_clients_as_it_came(live: Live, kind: str) -> None:
    live.upstream.default(stream_with_late_error("Hello", kind, "said by the upstream"))
    with pytest.raises(anthropic.APIStatusError, match="said by the upstream") as caught:
        await using(live.url, streamed)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == kind
    assert len(live.upstream.requests) == 1


async def test_an_early_error_that_is_about_the_request_is_the_clients(start: Start) -> None:
    live = await start("first", "second")
    live.upstream.default(stream_with_early_error("invalid_request_error", "prompt is too long"))
    with pytest.raises(anthropic.APIStatusError, match="prompt is too long"):
        await using(live.url, streamed)
    assert len(live.upstream.requests) == 1


@pytest.mark.usefixtures("without_pauses")
async def test_an_early_overload_without_another_account_is_the_clients_stream(
    start: Start,
) -> None:
    live = await start("first")
    live.upstream.default(stream_with_early_error())
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        await using(live.url, streamed)
    assert len(live.upstream.requests) == 3


async def test_an_upstream_that_cannot_be_reached_is_an_error_of_the_usual_shape(
    live: Live,
) -> None:
    live.upstream.default(no_answer())
    with pytest.raises(anthropic.InternalServerError) as caught:
        await using(live.url, create)
    body = caught.value.response.json()
    assert (caught.value.status_code, body["type"], body["error"]["type"]) == (
        502,
        "error",
        "api_error",
    )
    assert body["request_id"] == caught.value.response.headers["x-supervisor-request-id"]

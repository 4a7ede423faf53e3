"""Who gets which answer, what is remembered, and that nothing leaks."""

from __future__ import annotations

import ssl

import httpx
import pytest
import trio
import trustme

from server.scripted import (
    Answer,
    Cut,
    Pause,
    Reset,
    ScriptedUpstream,
    SeenRequest,
    Send,
    Wait,
    brings_tool_result,
    rate_limited,
    reply_to,
    text_message,
    text_stream,
    tool_use_stream,
)
from tests.server.scripted.conversation import ASK, GET, connect

ONE, TWO = Answer(body=b"one"), Answer(body=b"two")


async def asked(client: httpx.AsyncClient, key: str, path: str = "/v1/messages") -> bytes:
    return (await client.post(path, json=ASK, headers={"x-api-key": key})).content


# -- scripts ---------------------------------------------------------------------------------------


async def test_each_credential_has_its_own_script_and_the_last_answer_repeats(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.script("a", ONE, TWO)
    upstream.script("b", TWO, then=ONE)
    assert [await asked(client, "a") for _ in range(3)] == [b"one", b"two", b"two"]
    assert [await asked(client, "b") for _ in range(3)] == [b"two", b"one", b"one"]


async def test_a_bearer_token_is_a_credential_too(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.script("token", ONE)
    response = await client.get("/v1/models", headers={"authorization": "Bearer token"})
    assert response.content == b"one"


async def test_scripts_given_at_the_start_work_like_those_given_later() -> None:
    async with trio.open_nursery() as nursery:
        upstream = ScriptedUpstream(TWO, {"a": [ONE, TWO], "b": ONE})
        url = await nursery.start(upstream.serve_tcp)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert [await asked(client, key) for key in "aabb"] == [b"one", b"two", b"one", b"one"]
            assert await asked(client, "someone else") == b"two"
        nursery.cancel_scope.cancel()


async def test_a_script_can_be_replaced_and_removed_while_running(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.script("a", ONE)
    assert await asked(client, "a") == b"one"
    upstream.script("a", TWO)
    assert await asked(client, "a") == b"two"
    upstream.unscript("a")
    assert b"scripted upstream" in await asked(client, "a")


async def test_a_script_for_one_endpoint_is_not_used_up_by_others(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.script("a", ONE, TWO, only="/v1/messages")
    assert b"input_tokens" in await asked(client, "a", "/v1/messages/count_tokens")
    assert await asked(client, "a", "/prefix/v1/messages") == b"one"


async def test_a_callable_sees_the_body(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    def turn(seen: SeenRequest) -> Answer:
        if brings_tool_result(seen.json()):
            return text_stream("The directory is empty.")
        return tool_use_stream("Bash", {"command": "ls"})

    upstream.script("a", turn)
    assert b"tool_use" in await asked(client, "a")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
    response = await client.post(
        "/v1/messages", json={**ASK, "messages": [result]}, headers={"x-api-key": "a"}
    )
    assert b"The dire" in response.content


async def test_a_script_that_raises_is_a_500_and_is_kept(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    def broken(seen: SeenRequest) -> Answer:
        raise KeyError(seen.number)

    upstream.default(broken, reply_to)
    assert (await client.get("/v1/models")).status_code == 500
    assert [type(problem) for problem in upstream.script_errors] == [KeyError]
    assert (await client.get("/v1/models")).status_code == 200


async def test_an_answer_that_cannot_be_played_ends_its_connection_only(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.default(Answer(headers=(("x", "\N{SNOWMAN}"),)), reply_to)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/v1/models")
    assert [type(problem) for problem in upstream.script_errors] == [UnicodeEncodeError]
    assert upstream.requests[0].outcome == "failed"
    assert (await client.get("/v1/models")).status_code == 200


def test_a_script_without_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        ScriptedUpstream(scripts={"a": []})


# -- credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"x-api-key": "known"}, 200, ""),
        ({"authorization": "Bearer known"}, 200, ""),
        ({"x-api-key": "other"}, 401, "invalid x-api-key"),
        ({"authorization": "Bearer other"}, 401, "Invalid bearer token"),
        ({}, 401, "x-api-key header is required"),
    ],
)
async def test_only_known_credentials_are_let_in(
    upstream: ScriptedUpstream,
    client: httpx.AsyncClient,
    headers: dict[str, str],
    status: int,
    message: str,
) -> None:
    upstream.known = {"known"}
    response = await client.get("/v1/models", headers=headers)
    assert response.status_code == status
    assert response.json().get("error", {}).get("message", "") == message
    assert (await client.head("/")).status_code == 200


# -- the record ------------------------------------------------------------------------------------


async def test_requests_are_numbered_by_arrival_and_connection(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.gate("go")
    upstream.default(Answer(parts=(Wait("go"),)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/v1/models")
        nursery.start_soon(client.get, "/v1/models")
        with trio.fail_after(5):
            seen = await upstream.wait_for_requests(2)
        assert [one.number for one in seen] == [0, 1]
        assert {one.connection for one in seen} == {0, 1}
        assert upstream.active_requests == 2
        upstream.gate("go").open()
    with trio.fail_after(5):
        await upstream.wait_until_idle()
    assert all(one.completed for one in upstream.requests)
    assert upstream.open_connections == 2


async def test_only_so_many_requests_are_remembered(nursery: trio.Nursery) -> None:
    upstream = ScriptedUpstream(remember=2)
    url = await nursery.start(upstream.serve_tcp)
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for _ in range(4):
            await client.get("/v1/models")
    assert [seen.number for seen in upstream.requests] == [2, 3]
    assert upstream.requests_total == 4


async def test_a_record_does_not_print_its_credential(
    upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    await asked(client, "private-value")
    assert "private-value" not in repr(upstream.requests)


async def test_a_stopped_upstream_cancels_what_it_was_answering() -> None:
    upstream = ScriptedUpstream(Answer(parts=(Send(b"x"), Pause(60))))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(upstream.serve_tcp)
            async with await connect(url) as stream:
                await stream.send_all(GET)
                await upstream.wait_for_requests(1)
                nursery.cancel_scope.cancel()
    assert upstream.requests[0].outcome == "cancelled"
    assert upstream.open_connections == upstream.active_requests == 0


# -- leaks and TLS ---------------------------------------------------------------------------------


async def test_nothing_is_left_after_two_hundred_connections_of_every_kind(
    upstream: ScriptedUpstream, base_url: str
) -> None:
    await trio.testing.wait_all_tasks_blocked()
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    kinds = [
        text_message("Hello"),
        text_stream("Hello").interrupted(2),
        Answer(parts=(Send(b"x"), Reset())),
        Answer(parts=(Send(b"x"), Pause(60))),
        Answer(parts=(Cut(),)),
        rate_limited(retry_after=1).after(60),
    ]
    upstream.default(lambda seen: kinds[seen.connection % len(kinds)])

    async def visit() -> None:
        async with await connect(base_url) as stream:
            await stream.send_all(GET)
            with trio.move_on_after(0.05):
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass

    with trio.fail_after(60):
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(visit)
        # A busy machine may have the visitors gone before the last of them was accepted.
        await upstream.wait_for(lambda: upstream.connections_total == 200)
        await upstream.wait_until_closed()
    await trio.testing.wait_all_tasks_blocked()
    assert upstream.connections_total == 200
    assert upstream.active_requests == 0
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before
    assert upstream.script_errors == []


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def test_tls_serves_the_same_and_survives_a_client_without_tls(
    upstream: ScriptedUpstream, nursery: trio.Nursery, authority: trustme.CA
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    url = await nursery.start(lambda **kwargs: upstream.serve_tcp(tls=context, **kwargs))
    assert url.startswith("https://127.0.0.1:")
    async with await connect(url.replace("https", "http")) as stream:
        await stream.send_all(GET)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    upstream.script("cut", text_stream("Hello").interrupted(1))
    upstream.script("reset", Answer(parts=(Send(b"x"), Pause(0.05), Reset())))
    async with httpx.AsyncClient(verify=trusting, base_url=url, trust_env=False) as client:
        assert b"scripted upstream" in await asked(client, "a")
        with pytest.raises(httpx.RemoteProtocolError):
            await asked(client, "cut")
        with pytest.raises(httpx.ReadError):
            await asked(client, "reset")
    with trio.fail_after(5):
        await upstream.wait_until_closed()
    assert upstream.script_errors == []

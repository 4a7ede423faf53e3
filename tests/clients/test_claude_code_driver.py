"""The driver of the real client does what it says, shown on a stand-in for the upstream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.clients.claude_code import API_KEY, ClaudeCode, Result

pytestmark = pytest.mark.client

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
USAGE = {"input_tokens": 5, "output_tokens": 1}


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def message_start(model: str) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": USAGE}
    return event("message_start", message=message)


def text_delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def block_start(**block: Any) -> bytes:
    return event("content_block_start", index=0, content_block=block)


def message_end(stop_reason: str) -> bytes:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return (
        event("content_block_stop", index=0)
        + event("message_delta", delta=delta, usage={"output_tokens": 3})
        + event("message_stop")
    )


def says(text: str) -> bytes:
    return block_start(type="text", text="") + text_delta(text) + message_end("end_turn")


def runs(command: str) -> bytes:
    arguments = json.dumps({"command": command, "description": "A command of the test"})
    return (
        block_start(type="tool_use", id="toolu_1", name="Bash", input={})
        + event(
            "content_block_delta",
            index=0,
            delta={"type": "input_json_delta", "partial_json": arguments},
        )
        + message_end("tool_use")
    )


class Upstream:
    """Answers each POST with the next of `answers`; None streams until the client goes away."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.url = ""
        self.heads: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.client_left = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            chunk = await stream.receive_some()
            if not chunk:
                return
            received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = sum(int(line[15:]) for line in lines if line.startswith("content-length:"))
        while len(body) < length:
            body += await stream.receive_some()
        if not head.startswith(b"POST /v1/messages?"):
            await stream.send_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        self.heads.append(head.decode("latin-1"))
        self.bodies.append(json.loads(body))
        answer = self.answers.pop(0)
        await stream.send_all(HEAD + message_start(self.bodies[-1]["model"]))
        if answer is not None:
            await stream.send_all(answer)
            return
        try:
            await stream.send_all(block_start(type="text", text=""))
            while True:
                await stream.send_all(text_delta("Still going.\n\n"))
                await trio.sleep(0.05)
        except trio.BrokenResourceError:
            self.client_left.set()


@asynccontextmanager
async def upstream(*answers: bytes | None) -> AsyncIterator[Upstream]:
    answering = Upstream(*answers)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, answering.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        answering.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield answering
        nursery.cancel_scope.cancel()


@pytest.fixture
def client(claude_code_binary: Path, home: Path) -> Callable[..., ClaudeCode]:
    def make(base_url: str, **options: Any) -> ClaudeCode:
        return ClaudeCode(claude_code_binary, base_url, home, **options)

    return make


async def test_a_printed_answer_is_the_upstreams(client: Callable[..., ClaudeCode]) -> None:
    async with upstream(says("Hello from upstream.")) as server:
        result = await client(server.url).run_print("say hello")
    assert (result.returncode, result.text) == (0, "Hello from upstream.")
    assert f"x-api-key: {API_KEY}" in server.heads[0]


async def test_a_tool_runs_and_its_output_goes_back(client: Callable[..., ClaudeCode]) -> None:
    async with upstream(runs("echo the tool ran"), says("It ran.")) as server:
        claude = client(server.url)
        result = await claude.run_print(
            "run it", "--allowedTools", "Bash", "--output-format", "stream-json"
        )
    assert result.text == "It ran."
    assert {"assistant", "user", "result"} <= {event["type"] for event in result.events}
    (answer,) = server.bodies[1]["messages"][-1]["content"]
    assert (answer["type"], answer["content"]) == ("tool_result", "the tool ran")


async def test_a_conversation_goes_on_where_it_was_left(
    client: Callable[..., ClaudeCode],
) -> None:
    async with upstream(says("The word is quince."), says("Quince.")) as server:
        claude = client(server.url)
        await claude.run_print("tell me a word")
        result = await claude.run_print("which word?", "--continue")
    assert result.text == "Quince."
    assert "The word is quince." in json.dumps(server.bodies[1]["messages"])


async def test_escape_breaks_a_stream_off(client: Callable[..., ClaudeCode]) -> None:
    async with upstream(None) as server, client(server.url).interactive() as terminal:
        await terminal.type("go on for ever")
        await terminal.press("enter")
        await terminal.wait_for("Still going.")
        await terminal.press("escape")
        with trio.fail_after(10):
            await server.client_left.wait()
        await terminal.wait_for("Interrupted")


async def test_what_the_screen_lacks_is_reported_with_the_screen(
    client: Callable[..., ClaudeCode],
) -> None:
    with pytest.raises(AssertionError, match=r"'no such words' not shown(?s:.)*Claude Code"):
        async with client("http://127.0.0.1:9").interactive() as terminal:
            await terminal.wait_for("no such words", timeout=0.5)


async def test_a_run_that_takes_too_long_is_ended(client: Callable[..., ClaudeCode]) -> None:
    async with upstream(None) as server:
        with pytest.raises(trio.TooSlowError):
            await client(server.url).run_print("go on for ever", timeout=3)
        with trio.fail_after(10):
            await server.client_left.wait()


def test_a_result_is_found_among_other_output() -> None:
    events = '{"type":"system"}\nwarning\n{"type":"result","result":"done"}\n'
    assert Result(0, events, "").text == "done"
    with pytest.raises(AssertionError, match="no result"):
        _ = Result(1, "", "broken").json

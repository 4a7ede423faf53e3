"""The real Claude Code through the proxy, in the situations that break a conversation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import (
    SeenRequest,
    Stall,
    error,
    rate_limited,
    reply_with,
    text_block,
    text_stream,
    tool_use_stream,
    window_spent,
)
from tests.clients.claude_code import API_KEY, ClaudeCode
from tests.clients.conftest import Start
from tests.kit.live import Live

pytestmark = pytest.mark.client

MESSAGES = "/v1/messages"
FAR_FUTURE = 4_000_000_000
SYSTEM_ROLE_REFUSED = error(400, message="messages.1.role: Input should be 'user' or 'assistant'")

Claude = Callable[..., ClaudeCode]


@pytest.fixture
def claude(claude_code_binary: Path, home: Path) -> Claude:
    def make(live: Live, env: dict[str, str] | None = None, **options: Any) -> ClaudeCode:
        # Ten retries, its default, take three minutes: too long to learn that a test fails.
        env = {"CLAUDE_CODE_MAX_RETRIES": "3", **(env or {})}
        return ClaudeCode(claude_code_binary, live.url, home, extra_env=env, **options)

    return make


def says(text: str) -> Any:
    return reply_with(text_block(text))


def turns(live: Live) -> list[SeenRequest]:
    """The requests for messages that reached the upstream."""
    return [seen for seen in live.upstream.requests if seen.endpoint == MESSAGES]


def roles(seen: SeenRequest) -> list[str]:
    messages: Any = seen.json()["messages"]
    return [message["role"] for message in messages]


async def test_a_printed_answer_is_the_upstreams(live: Live, claude: Claude) -> None:
    live.upstream.default(says("Hello through the proxy."))
    result = await claude(live).run_print("say hello")
    assert (result.returncode, result.text) == (0, "Hello through the proxy.")
    (seen,) = turns(live)
    assert seen.target == b"/v1/messages?beta=true"
    (line,) = await live.wait_for_lines()
    assert (line["status"], line["terminal"], line["attempts"]) == (200, "complete", 1)
    assert line["session"] == seen.header("x-claude-code-session-id")
    assert line["client"].startswith("claude-cli/")


async def test_with_accounts_the_clients_own_key_stays_behind(start: Start, claude: Claude) -> None:
    live = await start("first")
    result = await claude(live).run_print("say hello")
    assert result.returncode == 0
    (seen,) = turns(live)
    assert (seen.api_key, seen.bearer) == ("key-first", None)
    assert API_KEY not in repr(seen.headers) + seen.body.decode()


async def test_without_accounts_the_clients_own_key_pays(start: Start, claude: Claude) -> None:
    live = await start()
    result = await claude(live).run_print("say hello")
    assert result.returncode == 0
    assert [(seen.api_key, seen.bearer) for seen in turns(live)] == [(API_KEY, None)]


async def test_without_accounts_the_clients_own_token_pays(start: Start, claude: Claude) -> None:
    live = await start()
    token = {"ANTHROPIC_AUTH_TOKEN": "token-of-the-client"}
    result = await claude(live, token, api_key=None).run_print("say hello")
    assert result.returncode == 0
    assert [(s.api_key, s.bearer) for s in turns(live)] == [(None, "token-of-the-client")]


async def test_a_tool_runs_and_its_output_goes_back(live: Live, claude: Claude) -> None:
    command = {"command": "echo the tool ran", "description": "A command of the test"}
    live.upstream.default(tool_use_stream("Bash", command, text="Let me."), says("It ran."))
    result = await claude(live).run_print("run it", "--allowedTools", "Bash")
    assert (result.returncode, result.text) == (0, "It ran.")
    last: Any = turns(live)[1].json()["messages"]
    (answer,) = [block for block in last[-1]["content"] if block["type"] == "tool_result"]
    assert answer["content"] == "the tool ran"


@pytest.mark.parametrize(
    "limited",
    [
        pytest.param(rate_limited(retry_after=600), id="retry-after"),
        pytest.param(window_spent(resets_at=FAR_FUTURE, retry_after=9000), id="window"),
    ],
)
async def test_a_conversation_goes_on_with_the_second_account(
    start: Start, claude: Claude, limited: Any
) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", says("The word is quince."), limited)
    live.upstream.script("key-second", says("Quince."))
    client = claude(live)
    first = await client.run_print("tell me a word")
    second = await client.run_print("which word?", "--continue", "--output-format", "stream-json")
    assert (first.text, second.text, second.returncode) == ("The word is quince.", "Quince.", 0)
    assert [seen.credential for seen in turns(live)] == ["key-first", "key-first", "key-second"]
    assert "The word is quince." in json.dumps(turns(live)[2].json()["messages"])
    assert turns(live)[1].body == turns(live)[2].body  # the client never asked twice
    assert not [event for event in second.events if "retry" in str(event.get("subtype"))]
    newest, oldest = await live.wait_for_lines(2)
    assert (newest["attempts"], newest["account"], newest["status"]) == (2, "second", 200)
    assert (oldest["attempts"], oldest["account"], oldest["status"]) == (1, "first", 200)


async def test_a_tool_turn_survives_an_account_that_dies_in_it(
    start: Start, claude: Claude
) -> None:
    live = await start("first", "second")
    command = {"command": "echo the tool ran", "description": "A command of the test"}
    live.upstream.script("key-first", tool_use_stream("Bash", command), error(401))
    live.upstream.script("key-second", says("It ran."))
    result = await claude(live).run_print("run it", "--allowedTools", "Bash")
    assert (result.returncode, result.text) == (0, "It ran.")
    assert [seen.credential for seen in turns(live)] == ["key-first", "key-first", "key-second"]


async def test_escape_breaks_the_upstreams_stream_off(live: Live, claude: Claude) -> None:
    live.upstream.default(
        # The screen shows a text by its lines, each when it is complete.
        text_stream("Still going.\n\n" * 20, events=10).interrupted(9, Stall()),
        says("Another answer."),
    )
    async with claude(live).interactive() as terminal:
        await terminal.type("go on for ever")
        await terminal.press("enter")
        await terminal.wait_for("Still going")
        await terminal.press("escape")
        await terminal.wait_for("Interrupted")
        interrupted = trio.current_time()
        assert await live.wait_until_left(0) - interrupted < 1
        (line,) = await live.wait_for_lines()
        assert (line["status"], line["terminal"]) == (499, "client_closed")
        await terminal.type("something else")
        await terminal.press("enter")
        await terminal.wait_for("Another answer.")
    assert "Request interrupted by user" in turns(live)[1].body.decode()


async def test_the_client_adapts_to_the_upstreams_own_words(live: Live, claude: Claude) -> None:
    live.upstream.default(SYSTEM_ROLE_REFUSED, says("Adapted."))
    result = await claude(live).run_print("say hello")
    assert (result.returncode, result.text) == (0, "Adapted.")
    refused, adapted = turns(live)
    assert "system" in roles(refused)
    assert set(roles(adapted)) == {"user"}
    newest, oldest = await live.wait_for_lines(2)
    assert (oldest["status"], newest["status"]) == (400, 200)


async def test_the_client_waits_out_the_limit_of_the_only_account(
    live: Live, claude: Claude
) -> None:
    # Longer than max_wait: the client itself waits, as the retry-after says.
    live.upstream.default(rate_limited(retry_after=3), says("Waited."))
    result = await claude(live).run_print("say hello")
    assert (result.returncode, result.text) == (0, "Waited.")
    limited, served = turns(live)
    assert served.started_at - limited.started_at >= 2.9
    newest, oldest = (await live.wait_for_lines(2))[:2]
    assert (oldest["status"], newest["status"]) == (429, 200)


@pytest.mark.promise("U3")
async def test_a_stream_cut_in_mid_text_is_asked_for_again(live: Live, claude: Claude) -> None:
    live.upstream.default(
        text_stream("This breaks off").interrupted(4), says("This arrives whole.")
    )
    result = await claude(live).run_print("say hello")
    assert (result.returncode, result.text) == (0, "This arrives whole.")
    cut, again = turns(live)
    assert (cut.json()["stream"], again.json()["stream"]) == (True, True)
    newest, oldest = await live.wait_for_lines(2)
    assert (oldest["terminal"], newest["terminal"]) == ("upstream_closed", "complete")

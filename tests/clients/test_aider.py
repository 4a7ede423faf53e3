"""Aider as a client: it edits a file with what an account answers to a chat completion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.scripted import overloaded, rate_limited, reply_with, text_block
from tests.clients.conftest import Start
from tests.clients.other_programs import named_program, run_program
from tests.kit.live import Live

pytestmark = [pytest.mark.client, pytest.mark.timeout(300)]

KEY = "sk-a-key-for-the-proxy-0123456789"
EDIT = """Done.

hello.py
```python
<<<<<<< SEARCH
print("hello")
=======
print("goodbye")
>>>>>>> REPLACE
```
"""


async def edited(live: Live, home: Path, *options: str, dialect: str = "openai") -> str:
    """What becomes of the file that Aider was asked to change."""
    file = home / "hello.py"
    file.write_text('print("hello")\n')
    command = [
        named_program("TEST_AIDER_BINARY"),
        *("--model", f"{dialect}/claude-sonnet-5-5", "--edit-format", "diff"),
        *("--message", "say goodbye instead", "--yes-always", "--no-git"),
        *("--no-check-update", "--analytics-disable", "--no-show-model-warnings"),
        *("--no-show-release-notes", "--no-detect-urls", "--map-tokens", "0", "--no-pretty"),
        *options,
        "hello.py",
    ]
    code, told, noise = await run_program(
        command,
        home,
        OPENAI_API_BASE=f"{live.url}/v1",
        OPENAI_API_KEY=KEY,
        ANTHROPIC_BASE_URL=live.url,
        ANTHROPIC_API_KEY=KEY,
        LITELLM_LOCAL_MODEL_COST_MAP="true",
    )
    assert code == 0, told + noise
    return file.read_text()


@pytest.mark.parametrize("options", [["--stream"], ["--no-stream"]])
async def test_a_file_is_edited_with_an_accounts_answer(
    start: Start, home: Path, options: list[str]
) -> None:
    live = await start("first")
    live.upstream.default(reply_with(text_block(EDIT)))
    assert await edited(live, home, *options) == 'print("goodbye")\n'
    for seen in live.upstream.requests:
        assert (seen.endpoint, seen.api_key) == ("/v1/messages", "key-first")
        assert KEY not in repr(seen.headers)
    asked: Any = live.upstream.requests[0].json()
    assert asked["model"] == "claude-sonnet-5-5"
    assert asked.get("stream", False) is (options == ["--stream"])
    (line,) = await live.wait_for_lines()
    assert (line["dialect"], line["account"], line["status"]) == ("openai", "first", 200)


async def test_anthropics_route_serves_it_too(start: Start, home: Path) -> None:
    live = await start("first")
    live.upstream.default(reply_with(text_block(EDIT)))
    assert await edited(live, home, "--stream", dialect="anthropic") == 'print("goodbye")\n'
    (line,) = await live.wait_for_lines()
    assert (line["dialect"], line["account"], line["status"]) == ("anthropic", "first", 200)


async def test_it_notices_nothing_of_accounts_that_cannot(start: Start, home: Path) -> None:
    live = await start("first", "second")
    live.upstream.script("key-first", rate_limited(retry_after=60))
    live.upstream.script("key-second", overloaded(), reply_with(text_block(EDIT)))
    assert await edited(live, home, "--stream") == 'print("goodbye")\n'
    (line, *_) = await live.wait_for_lines()
    assert (line["account"], line["status"]) == ("second", 200)

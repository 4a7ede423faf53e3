"""docs/clients: every page is whole, and the Python of the SDKs' page does what it says."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.clients.conftest import Start
from tests.kit.live import Live
from tests.kit.markdown import code_blocks

PAGES = Path(__file__).parents[2] / "docs" / "clients"
SDKS = (PAGES / "sdks.md").read_text("utf-8")
PYTHON = code_blocks(SDKS, "python")
DOCUMENTED_URL = "http://127.0.0.1:4080"
SECTIONS = [
    "Configuration",
    "See that it works",
    "What works, and what does not",
    "Keys",
    "Troubleshooting",
]
SAID = "Hello from the scripted upstream."


async def run(code: str, live: Live) -> list[str]:
    """Runs it as it stands, but for the address; what it prints, line by line."""
    said: list[str] = []

    def tell(*words: object, end: str = "\n", **_: Any) -> None:
        said.append(" ".join(map(str, words)) + end)

    compiled = compile(code.replace(DOCUMENTED_URL, live.url), "sdks.md", "exec")
    await trio.to_thread.run_sync(exec, compiled, {"print": tell})
    return "".join(said).splitlines()


@pytest.mark.parametrize("code", PYTHON[:3], ids=["message", "stream", "openai"])
async def test_the_python_of_the_sdks_page_prints_an_answer(start: Start, code: str) -> None:
    live = await start("work")
    assert await run(code, live) == [SAID]
    (line,) = await live.wait_for_lines()
    assert (line["account"], line["status"]) == ("work", 200)
    assert line["dialect"] == ("openai" if "openai" in code else "anthropic")


async def test_the_answers_headers_say_who_served_it(start: Start) -> None:
    live = await start("work")
    served, request_id = await run(PYTHON[3], live)
    assert served == "work 1"
    (line,) = await live.wait_for_lines()
    assert line["request_id"] == request_id


def test_all_python_of_the_page_is_run() -> None:
    assert len(PYTHON) == 4
    for code in PYTHON:
        assert DOCUMENTED_URL in code
        assert ast.parse(code).body


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_each_clients_page_is_whole(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"(?m)^## (.+)$", text) == SECTIONS
    assert "supervisor logs" in text or "supervisor explain" in text
    assert "supervisor keys create" in text or "a key of this proxy" in text


async def test_the_bodies_that_pages_send_by_hand_are_served(start: Start) -> None:
    live = await start("work")
    commands = [
        match
        for page in sorted(PAGES.glob("*.md"))
        for match in re.findall(
            rf"curl -s {DOCUMENTED_URL}(/\S+).*?-d '(\{{.*?\}})'\n", page.read_text("utf-8"), re.S
        )
    ]
    assert len(commands) == 2
    for target, body in commands:
        json.loads(body)
        head = [("content-type", "application/json"), ("anthropic-version", "2023-06-01")]
        answered = await live.ask("POST", target, head, body.encode())
        assert answered.status == 200, answered
        assert SAID in answered.body.decode()

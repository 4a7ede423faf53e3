"""Which other settings a running Claude Code follows, and how it writes its settings file itself.

See `docs/claude-code-facts.md`; the facts are looked at again as in `test_settings_facts.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.clients.conftest import Open
from tests.clients.reactions import LOGIN
from tests.clients.sessions import BASE_URL, NOTICED, Session, in_place, only_in_a_sweep

pytestmark = [pytest.mark.client, pytest.mark.sweep, pytest.mark.timeout(300)]


def last_seen(running: Session) -> Any:
    every = [seen for upstream in running.upstreams.values() for seen in upstream.requests]
    return max(every, key=lambda seen: seen.started_at)


async def with_environment(running: Session, **environment: str) -> Any:
    """The last request of a turn under these settings."""
    running.point("here", **environment)
    await trio.sleep(NOTICED)
    await running.turn()
    return last_seen(running)


@only_in_a_sweep
async def test_the_token_is_followed_when_changed_and_kept_when_removed(opened: Open) -> None:
    async with opened() as running:
        tokens = ["one", "two", None, ""]
        sent = []
        for token in tokens:
            environment = {} if token is None else {"ANTHROPIC_AUTH_TOKEN": token}
            sent.append((await with_environment(running, **environment)).bearer)
        assert sent == ["one", "two", "two", None]


@only_in_a_sweep
async def test_an_empty_token_gives_the_login_back_and_a_removed_one_does_not(opened: Open) -> None:
    def log_in(running: Session) -> None:
        path = running.client.config_dir / ".credentials.json"
        path.write_text(json.dumps(LOGIN), "utf-8")
        path.chmod(0o600)

    own = LOGIN["claudeAiOauth"]["accessToken"]
    async with opened(api_key=None, before=log_in) as running:
        sent = [(await with_environment(running)).bearer]
        for token in ["ours", None, "", None]:
            environment = {} if token is None else {"ANTHROPIC_AUTH_TOKEN": token}
            sent.append((await with_environment(running, **environment)).bearer)
        assert sent == [own, "ours", "ours", own, own]


def tools(seen: Any, key: str) -> int:
    return sum(key in tool for tool in seen.json()["tools"])


@only_in_a_sweep
async def test_tool_search_is_followed_when_changed_and_kept_when_removed(opened: Open) -> None:
    name = "ENABLE_TOOL_SEARCH"
    async with opened() as running:
        sent = [await with_environment(running, **{name: "false"}), await with_environment(running)]
        sent.append(await with_environment(running, **{name: "true"}))
        assert [tools(seen, "defer_loading") for seen in sent] == [0, 0, 1]


@only_in_a_sweep
@pytest.mark.parametrize("first", ["0", "1"])
async def test_tools_go_on_streaming_as_they_did_when_first_sent(opened: Open, first: str) -> None:
    name, then = "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING", {"0": "1", "1": "0"}[first]
    async with opened() as running:
        began = await with_environment(running, **{name: first})
        after = await with_environment(running, **{name: then})
        assert (tools(began, "eager_input_streaming") > 5) == (first == "1")
        assert tools(after, "eager_input_streaming") == tools(began, "eager_input_streaming")


ODD = '{\n\t"zeta": [1,   2],\n\t"env": {"%s":"%s"},\n\t"unknownKey": true}'


@only_in_a_sweep
@pytest.mark.parametrize("linked", [False, True], ids=["plain", "linked"])
async def test_it_writes_the_file_only_when_told_to_and_then_anew(
    opened: Open, linked: bool, tmp_path: Path
) -> None:
    real = tmp_path / "dotfiles.json"

    def start(running: Session) -> None:
        if linked:
            running.file.unlink()
            running.file.symlink_to(real)
        running.file.write_text(ODD % (BASE_URL, running.urls["here"]), "utf-8")
        running.file.chmod(0o600)

    async with opened(before=start) as running:
        before, inode = running.file.read_text("utf-8"), running.file.stat().st_ino
        assert await running.turn() == "here"
        assert running.file.read_text("utf-8") == before
        await choose_effort(running)
        after = running.file.read_text("utf-8")
        assert running.file.stat().st_ino != inode
        assert (running.file.stat().st_mode & 0o777, running.file.is_symlink()) == (0o600, linked)
        # Every key is kept, but it is all in the client's own layout.
        assert after == json.dumps(json.loads(after), indent=2, ensure_ascii=False) + "\n"
        written = json.loads(after)
        assert written.pop("modelSettings")
        assert written == json.loads(before)
        if linked:
            await trio.sleep(NOTICED)
            in_place(real, json.dumps({"env": {BASE_URL: running.urls["there"]}}))
            await trio.sleep(NOTICED)
            assert await running.turn() == "there"


@only_in_a_sweep
async def test_what_it_writes_keeps_a_change_that_it_has_not_noticed_yet(opened: Open) -> None:
    async with opened() as running:
        assert await running.turn() == "here"
        await running.terminal.type("/effort high")
        await trio.sleep(NOTICED)
        running.point("there", SOMETHING="else")
        await choose_effort(running, typed=True)
        assert json.loads(running.file.read_text("utf-8"))["env"] == {
            BASE_URL: running.urls["there"],
            "SOMETHING": "else",
        }
        await trio.sleep(NOTICED)
        assert await running.turn() == "there"


async def choose_effort(running: Session, *, typed: bool = False) -> None:
    """The shortest way to make it write its settings."""
    if not typed:
        await running.terminal.type("/effort high")
        await trio.sleep(0.5)  # the list of commands opens over the line
    await running.terminal.press("enter")
    with trio.fail_after(20):
        while "modelSettings" not in running.file.read_text("utf-8"):  # noqa: ASYNC110
            await trio.sleep(0.02)  # the file tells nobody

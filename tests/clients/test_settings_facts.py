"""Which URL a running Claude Code asks after its settings file has changed: what ours rests on.

`docs/claude-code-facts.md` has these facts in words, with the version they were seen in, and those
of `test_retry_facts.py` and `test_environment_facts.py`. To look again, for a new version of the
client: `TEST_SWEEP=1 pytest -m sweep tests/clients -k facts`.
"""

from __future__ import annotations

import pytest
import trio

from server.scripted import Gate, Wait, tool_use_stream
from tests.clients.conftest import Open
from tests.clients.sessions import (
    BASE_URL,
    NOTICED,
    WAYS,
    Session,
    Write,
    answering,
    ask,
    asked_again,
    held,
    in_place,
    left,
    only_in_a_sweep,
    renamed,
)
from tests.kit.rounds import SWEEPING, rounds

pytestmark = [pytest.mark.client, pytest.mark.sweep, pytest.mark.timeout(300)]
TOO_SOON = 0.3


async def followed(running: Session, target: str, write: Write) -> float:
    """Points the settings at `target`; how long after it the first request went there."""
    since = running.point(target, write)
    with trio.fail_after(30):
        while await running.turn() != target:
            pass
    return running.asked()[-1][0] - since


@pytest.mark.parametrize("way", sorted(WAYS) if SWEEPING else ["renamed"])
async def test_a_running_session_follows_a_changed_base_url(opened: Open, way: str) -> None:
    async with opened() as running:
        assert await running.turn() == "here"
        taken = []
        for round_ in range(rounds(1, full=5)):
            taken.append(await followed(running, ("there", "here")[round_ % 2], WAYS[way]))
            if SWEEPING:  # a change right after another would be noticed with that one
                await trio.sleep(NOTICED)
        assert max(taken) < NOTICED, taken


@only_in_a_sweep
@pytest.mark.parametrize("was", ["a file without it", "no file"])
async def test_a_running_session_follows_an_added_base_url(opened: Open, was: str) -> None:
    def start(running: Session) -> None:
        running.client.env[BASE_URL] = running.urls["here"]  # as the shell would have it
        if was == "no file":
            running.file.unlink()

    async with opened(settings={}, before=start) as running:
        assert await running.turn() == "here"
        taken = await followed(running, "there", renamed)
        assert taken < NOTICED


@only_in_a_sweep
async def test_a_running_session_keeps_a_base_url_that_is_removed(opened: Open) -> None:
    async with opened() as running:
        assert await running.turn() == "here"
        running.write()
        await trio.sleep(2 * NOTICED)
        assert await running.turn() == "here"
        running.file.unlink()
        await trio.sleep(2 * NOTICED)
        assert await running.turn() == "here"


@only_in_a_sweep
async def test_a_file_that_does_not_parse_changes_nothing(opened: Open) -> None:
    async with opened() as running:
        assert await running.turn() == "here"
        in_place(running.file, '{"env": {"ANTHROPIC_BASE_URL": broken')
        await trio.sleep(2 * NOTICED)
        assert await running.turn() == "here"


# --- changed, then gone


@only_in_a_sweep
@pytest.mark.parametrize("seconds", [TOO_SOON, 1.5, 3.0, 5.0])
async def test_an_idle_session_follows_a_release_in_two_steps(opened: Open, seconds: float) -> None:
    async with opened() as running:
        for _ in range(rounds(1, full=3)):
            running.point("here")
            await trio.sleep(NOTICED)
            assert await running.turn() == "here"
            await left(running, seconds)
            # The control: two steps too close are one, and leave the session where it was.
            assert await running.turn() == ("here" if seconds == TOO_SOON else "there")


@only_in_a_sweep
@pytest.mark.parametrize("seconds", [TOO_SOON, 1.5, 3.0])
async def test_a_session_in_mid_turn_follows_with_its_next_request(
    opened: Open, seconds: float
) -> None:
    async with opened("--allowedTools", "Bash") as running:
        assert await running.turn() == "here"
        gate = Gate()
        tool = tool_use_stream("Bash", {"command": "echo ok", "description": "test"}, text="So.")
        whole = held(tool, 4, Wait(gate), *(tool.parts or ())[4:])
        running.upstreams["here"].default(whole, answering("here"))
        before = await ask(running, "w777")
        await left(running, seconds)
        gate.open()
        following = await asked_again(running, before + 2)
        assert following == ("here" if seconds == TOO_SOON else "there")

"""Inbound keys that are asked for from some moment on, or no longer: who has one notices nothing."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from server.scripted import ScriptedUpstream, text_message
from tests.e2e.conversation import question
from tests.kit.http_client import MemoryClient
from tests.kit.live import accounts
from tests.kit.memory_keys import OWNER_KEY, MemoryKeys
from tests.kit.program import RunningProgram, program_in_memory

SECONDS = 12.0
"""Longer than it takes to notice a change by looking now and then."""


class SlowKeys(MemoryKeys):
    """Each look at the file takes a while."""

    async def _turn(self, call: str) -> None:
        await trio.sleep(0.3)


def config(*, keys: bool) -> str:
    """One account, and whether clients need a key."""
    return (
        f"{accounts('a')}\n[access]\nkeys = {str(keys).lower()}\n"
        '[upstream]\nbase_url = "http://api.test"\n'
    )


async def ask(program: RunningProgram, key: str) -> int:
    """The status that somebody with `key` gets."""
    client = MemoryClient(await program.connect())
    answered = await client.post("/v1/messages", question(stream=False), {"x-api-key": key})
    await client.leave()
    return answered.status


async def reload(program: RunningProgram, *, keys: bool) -> None:
    """From now on clients need a key, or none."""
    program.change(config(keys=keys))
    owner = MemoryClient(await program.connect())
    headers = {"authorization": f"Bearer {OWNER_KEY}"}
    assert (await owner.post("/status/reload", b"", headers)).status == 200
    await owner.leave()


@pytest.mark.parametrize("keys", [True, False])
async def test_who_has_a_key_is_never_turned_away(autojump_clock: object, keys: bool) -> None:
    disk = SlowKeys()
    _, key = disk.add(1)
    statuses: Counter[int] = Counter()
    upstream = ScriptedUpstream(text_message("hello"))

    async def ask_again_and_again(program: RunningProgram) -> None:
        while True:
            statuses[await ask(program, key)] += 1
            await trio.sleep(0.1)

    async with (
        program_in_memory(config(keys=not keys), upstream, keys=disk) as program,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask_again_and_again, program)
        await trio.sleep(1)
        await reload(program, keys=keys)
        await trio.sleep(SECONDS)
        nursery.cancel_scope.cancel()
    assert set(statuses) == {200}
    assert statuses[200] > 50


async def test_who_has_none_is_turned_away_once_the_reload_is_answered(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream(text_message("hello"))
    async with program_in_memory(config(keys=False), upstream, keys=SlowKeys()) as program:
        assert await ask(program, "sk-mine") == 200
        await reload(program, keys=True)
        assert await ask(program, "sk-mine") == 401
        await reload(program, keys=False)
        assert await ask(program, "sk-mine") == 200

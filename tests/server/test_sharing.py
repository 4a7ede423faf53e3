"""How accounts share requests, from the client's side, in virtual time."""

from __future__ import annotations

import trio

from server.scripted import (
    ScriptedUpstream,
    Window,
    adding_headers,
    rate_limited,
    reply_to,
    text_message,
    unified_headers,
)
from tests.kit.http_client import MemoryClient
from tests.kit.program import EPOCH, RunningProgram, program_in_memory
from tests.server.test_relay import ask, lines

SESSION = "x-claude-code-session-id"


def accounts(names: str, extra: str = "") -> str:
    return "".join(
        f'[[account]]\nname = "{name}"\napi_key = "key-{name}"\n{extra}\n' for name in names
    )


def answering(names: str) -> ScriptedUpstream:
    upstream = ScriptedUpstream()
    for name in names:
        upstream.script(f"key-{name}", then=text_message(f"from {name}"))
    return upstream


async def served(program: RunningProgram, *sessions: str | None) -> str:
    """Which accounts served one request after the other."""
    names = ""
    for session in sessions:
        client = MemoryClient(await program.connect())
        headers = {} if session is None else {SESSION: session}
        message = {"model": "claude-x", "max_tokens": 9, "messages": []}
        answer = await client.post("/v1/messages", message, headers)
        names += answer.header("x-supervisor-account") or f"({answer.status})"
    return names


async def status(program: RunningProgram) -> dict[str, object]:
    answer = (await MemoryClient(await program.connect()).get("/status")).json()
    assert isinstance(answer, dict)
    return answer


async def reload(program: RunningProgram, text: str) -> None:
    program.change(text + '\n[upstream]\nbase_url = "http://api.test"\n')
    answer = await MemoryClient(await program.connect()).post("/status/reload", {})
    assert answer.status == 200


async def test_the_configured_strategy_serves_and_is_named(autojump_clock: object) -> None:
    config = '[routing]\nstrategy = "weighted"\n' + accounts("a", "weight = 2") + accounts("b")
    async with program_in_memory(config, answering("ab")) as program:
        assert await served(program, *[None] * 6) == "abaaba"
        assert (await status(program))["strategy"] == "weighted"
        newest = (await lines(program))[0]
    assert newest["reason"] == "weighted"


async def test_least_used_takes_whoever_is_idle_and_has_served_least(
    autojump_clock: object,
) -> None:
    config = '[routing]\nstrategy = "least-used"\n' + accounts("abc")
    async with program_in_memory(config, answering("abc")) as program:
        assert sorted(await served(program, *[None] * 6)) == list("aabbcc")


async def test_a_reload_changes_strategy_weights_and_limits_at_once(
    autojump_clock: object,
) -> None:
    async with program_in_memory(accounts("ab"), answering("ab")) as program:
        assert await served(program, *[None] * 3) == "aaa"
        await reload(program, '[routing]\nstrategy = "round-robin"\n' + accounts("ab"))
        assert await served(program, *[None] * 4) == "abab"
        assert (await status(program))["strategy"] == "round-robin"
        weights = accounts("a", "weight = 3") + accounts("b")
        await reload(program, '[routing]\nstrategy = "weighted"\n' + weights)
        assert await served(program, *[None] * 4) == "aaba"
        await reload(program, accounts("a", "requests_per_minute = 1") + accounts("b"))
        assert await served(program, *[None] * 3) == "abb"


async def test_a_session_comes_home_after_a_short_limit(autojump_clock: object) -> None:
    upstream = ScriptedUpstream()
    upstream.script(
        "key-a", text_message("one"), rate_limited(retry_after=30), then=text_message("back")
    )
    upstream.script("key-b", then=text_message("standing in"))
    async with program_in_memory(accounts("ab"), upstream) as program:
        assert await served(program, "s", "s", "s") == "abb"
        assert (await lines(program))[0]["reason"] == "the session's stand-in; a is cooling"
        await trio.sleep(31)
        assert await served(program, "s") == "a"
        assert (await lines(program))[0]["reason"] == "the session's account"


async def test_sessions_are_spread_and_then_stay(autojump_clock: object) -> None:
    config = '[routing]\nstrategy = "round-robin"\n' + accounts("ab")
    async with program_in_memory(config, answering("ab")) as program:
        assert await served(program, "s", "t", "s", "s", "t", "t") == "abaabb"


async def test_affinity_can_be_turned_off_and_forgets_who_is_silent(
    autojump_clock: object,
) -> None:
    shared = '[routing]\nstrategy = "round-robin"\naffinity_seconds = '
    async with program_in_memory(f"{shared}60\n" + accounts("ab"), answering("ab")) as program:
        assert await served(program, "s", "s") == "aa"
        await trio.sleep(61)
        assert await served(program, "s", "s") == "bb"
        await reload(program, f"{shared}0\n" + accounts("ab"))
        assert await served(program, "s", "s", "s", "s") == "abab"


async def test_everybody_at_a_limit_of_ours_is_a_429_that_says_when(
    autojump_clock: object,
) -> None:
    config = accounts("ab", "requests_per_minute = 1")
    async with program_in_memory(config, answering("ab")) as program:
        assert await served(program, None, None) == "ab"
        await trio.sleep(20.5)
        refused = await ask(program)
        assert (refused.status, refused.header("retry-after")) == (429, "40")
        await trio.sleep(40)
        assert await served(program, None) == "a"


async def test_an_account_whose_window_is_nearly_used_up_comes_after_the_others(
    autojump_clock: object,
) -> None:
    """What upstream said in the last answer decides the next choice, until the window resets."""
    windows = {"5h": Window(utilization=0.99, resets_at=int(EPOCH) + 3600)}
    nearly_spent = adding_headers(reply_to, unified_headers(windows))
    upstream = ScriptedUpstream()
    upstream.script("key-first", nearly_spent, then=text_message("first again"))
    upstream.script("key-second", text_message("second"))
    accounts = "".join(
        f'[[account]]\nname = "{n}"\napi_key = "key-{n}"\n' for n in ("first", "second")
    )
    document = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    async with program_in_memory(accounts, upstream) as program:
        served = []
        for pause in (0, 1, 3600):
            await trio.sleep(pause)
            client = MemoryClient(await program.connect())
            answer = await client.post("/v1/messages", document)
            served.append(answer.header("x-supervisor-account"))
    assert served == ["first", "second", "first"]

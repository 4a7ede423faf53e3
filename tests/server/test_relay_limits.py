"""Limits end to end in virtual time: what is benched, who is asked next, what the client sees."""

from __future__ import annotations

import pytest
import trio

from server.scripted import (
    Answer,
    ScriptedUpstream,
    Window,
    error,
    overloaded,
    rate_limited,
    text_message,
    unauthorized,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import EPOCH, RunningProgram, program_in_memory

NAMES = ("first", "second", "third", "fourth")


def pool(count: int, first_key: str = "key-first") -> str:
    entries = [
        f'[[account]]\nname = "{name}"\napi_key = "{first_key if name == "first" else "key-" + name}"\n'
        for name in NAMES[:count]
    ]
    return "".join(entries)


OK = text_message("hello")
HEALTHY = {"5h": Window(utilization=0.3, resets_at=int(EPOCH) + 9000)}
BARE = rate_limited(should_retry=True, message="try again")
LONG_CONTEXT = rate_limited(message="Extra usage is required for long context requests.")
BETA = {"anthropic-beta": "context-1m-2025-08-07"}


def burst(seconds: int, message: str = "slow down") -> Answer:
    return rate_limited(retry_after=seconds, windows=HEALTHY, message=message)


def spent(window: str, seconds: int, message: str = "spent") -> Answer:
    own = Window(utilization=1.0, resets_at=int(EPOCH) + seconds, status="rejected")
    return rate_limited(windows={**HEALTHY, window: own}, message=message)


async def ask(
    program: RunningProgram, model: str = "claude-sonnet-5-5", headers: dict[str, str] | None = None
) -> Received:
    """One request on a connection of its own."""
    client = MemoryClient(await program.connect())
    document = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return await client.post("/v1/messages", document, headers or {})


async def status(program: RunningProgram) -> dict[str, object]:
    document = (await MemoryClient(await program.connect()).get("/status")).json()
    assert isinstance(document, dict)
    return document


async def states(program: RunningProgram) -> list[str]:
    accounts = (await status(program))["accounts"]
    assert isinstance(accounts, list)
    return [account["state"] for account in accounts]


def touched(upstream: ScriptedUpstream) -> list[str]:
    return [(seen.credential or "").removeprefix("key-") for seen in upstream.requests]


@pytest.mark.promise("U6")
async def test_a_spent_window_rests_until_its_reset_and_no_longer(autojump_clock: object) -> None:
    """P3: not the retry-after of days, but the five-hour window's own end."""
    upstream = ScriptedUpstream()
    limit = spent("5h", 1200).with_headers({"retry-after": "459202"})
    upstream.script("key-first", limit, then=OK)
    async with program_in_memory(pool(1), upstream) as program:
        assert (await ask(program)).status == 429
        again = await ask(program)
        assert (again.status, again.header("retry-after")) == (429, "1200")
        assert len(upstream.requests) == 1
        await trio.sleep(1200.5)
        assert (await ask(program)).status == 200


async def test_a_reset_in_a_month_benches_no_longer_than_its_window(autojump_clock: object) -> None:
    """P3: five hours and a minute, then a healthy upstream is asked again."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", spent("5h", 30 * 86400), then=OK)
    async with program_in_memory(pool(1), upstream) as program:
        assert (await ask(program)).status == 429
        await trio.sleep(5 * 3600 + 61)
        assert (await ask(program)).status == 200


@pytest.mark.promise("U6")
async def test_an_exhausted_pool_tells_the_true_earliest(autojump_clock: object) -> None:
    """P4: resets in 40, 116 and 300 minutes; 2400 s, and one attempt each for all that ask."""
    upstream = ScriptedUpstream()
    for name, minutes in zip(NAMES, (116, 40, 300), strict=False):
        upstream.script(f"key-{name}", spent("5h", minutes * 60, name), then=OK)
    async with program_in_memory(pool(3), upstream) as program:
        answer = await ask(program)
        assert b"first" in answer.body
        for _ in range(5):
            again = await ask(program)
            assert (again.status, again.header("retry-after")) == (429, "2400")
    assert touched(upstream) == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("others", "config", "earliest"),
    [
        ((OK,), "[routing]\nmax_attempts = 1\n", "1"),
        ((spent("5h", 60),), "[routing]\nmax_attempts = 2\n", "60"),
        ((BARE, BARE), "", "1"),
    ],
    ids=["another is free", "another is back sooner", "two others were refused for nothing"],
)
async def test_who_stops_before_all_were_asked_hears_the_true_earliest_too(
    others: tuple[Answer, ...], config: str, earliest: str, autojump_clock: object
) -> None:
    """Rule 2: Claude Code gives up at once on a `retry-after` of minutes, with an idle account there."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=300, message="the first"), then=OK)
    for name, answer in zip(NAMES[1:], others, strict=False):
        upstream.script(f"key-{name}", answer, then=OK)
    async with program_in_memory(config + pool(1 + len(others)), upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.header("retry-after")) == (429, earliest)
        assert b"the first" in answer.body
        assert len(touched(upstream)) <= 1 + len(others)


async def test_a_clients_own_limit_keeps_its_retry_after(autojump_clock: object) -> None:
    """Without accounts there is no pool that could be back sooner."""
    upstream = ScriptedUpstream()
    upstream.default(rate_limited(retry_after=300))
    async with program_in_memory("[routing]\nmax_attempts = 1\n", upstream) as program:
        answer = await ask(program, headers={"x-api-key": "the-clients-own"})
        assert (answer.status, answer.header("retry-after")) == (429, "300")


async def test_what_is_said_of_the_request_itself_is_forwarded_as_it_is(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=600))
    final = error(400, "invalid_request_error", "no").with_headers({"retry-after": "300"})
    upstream.script("key-second", final)
    async with program_in_memory(pool(3), upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.header("retry-after")) == (400, "300")
        assert answer.header("x-supervisor-account") == "second"


async def test_an_overload_keeps_its_own_retry_after(autojump_clock: object) -> None:
    """It is the upstream's: that accounts are free says nothing."""
    upstream = ScriptedUpstream()
    upstream.default(overloaded().with_headers({"retry-after": "30"}))
    async with program_in_memory(pool(2), upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.header("retry-after")) == (529, "30")


async def test_after_a_burst_one_other_account_serves(autojump_clock: object) -> None:
    """P5: the burst rests exactly its seconds; nobody else does."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", burst(20), then=OK)
    async with program_in_memory(pool(4), upstream) as program:
        answer = await ask(program)
        assert answer.header("x-supervisor-account") == "second"
        assert await states(program) == ["cooling", "available", "available", "available"]
        assert (await status(program))["rateLimitedAccounts"] == 1
        await trio.sleep(20)
        assert (await ask(program)).header("x-supervisor-account") == "first"


@pytest.mark.parametrize("second", [burst(9, "second"), BARE])
async def test_a_second_short_limit_is_the_egress_and_stops_everybody(
    second: Answer, autojump_clock: object
) -> None:
    """P5: the first body, the second's bench; new requests hear the true end without an attempt."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", burst(20, "first"), then=OK)
    upstream.script("key-second", second, then=OK)
    rests = 9 if second is not BARE else 20
    async with program_in_memory(pool(4), upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.header("retry-after")) == (429, str(rests))
        assert answer.body == burst(20, "first").whole_body()
        document = await status(program)
        cooldowns = document["cooldowns"]
        assert isinstance(cooldowns, list)
        assert [cooldown["scope"] for cooldown in cooldowns] == ["egress"]
        assert document["availableAccounts"] == 3, "the second account is not to blame"
        refused = await ask(program)
        assert (refused.status, refused.header("retry-after")) == (429, str(rests))
        assert b"all accounts" in refused.body
        assert touched(upstream) == ["first", "second"]
        await trio.sleep(rests)
        assert (await ask(program)).status == 200


async def egress_targets(program: RunningProgram) -> list[str]:
    document = await status(program)
    cooldowns = document["cooldowns"]
    assert isinstance(cooldowns, list)
    return [cooldown["target"] for cooldown in cooldowns if cooldown["scope"] == "egress"]


async def test_resetting_an_account_lifts_the_bench_of_its_egress(autojump_clock: object) -> None:
    """The control: the other account's own burst stays, and so does the egress until then."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", burst(50), then=OK)
    upstream.script("key-second", burst(50), then=OK)
    async with program_in_memory(pool(4), upstream) as program:
        assert (await ask(program)).status == 429
        assert await egress_targets(program) == ["api.test"]
        client = MemoryClient(await program.connect())
        assert (await client.post("/status/accounts/third/disable", b"")).status == 200
        assert (await ask(program)).status == 429, "nothing else lifts it"
        assert (await client.post("/status/accounts/second/reset", b"")).status == 200
        assert await egress_targets(program) == []
        assert (await ask(program)).header("x-supervisor-account") == "second"


async def test_an_account_behind_another_upstream_is_not_behind_its_limit(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-first", burst(50, "first"), then=OK)
    upstream.script("key-second", burst(50), then=OK)
    other = '[[account]]\nname = "fourth"\napi_key = "key-fourth"\nbase_url = "http://else.test"\n'
    async with program_in_memory(pool(3) + other, upstream) as program:
        assert (await ask(program)).body == burst(50, "first").whole_body()
        assert await egress_targets(program) == ["api.test"]
        answer = await ask(program)
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "fourth")
        assert touched(upstream) == ["first", "second", "fourth"]


@pytest.mark.promise("U6")
async def test_a_herd_under_an_egress_limit_touches_two_of_four_accounts(
    autojump_clock: object,
) -> None:
    """P5: fifty at once, and fifty more that arrive while the first answers come in."""
    upstream = ScriptedUpstream()
    upstream.default(burst(30).after(0.5))
    answers: list[int] = []

    async def client(program: RunningProgram, delay: float) -> None:
        await trio.sleep(delay)
        answers.append((await ask(program)).status)

    async with program_in_memory(pool(4), upstream) as program:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(client, program, 0.0 if number < 50 else number * 0.02)
        assert set(touched(upstream)) == {"first", "second"}
        before = len(upstream.requests)
        assert (await ask(program)).status == 429
        assert len(upstream.requests) == before
    assert answers == [429] * 100


async def test_a_429_without_any_word_of_a_limit_is_forwarded_after_one_other_account(
    autojump_clock: object,
) -> None:
    """P6: the upstream's own body, nobody benched, nothing counted; first choice as before."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", BARE, then=OK)
    upstream.script("key-second", BARE, then=OK)
    async with program_in_memory(pool(4), upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.body) == (429, BARE.whole_body())
        assert answer.header("retry-after") is None
        document = await status(program)
        assert (document["availableAccounts"], document["cooldowns"]) == (4, [])
        accounts = document["accounts"]
        assert isinstance(accounts, list)
        assert {account["counters"]["rate_limits"] for account in accounts} == {0}
        assert (await ask(program)).header("x-supervisor-account") == "first"
    assert touched(upstream) == ["first", "second", "first"]


async def test_a_missing_long_context_is_no_cooldown_on_other_traffic(
    autojump_clock: object,
) -> None:
    """P7: an account with the entitlement serves that one; the next plain request goes to A."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", LONG_CONTEXT, then=OK)
    async with program_in_memory(pool(2), upstream) as program:
        assert (await ask(program, headers=BETA)).header("x-supervisor-account") == "second"
        assert (await ask(program)).header("x-supervisor-account") == "first"
        assert (await ask(program, headers=BETA)).header("x-supervisor-account") == "second"
        assert await states(program) == ["available", "available"]


async def test_a_long_context_that_nobody_has_is_told_by_the_upstream_itself(
    autojump_clock: object,
) -> None:
    """P7: forwarded as is, every time; a refusal of ours would say less."""
    upstream = ScriptedUpstream()
    upstream.default(LONG_CONTEXT)
    async with program_in_memory(pool(2), upstream) as program:
        for _ in range(3):
            answer = await ask(program, headers=BETA)
            assert (answer.status, answer.body) == (429, LONG_CONTEXT.whole_body())
    assert touched(upstream) == ["first", "second", "first", "first"]


async def test_one_familys_weekly_window_leaves_the_other_families(autojump_clock: object) -> None:
    """P8: the top family fails over, Sonnet stays; a success of Sonnet proves nothing for it."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", spent("7d_oi", 3600), then=OK)
    async with program_in_memory(pool(2), upstream) as program:
        served = [
            (await ask(program, model)).header("x-supervisor-account")
            for model in ("claude-fable-5-2", "claude-sonnet-5-5", "claude-fable-5-2")
        ]
        assert served == ["second", "first", "second"]
        assert await states(program) == ["available", "available"]
        await trio.sleep(3601)
        assert (await ask(program, "claude-fable-5-2")).header("x-supervisor-account") == "first"


ORGANIZATION = error(403, "permission_error", "oauth_not_allowed_for_organization")
DISABLED = error(400, "invalid_request_error", "This organization has been disabled.")
STRANGE = error(403, "forbidden", "no")


@pytest.mark.parametrize(
    ("refusal", "left"), [(ORGANIZATION, "cooling"), (DISABLED, "cooling"), (STRANGE, "available")]
)
async def test_an_account_that_is_refused_is_followed_by_another(
    refusal: Answer, left: str, autojump_clock: object
) -> None:
    """P10: the client sees 200; who is known to be refused rests, who is not does not."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", refusal, then=refusal)
    async with program_in_memory(pool(2), upstream) as program:
        assert (await ask(program)).header("x-supervisor-account") == "second"
        assert await states(program) == [left, "available"]


@pytest.mark.parametrize(("refusal", "attempts"), [(ORGANIZATION, 3), (STRANGE, 2)])
async def test_when_all_are_refused_the_client_sees_the_upstreams_own_words(
    refusal: Answer, attempts: int, autojump_clock: object
) -> None:
    """P10: an unknown 403 is tried on one other account, a known one on all."""
    upstream = ScriptedUpstream()
    upstream.default(refusal)
    async with program_in_memory(pool(3), upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.body) == (403, refusal.whole_body())
    assert len(upstream.requests) == attempts


async def test_a_late_401_for_an_old_key_does_not_bench_the_new_one(
    autojump_clock: object,
) -> None:
    """The key is replaced by a reload while the old one's request is still on its way."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", unauthorized().after(10))
    async with program_in_memory(pool(2), upstream) as program:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, program)
            await upstream.wait_for_requests(1)
            program.change(pool(2, first_key="key-new") + '[upstream]\nbase_url="http://api.test"')
            client = MemoryClient(await program.connect())
            assert (await client.post("/status/reload", {})).status == 200
        assert await states(program) == ["available", "available"]
        await ask(program)
    assert touched(upstream) == ["first", "second", "new"]


async def test_a_configured_ladder_is_climbed_by_failures_in_a_row(autojump_clock: object) -> None:
    """[cooldown] ladder: 60 s, then 300 s; a success begins anew."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(), rate_limited(), OK, rate_limited(), then=OK)
    config = pool(1) + "[cooldown]\nladder = [60, 300]\n"
    async with program_in_memory(config, upstream) as program:
        for rests in (60, 300):
            assert (await ask(program)).status == 429
            assert (await ask(program)).header("retry-after") == str(rests)
            await trio.sleep(rests)
        assert (await ask(program)).status == 200
        assert (await ask(program)).status == 429
        assert (await ask(program)).header("retry-after") == "60"


async def test_a_burst_after_a_wait_is_judged_afresh(autojump_clock: object) -> None:
    """The only account is at a burst twice: two short waits, and nobody takes it for the egress."""
    short = rate_limited(retry_after=1, windows=HEALTHY)
    upstream = ScriptedUpstream()
    upstream.script("key-first", short, short, then=text_message("calm"))
    async with program_in_memory(pool(1), upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.header("x-supervisor-attempts")) == (200, "3")

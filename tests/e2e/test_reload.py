"""A changed configuration takes effect while running, and nobody's stream notices."""

from __future__ import annotations

from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import rate_limited, reply_to
from tests.e2e.conftest import Upstream
from tests.e2e.conversation import Stream, ask, held_stream
from tests.kit.live import accounts
from tests.kit.process import JSON, Supervised, listening, pointed_at, write_config
from tests.kit.promises import Measured
from tests.kit.rounds import rounds
from tests.kit.wire import Wire

STREAMS = 50
NOTICED_SECONDS = 30.0
"""Longest wait for a reload that nobody asked for; it should take 1 to 2, and a busy machine more."""


RELOAD_EVERY = 0.1
RELOADS = rounds(quick=10, full=100)
ADDED_SECONDS = 5.0
"""Until an added account serves. It should take less than one; a busy machine stretches it."""


async def until_loaded_again(process: Supervised, before: dict[str, Any]) -> dict[str, Any]:
    """The status once the configuration, or what is wrong with it, is another one."""
    with trio.fail_after(NOTICED_SECONDS):
        while (now := await process.status())["config"] == before["config"]:  # noqa: ASYNC110 - of another process
            await trio.sleep(0.05)
    return now


def named(status: dict[str, Any]) -> list[str]:
    return [account["name"] for account in status["accounts"]]


def account_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(account for account in status["accounts"] if account["name"] == name)


@pytest.mark.promise("G2")
async def test_accounts_come_change_and_go_under_fifty_streams_and_none_is_dropped(
    upstream: Upstream, config: Path, state: Path
) -> None:
    upstream.default(held_stream())
    write_config(config, pointed_at(upstream.url, accounts("a", "b"), drain=30))
    async with listening(config, state=state) as process, AsyncExitStack() as stack:
        streams: list[Stream] = []
        for _ in range(STREAMS):
            begun = await Stream.begun(process.url)
            streams.append(await stack.enter_async_context(begun))
        assert {stream.account for stream in streams} == {"a"}

        # `a` goes, `b` gets another key, `c` comes: many times over, while the streams run.
        for number in range(10):
            changed = f'[[account]]\nname = "b"\napi_key = "key-b-{number}"'
            write_config(config, pointed_at(upstream.url, f"{changed}\n{accounts('c')}", drain=30))
            began = trio.current_time()
            answered = await process.reload()
            assert (answered.status, answered.json()) == (200, {"restart_needed": []})
            assert named(await process.status()) == ["b", "c"]
            async with await Stream.begun(process.url, [("x-account-name", "c")]) as added:
                assert added.account == "c"
            assert trio.current_time() - began < 10  # it should take less than one
            gone = await ask(process, [("x-account-name", "a")])
            assert gone.status == 404, "no new request is given to an account that is gone"
            write_config(config, pointed_at(upstream.url, accounts("a", "b"), drain=30))
            assert (await process.reload()).status == 200
        write_config(config, pointed_at(upstream.url, accounts("c"), drain=30))
        assert (await process.reload()).status == 200

        upstream.gate("end").open()
        async with trio.open_nursery() as nursery:
            ended: list[bool] = []

            async def end(stream: Stream) -> None:
                ended.append(await stream.ended_well())

            for stream in streams:
                nursery.start_soon(end, stream)
        assert ended == [True] * STREAMS
        status = await process.status()
        assert named(status) == ["c"]
        assert status["in_flight"] == 0
        assert [actor for actor in status["actors"] if actor["restarts"]] == []
        assert "crashed" not in process.stderr


@pytest.mark.promise("G2")
@pytest.mark.sweep
async def test_reloading_ten_times_a_second_drops_no_stream(
    upstream: Upstream,
    config: Path,
    state: Path,
    measured: Measured,
) -> None:
    """Fifty streams run all the while; accounts come and go under them (G2)."""
    upstream.default(held_stream())
    both = pointed_at(upstream.url, accounts("a", "b"), drain=60)
    other = pointed_at(upstream.url, accounts("b", "c"), drain=60)
    write_config(config, both)
    slowest = 0.0
    async with listening(config, state=state) as process, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(await Stream.begun(process.url)) for _ in range(STREAMS)
        ]
        async with await Wire.to(process.url) as wire:
            for number in range(RELOADS):
                next_at = trio.current_time() + RELOAD_EVERY
                write_config(config, other if number % 2 == 0 else both)
                began = trio.current_time()
                assert (await wire.ask("POST", "/status/reload", JSON, b"")).status == 200
                pinned = [*JSON, ("x-account-name", "c")]
                async with (
                    await Stream.begun(process.url, pinned) if number % 2 == 0 else (nullcontext())
                ):
                    slowest = max(slowest, trio.current_time() - began)
                await trio.sleep_until(next_at)
        upstream.gate("end").open()
        ended = [await stream.ended_well() for stream in streams]
        assert ended == [True] * STREAMS
        measured("G2", f"dropped of {STREAMS} streams", ended.count(False), rounds=RELOADS)
        measured("G2", "an added account serves, slowest", slowest, "s", rounds=RELOADS)
        assert slowest < ADDED_SECONDS
        assert "crashed" not in process.stderr
        status = await process.status()
        assert status["in_flight"] == 0
        assert [actor for actor in status["actors"] if actor["restarts"]] == []


async def test_a_program_that_is_started_again_instead_drops_them(
    upstream: Upstream, config: Path, state: Path
) -> None:
    """The control: streams that are cut are seen."""
    upstream.default(held_stream())
    write_config(config, pointed_at(upstream.url, accounts("a"), drain=0))
    async with listening(config, state=state) as process, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(await Stream.begun(process.url)) for _ in range(5)
        ]
        process.process.terminate()
        assert await process.ends() == 0
        for stream in streams:
            with pytest.raises(AssertionError, match="never came"):
                await stream.ended_well()


async def test_a_new_key_lifts_the_benches_of_its_account(
    upstream: Upstream, config: Path, state: Path
) -> None:
    upstream.script("key-a", rate_limited(retry_after=3000))
    write_config(config, pointed_at(upstream.url, accounts("a")))
    async with listening(config, state=state) as process:
        assert (await ask(process)).status == 429
        assert account_of(await process.status(), "a")["state"] == "cooling"
        assert (await process.reload()).status == 200
        assert account_of(await process.status(), "a")["state"] == "cooling", "the same key"
        write_config(config, pointed_at(upstream.url, accounts("a").replace("key-a", "key-new")))
        assert (await process.reload()).status == 200
        assert account_of(await process.status(), "a")["state"] == "available"
        assert (await ask(process)).status == 200
        assert upstream.requests[-1].credential == "key-new"


@pytest.mark.promise("G1")
async def test_an_edit_is_noticed_by_itself_a_bad_one_is_refused_whole_and_a_good_one_clears_it(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("a")))
    async with listening(config, state=state) as process:
        before = await process.status()
        write_config(config, pointed_at(upstream.url, accounts("a", "b")))
        # How soon it is noticed is counted in the watcher's own looks (`tests/actors`, in virtual
        # time); a busy machine stretches seconds, so here it only has to be noticed by itself.
        with trio.fail_after(NOTICED_SECONDS):
            while named(await process.status()) != ["a", "b"]:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.02)

        good = await process.status()
        for wrong, words in (
            (f"{accounts('x')}\nweihgt = 2", "account[0].weihgt"),
            ("[server]\nport = 'x'\n[routing]\nstrategy = 5", "routing.strategy"),
            ("[[account", "syntax error"),
            (f'[upstream]\nca_file = "{config}"\n{accounts("x")}', "upstream.ca_file"),
        ):
            write_config(config, wrong)
            now = await until_loaded_again(process, good)
            assert words in now["config"]["error"]
            assert now["config"]["loaded_at"] == good["config"]["loaded_at"]
            assert named(now) == ["a", "b"]
            answered = await process.reload()
            assert answered.status == 422
            assert any(words in error for error in answered.json()["errors"])
            assert (await ask(process)).status == 200
            good = now
        config.unlink()
        assert (await process.reload()).status == 422
        write_config(config, pointed_at(upstream.url, accounts("c")))
        with trio.fail_after(NOTICED_SECONDS):
            while (await process.status())["config"]["error"] is not None:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.05)
        assert named(await process.status()) == ["c"]
        assert before["config"]["error"] is None
        assert "crashed" not in process.stderr


@pytest.mark.promise("G1")
async def test_a_reload_of_the_same_bytes_changes_nothing(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("a", "b")))
    upstream.script("key-a", rate_limited(retry_after=3000))
    async with listening(config, state=state) as process, await Wire.to(process.url) as kept:
        for _ in range(3):
            assert (await ask(process)).status == 200
        before = await process.status()
        connections = upstream.connections_total
        for _ in range(5):
            config.touch()
            write_config(config, config.read_text())
            assert (await kept.ask("POST", "/status/reload", [], b"")).status == 200
        assert (await ask(process)).status == 200
        assert upstream.connections_total == connections, "the upstream connection is still used"
        after = await process.status()
        for name in ("a", "b"):
            old, new = account_of(before, name), account_of(after, name)
            assert new["cooldowns"] == old["cooldowns"]
            assert new["counters"]["rate_limits"] == old["counters"]["rate_limits"]
        assert account_of(after, "b")["counters"]["requests"] == 4
        assert [actor["incarnation"] for actor in after["actors"]] == [
            actor["incarnation"] for actor in before["actors"]
        ]


@pytest.mark.promise("G2")
async def test_from_the_pool_to_passthrough_and_back_nobody_is_ever_refused(
    upstream: Upstream, config: Path, state: Path
) -> None:
    pool = pointed_at(upstream.url, accounts("a"))
    other = pointed_at(upstream.url, accounts("b"))
    nobody = pointed_at(upstream.url)
    write_config(config, pool)
    statuses: list[int] = []
    async with listening(config, state=state) as process:

        async def keep_asking() -> None:
            async with await Wire.to(process.url) as wire:
                headers = [("content-type", "application/json"), ("x-api-key", "key-of-a-client")]
                while True:
                    answered = await wire.ask("POST", "/v1/messages", headers, QUESTION)
                    statuses.append(answered.status)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(keep_asking)
            for text, mode in ((nobody, "passthrough"), (pool, "pool"), (other, "pool")) * 3:
                write_config(config, text)
                assert (await process.reload()).status == 200
                assert (await process.status())["mode"] == mode
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        assert set(statuses) == {200}, "whichever mode is on, somebody serves"
        credentials = {seen.credential for seen in upstream.requests}
        assert credentials == {"key-a", "key-b", "key-of-a-client"}
        assert "crashed" not in process.stderr


async def test_other_upstream_limits_count_from_then_on_and_the_old_connections_close_when_idle(
    upstream: Upstream, config: Path, state: Path
) -> None:
    upstream.script("key-a", held_stream(), then=reply_to)
    write_config(config, pointed_at(upstream.url, accounts("a"), drain=30))
    async with listening(config, state=state) as process:
        async with await Stream.begun(process.url) as stream:
            for number in range(3):
                upstream.script("key-a", reply_to)
                more = f"idle_timeout = {100 + number}\n{accounts('a')}"
                write_config(config, pointed_at(upstream.url, more, drain=30))
                assert (await process.reload()).status == 200
                assert (await ask(process)).status == 200
            with trio.fail_after(NOTICED_SECONDS):
                # The stream's own, and the one that is used from now on.
                await upstream.wait_for(lambda: upstream.open_connections == 2)
            upstream.gate("end").open()
            assert await stream.ended_well()
        with trio.fail_after(NOTICED_SECONDS):
            await upstream.wait_for(lambda: upstream.open_connections == 1)
        # What is not connected yet has the new limit: nothing answers on this one.
        more = f"response_timeout = 0.2\n{accounts('a')}"
        upstream.default(held_stream())
        upstream.unscript("key-a")
        write_config(config, pointed_at(upstream.url, more, drain=30))
        assert (await process.reload()).status == 200


async def test_an_upstream_that_no_account_names_any_more_is_closed(
    upstream: Upstream, config: Path, state: Path
) -> None:
    elsewhere = f'{accounts("a")}\nbase_url = "{upstream.url}"'
    write_config(config, pointed_at("http://127.0.0.1:9", elsewhere))
    async with listening(config, state=state) as process:
        assert (await ask(process)).status == 200
        assert upstream.open_connections == 1
        write_config(config, pointed_at("http://127.0.0.1:9", accounts("a")))
        assert (await process.reload()).status == 200
        with trio.fail_after(NOTICED_SECONDS):
            await upstream.wait_until_closed()


async def test_what_needs_a_restart_is_told_each_time_and_the_rest_takes_effect(
    upstream: Upstream, config: Path, state: Path
) -> None:
    write_config(config, pointed_at(upstream.url, accounts("a")))
    async with listening(config, state=state) as process:
        changed = (
            "[server]\nport = 1\nhost = 'localhost'\ndrain_seconds = 0\n"
            "allowed_hosts = ['proxy.test']\n[supervision]\nintensity = 9\n"
            f"[logs]\nlevel = 'debug'\ndirectory = '{state}/elsewhere'\n"
            f'[upstream]\nbase_url = "{upstream.url}"\n{accounts("b")}\n'
        )
        write_config(config, changed)
        expected = ["server.host", "server.port", "logs.directory", "supervision.intensity"]
        for _ in range(2):
            answered = await process.reload()
            assert (answered.status, answered.json()) == (200, {"restart_needed": expected})
        assert named(await process.status()) == ["b"]
        async with await Wire.to(process.url) as wire:
            wire.host = "proxy.test"
            assert (await wire.ask("GET", "/health")).status == 200
            wire.host = "elsewhere.test"
            assert (await wire.ask("GET", "/health")).status == 403
        assert (await ask(process)).status == 200
        await trio.sleep(0.2)
        assert not (state / "elsewhere").exists()


QUESTION = b'{"model": "claude-opus-5-5", "max_tokens": 9, "messages": []}'

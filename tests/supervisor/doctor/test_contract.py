"""The gateway contract: kept by this program in both modes, and seen to be broken by others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from protocol.config import Access, Account, Config, Provider, Route, Server
from protocol.secrets import Secret
from server.scripted import Answer, ScriptedUpstream, SeenRequest, error, reply_to
from supervisor.doctor import contract
from supervisor.doctor.contract import RULES, Replay, Upstream, breaches
from supervisor.doctor.replica import likened, replayed


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("express", [True, False])
def test_this_program_keeps_every_rule(pool: bool, express: bool) -> None:
    assert replayed(Config(server=Server(express=express)), pool=pool) == []


def test_the_replica_leads_nowhere_but_to_the_built_in_upstream() -> None:
    config = Config(
        server=Server(host="0.0.0.0", port=4080, tls_certificate="/c", tls_key="/k"),
        accounts=(Account("work", api_key=Secret("sk-ant-api03-real"), base_url="https://real"),),
        providers=(Provider("openai", "https://real", api_key=Secret("sk-real")),),
        routes=(Route("gpt-*", provider="openai"),),
        access=Access(token=Secret("real")),
    )
    for pool in (True, False):
        made = likened(config, "http://127.0.0.1:9", 1234, pool=pool)
        text = repr(msgspec.to_builtins(made, enc_hook=lambda secret: secret.reveal()))
        assert "real" not in text
        assert made.server.host == "127.0.0.1"
        assert not made.client.manage
        assert not made.probe.enabled


@asynccontextmanager
async def _front(answer: object) -> AsyncGenerator[Replay, None]:
    """A gateway that answers by itself, and an upstream that nobody asks."""
    upstream = Upstream()
    async with trio.open_nursery() as nursery:
        front = ScriptedUpstream(answer)  # type: ignore[arg-type]
        url = await nursery.start(front.serve_tcp)
        replay = Replay(url, upstream, pool=False)
        yield replay
        await replay.aclose()
        nursery.cancel_scope.cancel()


async def test_a_gateway_that_answers_500_breaks_every_rule() -> None:
    async with _front(error(500, "api_error", "no")) as replay:
        assert [breach.rule for breach in await breaches(replay)] == [name for name, _ in RULES]


async def test_a_gateway_that_wraps_errors_and_changes_bodies_is_seen() -> None:
    """It forwards: what reaches the upstream and what comes back is not what was sent."""
    upstream = Upstream()

    def meddling(seen: SeenRequest) -> Answer:
        """As a gateway would, to the upstream and back, but for its habits."""
        kept = [pair for pair in seen.headers if pair[0] != b"anthropic-doctor"]
        passed = SeenRequest(
            seen.number, 0, 0, seen.method, seen.target.partition(b"?")[0],
            [(key, b"only-known" if key == b"anthropic-beta" else value) for key, value in kept],
            0.0, body=b"{}",
        )  # fmt: skip
        upstream.server.requests.append(passed)
        answer = upstream.answer or reply_to(seen)
        wrapped = b'{"detail":"upstream error"}'
        return answer if answer.status < 400 else Answer(status=answer.status, body=wrapped)

    async with trio.open_nursery() as nursery:
        url = await nursery.start(ScriptedUpstream(meddling).serve_tcp)
        found = {
            breach.rule: breach.found
            for breach in await breaches(Replay(url, upstream, pool=False))
        }
        nursery.cancel_scope.cancel()
    assert found == {
        "query and body pass as they are": "the query became ''",
        "anthropic headers pass as they are": "anthropic-beta became 'only-known'",
        "a login travels with its beta": "oauth-2025-04-20 is 0 times among the betas of a login",
        "errors pass unmodified": "the upstream's error was changed on its way",
    }


async def test_a_gateway_that_holds_streams_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "FIRST_EVENT_SECONDS", 0.2)
    held = Answer(headers=(("content-type", "text/event-stream"),), body=b"x", delay=0.0)
    async with _front(held) as replay:
        assert "held back" in await contract.streams(replay)


async def test_a_client_s_credential_in_place_of_an_account_s_is_seen() -> None:
    upstream = Upstream()

    def passing(seen: SeenRequest) -> Answer:
        upstream.server.requests.append(seen)
        return reply_to(seen)

    async with trio.open_nursery() as nursery:
        url = await nursery.start(ScriptedUpstream(passing).serve_tcp)
        replay = Replay(url, upstream, pool=True)
        assert "in place of an account's" in await contract.login_stays(replay)
        await replay.aclose()
        nursery.cancel_scope.cancel()


async def test_a_gateway_that_hangs_is_seen_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "RULE_SECONDS", 0.1)
    async with _front(Answer(instead_of_head="stall")) as replay:
        found = await breaches(replay)
    assert {breach.found for breach in found} <= {"there was no answer in time"}
    assert len(found) == len(RULES)

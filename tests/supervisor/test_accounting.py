"""What the program makes of its readings and its lines."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest
import trio
from trio.testing import MockClock

from server.scripted import Answer, ScriptedUpstream, Window, text_message
from server.scripted.errors import unified_headers
from supervisor.accounting import Accounting
from tests.e2e.conversation import question
from tests.kit.http_client import MemoryClient
from tests.kit.live import accounts
from tests.kit.program import EPOCH, configured, program_in_memory


def using(utilization: float) -> Answer:
    window = Window(utilization=utilization, resets_at=int(EPOCH) + 9000)
    made = text_message("hello")
    return msgspec.structs.replace(made, headers=(*made.headers, *unified_headers({"5h": window})))


async def test_the_status_forecasts_what_the_answers_of_a_while_said(
    autojump_clock: MockClock,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-a", using(0.1), using(0.4), then=using(0.4))
    async with program_in_memory(
        f"{accounts('a')}\n[probe]\nenabled = false\n", upstream
    ) as program:
        client = MemoryClient(await program.connect())

        async def forecast() -> object:
            shown = await MemoryClient(await program.connect()).get("/status/accounts/a")
            return shown.json()["forecast"].get("5h")

        assert (await client.post("/v1/messages", question(stream=False))).status == 200
        await trio.sleep(6)
        assert await forecast() is None
        await trio.sleep(1794)
        client = MemoryClient(await program.connect())
        assert (await client.post("/v1/messages", question(stream=False))).status == 200
        await trio.sleep(6)
        told = await forecast()
        assert isinstance(told, dict)
        assert told["rate_per_hour"] == pytest.approx(0.6, rel=0.02)
        full_at = datetime.fromisoformat(told["full_at"]).timestamp()
        assert full_at == pytest.approx(EPOCH + 1800 + 3600, abs=90)


def test_a_provider_is_priced_by_its_configured_base_url() -> None:
    text = '[[provider]]\nname = "p"\nbase_url = "https://api.openai.com/v1"\n'
    config = configured(text)
    accounting = Accounting(lambda: config, real=False)
    assert accounting._base_url("p") == "https://api.openai.com/v1"
    assert accounting._base_url("q") is None

"""The real Claude Code against every recorded error: alone with the upstream, and through us.

Each case runs three times at once, against an upstream that answers as the recording says: directly,
through the proxy without accounts, and through the proxy with one account. Without accounts the
client does exactly the same. With one it does too, but for `BY_DESIGN`: there the pool does what it
is for, and the table says what the client notices of it and why.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import ScriptedUpstream
from tests.clients.reactions import Case, Reaction, differences
from tests.kit import corpus
from tests.kit.live import Live, accounts, serve_live
from tests.kit.rounds import SWEEPING

pytestmark = [pytest.mark.client, pytest.mark.timeout(300)]

RECORDED = [
    name.removeprefix("claude-code/")
    for name in corpus.names("claude-code")
    if name.startswith(("claude-code/e4", "claude-code/e5"))
]
ONE_OF_EACH_KIND = [
    "e400_generic",  # features dropped one after the other
    "e400_midsys_role",  # the wording is understood
    "e401_api_key",
    "e404_fallback_model",
    "e413",
    "e429_retry_after_2",
    "e429_unified_rejected_oauth",
    "e503_html",
    "e529",
]


@dataclass(frozen=True)
class Differs:
    """What the client gets where the pool steps in.

    `answered` are the statuses of its own requests; `asked` how many requests the upstream saw
    (None: it depends on how long the client happens to wait); `message` what it shows in the end,
    None for the upstream's own words. What it asks for is the same in every case.
    """

    answered: Sequence[int]
    asked: int | None
    why: str
    message: str | None = None


NO_CREDENTIAL = "the upstream refuses the credential of every account"
OVERLOAD = "an overload is tried twice more for the client, whatever the client does then (rule 5)"
SHORT_WAIT = "a rest of no more than `max_wait` is waited out for the client"

BY_DESIGN = {
    "e401_api_key": Differs(
        [401, 503],
        1,
        "the refused key is ours, not the client's: it rests, and asking again could not help. The "
        "503 says so and is final (rules 2 and 3)",
        NO_CREDENTIAL,
    ),
    "e401_oauth": Differs(
        [401, 503],
        1,
        "as with the key: the login of the client is not what was refused",
        NO_CREDENTIAL,
    ),
    "e429_plain": Differs(
        [429, 429, 429],
        None,
        "a limit without evidence rests 1, 2, 4 ... s (rule 1 e); a request during such a rest is "
        "not sent, and the answer says when the account is back (rule 2)",
        "account 'first' is at its limit",
    ),
    "e429_retry_after_2": Differs([429, 200], 3, SHORT_WAIT),
    "e429_retry_after_date": Differs([200], 2, f"{SHORT_WAIT}: 1 s, as without any evidence"),
    "e429_retry_after_ms": Differs([200], 2, f"{SHORT_WAIT}: 1 s, as without any evidence"),
    "e429_x_should_retry_false": Differs(
        [429], 2, f"{SHORT_WAIT}; then the client gets the upstream's word and stops as told"
    ),
    "e529": Differs([529] * 3, 9, OVERLOAD),
    "e529_fallback_model": Differs([529] * 3 + [200], 10, OVERLOAD),
    "e529_x_should_retry_false": Differs([529], 3, OVERLOAD),
}


ASKED_SINCE = {"e400_max_tokens": 8}
"""By recording, how often the client asks now, where it has changed since. 2.1.330 lowers `max_tokens`
to what the upstream says it takes, before it goes on as it did."""


class Runs:
    """The same case, as often as needed, each time with a home and an upstream of its own."""

    def __init__(self, binary: Path, nursery: trio.Nursery, homes: Path) -> None:
        self._binary, self._nursery, self._homes = binary, nursery, homes
        self._numbers = itertools.count(1)

    def _home(self) -> Path:
        """All are of the same length: the client counts its own prompt, which names them."""
        return self._homes / f"home{next(self._numbers):02}"

    async def proxy(self, *names: str) -> Live:
        """The proxy with these accounts, in front of an upstream of its own."""
        state = self._home()
        state.mkdir(parents=True)
        live: Live = await self._nursery.start(serve_live, accounts(*names), state)
        return live

    async def directly(self, case: Case) -> Reaction:
        upstream = ScriptedUpstream()
        url = await self._nursery.start(upstream.serve_tcp)
        return await case.react(self._binary, url, self._home(), upstream)

    async def through(self, live: Live, case: Case) -> Reaction:
        reaction = await case.react(self._binary, live.url, self._home(), live.upstream)
        assert not live.upstream.script_errors
        return reaction


@pytest.fixture
def runs(claude_code_binary: Path, nursery: trio.Nursery, tmp_path: Path) -> Runs:
    return Runs(claude_code_binary, nursery, tmp_path / "homes")


async def together(**tasks: Any) -> dict[str, Reaction]:
    """The results of coroutines by name; they run at the same time."""
    results: dict[str, Reaction] = {}

    async def keep(name: str, task: Any) -> None:
        results[name] = await task

    async with trio.open_nursery() as nursery:
        for name, task in tasks.items():
            nursery.start_soon(keep, name, task)
    return results


@pytest.mark.sweep
@pytest.mark.parametrize("name", RECORDED if SWEEPING else ONE_OF_EACH_KIND)
async def test_the_client_reacts_to_us_as_to_the_upstream_alone(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("server.relay.OVERLOAD_DELAYS", (0.0, 0.0))
    case = Case(name)
    passthrough, pool = await runs.proxy(), await runs.proxy("first")
    seen = await together(
        direct=runs.directly(case),
        passthrough=runs.through(passthrough, case),
        pool=runs.through(pool, case),
    )
    direct = seen["direct"]
    check_it_is_what_was_recorded(direct, case)
    assert differences(direct, seen["passthrough"]) == []
    if name in BY_DESIGN:
        await check_by_design(direct, seen["pool"], pool, BY_DESIGN[name])
    else:
        assert differences(direct, seen["pool"]) == []
    for reaction in seen.values():
        check_waits(reaction, case)


def check_it_is_what_was_recorded(direct: Reaction, case: Case) -> None:
    """Else the client has changed since, and the recordings want to be made again."""
    recorded = ASKED_SINCE.get(case.name, case.fixture["exchanges_total"])
    ended_well = case.recorded_answers()[-1].status == 200
    cut_short = bool(direct.retries) and not ended_well
    assert len(direct.asked) == (min(recorded, 1 + case.retries) if cut_short else recorded)


async def check_by_design(direct: Reaction, pool: Reaction, live: Live, differs: Differs) -> None:
    lines = await live.wait_for_lines(len(differs.answered))
    assert [line["status"] for line in reversed(lines)] == list(differs.answered)
    assert len(lines) == len(await live.request_lines())
    assert differs.asked in (None, len(pool.asked))
    assert pool.different == direct.different
    if differs.message is None:
        assert pool.end == direct.end
    else:
        assert differs.message in pool.message
        assert pool.ending["returncode"] == direct.ending["returncode"]


def check_waits(reaction: Reaction, case: Case) -> None:
    """Whoever waited, a retry-after in seconds was obeyed."""
    for gap, answer in zip(reaction.gaps, case.recorded_answers(), strict=False):
        seconds = answer.header("retry-after") or ""
        if seconds.isdigit():
            assert gap >= float(seconds) - 0.1


async def test_a_changed_header_would_be_noticed(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the comparison tells a proxy that keeps one header to itself."""

    def forgetful(headers: Any, added: Any) -> list[tuple[bytes, bytes]]:
        return [pair for pair in [*headers, *added] if pair[0].lower() != b"x-should-retry"]

    monkeypatch.setattr("server.relay.to_client", forgetful)
    case = Case("e503_x_should_retry_false")
    live = await runs.proxy()
    seen = await together(direct=runs.directly(case), passthrough=runs.through(live, case))
    assert "1 requests, 3 requests" in differences(seen["direct"], seen["passthrough"])


async def test_what_differs_between_any_two_runs_is_not_taken_for_a_difference(runs: Runs) -> None:
    case = Case("e503_html", retries=2)
    seen = await together(one=runs.directly(case), other=runs.directly(case))
    assert differences(seen["one"], seen["other"]) == []
    assert seen["one"].retries == [503, 503]


def test_every_difference_by_design_belongs_to_a_recording() -> None:
    assert set(BY_DESIGN) <= set(RECORDED)
    assert set(ONE_OF_EACH_KIND) <= set(RECORDED)
    assert len(RECORDED) >= 45


@pytest.mark.sweep
@pytest.mark.skipif(not SWEEPING, reason="takes three minutes: TEST_SWEEP=1")
async def test_ten_retries_are_ten_retries_through_us(runs: Runs) -> None:
    live = await runs.proxy()
    one, other = Case("e429_plain", retries=10), Case("e500", retries=10)
    second = await runs.proxy("first")
    seen = await together(
        limited=runs.directly(one),
        limited_through=runs.through(live, one),
        broken=runs.directly(other),
        broken_through=runs.through(second, other),
    )
    assert differences(seen["limited"], seen["limited_through"]) == []
    assert differences(seen["broken"], seen["broken_through"]) == []
    assert [len(reaction.asked) for reaction in seen.values()] == [11] * 4

"""How many accounts one request may try after a limit that does not say whose it is."""

from __future__ import annotations

import pytest

from protocol.accounts import Scope
from protocol.hops import Hops, weighed
from protocol.verdict import Action, Verdict

BURST = Verdict(Action.NEXT, Scope.ACCOUNT, "burst", 20.0)
BARE = Verdict(Action.NEXT, Scope.REQUEST, "windowless")
WINDOW = Verdict(Action.NEXT, Scope.ACCOUNT, "window_5h")
BROKEN = Verdict(Action.NEXT, Scope.PROVIDER, "server_error")
FORBIDDEN = Verdict(Action.NEXT, Scope.REQUEST, "forbidden")


def egress(seconds: float | None) -> tuple[Action, Scope, float | None]:
    return Action.STOP, Scope.EGRESS, seconds


@pytest.mark.parametrize(
    ("met", "fresh", "outcome"),
    [
        ([BURST], False, (Action.NEXT, Scope.ACCOUNT, 20.0)),
        ([BURST], True, egress(20.0)),
        ([BURST, BURST], False, egress(20.0)),
        ([BURST, BARE], False, egress(20.0)),
        ([BARE], False, (Action.NEXT, Scope.REQUEST, None)),
        ([BARE], True, egress(None)),
        ([BARE, BARE], False, (Action.STOP, Scope.REQUEST, None)),
        ([BARE, BURST], False, (Action.STOP, Scope.ACCOUNT, 20.0)),
        ([BURST, WINDOW], False, (Action.NEXT, Scope.ACCOUNT, None)),
        ([BURST, WINDOW, BURST], False, egress(20.0)),
        ([BURST, BROKEN], False, (Action.NEXT, Scope.PROVIDER, None)),
        ([WINDOW, WINDOW, WINDOW], True, (Action.NEXT, Scope.ACCOUNT, None)),
        ([FORBIDDEN], False, (Action.NEXT, Scope.REQUEST, None)),
        ([FORBIDDEN, FORBIDDEN], False, (Action.STOP, Scope.REQUEST, None)),
        ([FORBIDDEN, BURST], False, (Action.NEXT, Scope.ACCOUNT, 20.0)),
    ],
)
def test_the_last_of_these_means(
    met: list[Verdict], fresh: bool, outcome: tuple[Action, Scope, float | None]
) -> None:
    hops = Hops()
    for verdict in met:
        hops, weighed_verdict = weighed(hops, verdict, after_burst=fresh)
    assert (
        weighed_verdict.action, weighed_verdict.scope, weighed_verdict.retry_after
    ) == outcome  # fmt: skip


def test_what_one_upstream_did_says_nothing_about_another() -> None:
    hops, _ = weighed(Hops(), BURST, after_burst=False, base_url="https://one")
    hops, verdict = weighed(hops, BURST, after_burst=False, base_url="https://two")
    assert (verdict.action, verdict.scope) == (Action.NEXT, Scope.ACCOUNT)
    _, verdict = weighed(hops, BURST, after_burst=False, base_url="https://one")
    assert (verdict.action, verdict.scope) == (Action.STOP, Scope.EGRESS)


def test_only_a_burst_makes_the_next_account_a_second_witness() -> None:
    assert weighed(Hops(), BURST, after_burst=False)[0].after_burst
    assert not weighed(Hops(), BARE, after_burst=False)[0].after_burst
    assert not weighed(Hops(), WINDOW, after_burst=False)[0].after_burst

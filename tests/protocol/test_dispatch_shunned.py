"""Who cannot serve a request now, and why: also whose upstream has failed it already."""

from __future__ import annotations

import msgspec
import pytest

from protocol.affinity import CACHE_SECONDS
from protocol.dispatch import Lease, Strategy, choose
from protocol.eligibility import SHUNNED
from protocol.routing import Policy
from tests.protocol.test_dispatch import account, asking, bench, leased, pool, refused

UPSTREAM = "https://broken.test"
SHUNNING = asking(shunned=(UPSTREAM,))


def test_accounts_of_an_upstream_that_failed_the_request_are_passed_over() -> None:
    broken = [account(name, place, base_url=UPSTREAM) for place, name in enumerate("ab")]
    state = pool(*broken, account("c", 2), account("d", 3))
    lease = leased(state, SHUNNING)
    assert lease.account == "c"
    why = {one.account: (one.outcome, one.why) for one in lease.considered}
    assert why["a"] == why["b"] == ("passed", SHUNNED) == ("passed", "provider")
    assert why["d"] == ("next", "order")
    assert leased(state).account == "a", "it is this request's alone"


def test_who_was_tried_at_a_failed_upstream_is_told_as_tried() -> None:
    state = pool(account("a", base_url=UPSTREAM), account("b", 1))
    lease = leased(state, asking(shunned=(UPSTREAM,), tried=("a",)))
    assert [(one.account, one.why) for one in lease.considered if one.outcome == "passed"] == [
        ("a", "tried")
    ]


@pytest.mark.parametrize("rests", [(), (bench(9.0),)])
def test_when_only_a_failed_upstream_is_left_nobody_is_waited_for(
    rests: tuple[object, ...],
) -> None:
    refusal = refused(pool(account("a", base_url=UPSTREAM, cooldowns=rests)), SHUNNING)
    assert (refusal.cause, refusal.retry_after, refusal.available_in) == ("limited", None, None)


def test_who_rests_at_another_upstream_is_waited_for() -> None:
    state = pool(account("a", base_url=UPSTREAM), account("b", 1, cooldowns=(bench(9.0),)))
    assert refused(state, SHUNNING).retry_after == 9.0


def test_an_account_that_may_not_serve_at_all_is_told_so_wherever_it_is() -> None:
    state = pool(account("a", base_url=UPSTREAM, enabled=False), account("b", 1))
    lease = leased(state, SHUNNING)
    assert [(one.account, one.why) for one in lease.considered if one.outcome == "passed"] == [
        ("a", "disabled")
    ]


def test_a_session_whose_upstream_failed_once_is_at_home_there_ever_after() -> None:
    """It is passed over for one request; that is no outage that lasts."""
    staying = Strategy(pool=True, base_url=UPSTREAM, policy=Policy("fill-first", {}, 3600.0))
    state = pool(account("a", base_url=UPSTREAM), account("b", 1), strategy=staying)
    served = []
    for now, ask in ((0.0, asking()), (1.0, SHUNNING), (1.0 + 2 * CACHE_SECONDS, asking())):
        state, lease = choose(state, msgspec.structs.replace(ask, session="s"), now)
        assert isinstance(lease, Lease)
        served.append(lease.account)
    assert served == ["a", "b", "a"]

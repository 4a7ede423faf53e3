"""What a refusal says of the time: rounded for the client, exact for who would rather wait."""

from __future__ import annotations

import msgspec
import pytest

from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState, Cooldown, Credential, Scope
from protocol.dispatch import Acquire, DispatchState, Refusal, Strategy, choose
from protocol.egress import EgressLimited, limited, refused
from protocol.request import Route
from protocol.secrets import Secret

NOW = 100.0
SPEC = AccountSpec("work", "api_key", Credential(Secret("k"), bearer=False), "http://api.test")
FABLE = Acquire(Route.MESSAGES, model="claude-fable-5-2")


def pool(*cooldowns: Cooldown) -> DispatchState:
    """One account that rests as `cooldowns` say."""
    account: AccountState = msgspec.structs.replace(new_account(SPEC), cooldowns=cooldowns)
    strategy = Strategy(pool=True, base_url="http://api.test")
    return DispatchState(strategy=strategy, accounts={"work": account})


def rest(seconds: float, reason: str, scope: Scope = Scope.ACCOUNT, target: str = "") -> Cooldown:
    """A bench from NOW on."""
    return Cooldown(scope, target, reason, NOW, NOW + seconds, 0, "test")


def refusal(state: DispatchState, ask: Acquire) -> Refusal:
    """The refusal of `ask`."""
    _, outcome = choose(state, ask, NOW)
    assert isinstance(outcome, Refusal)
    return outcome


def test_a_limit_says_when_it_ends_both_rounded_up_and_exactly() -> None:
    """A client gets whole seconds; a wait of ours loses none."""
    told = refusal(pool(rest(1.25, "rate_limited")), FABLE)
    assert (told.cause, told.retry_after) == ("limited", 2.0)
    assert told.available_in == pytest.approx(1.25)


def test_the_bench_of_the_family_that_is_asked_for_counts_in_that_time() -> None:
    """The account as a whole is free, and still not for this request."""
    told = refusal(pool(rest(40, "window_7d_oi", Scope.MODEL_FAMILY, "fable")), FABLE)
    assert told.retry_after == 40.0
    assert told.available_in == pytest.approx(40)


def test_a_refused_credential_is_nothing_to_wait_for() -> None:
    """Time does not mend a key; the client is told at once when it is tried again."""
    told = refusal(pool(rest(1.25, "auth")), FABLE)
    assert (told.cause, told.retry_after, told.available_in) == ("no_credential", 2.0, None)


def test_the_egress_can_be_waited_for() -> None:
    """Its rest is a short one by nature."""
    told = refused(limited(pool(), EgressLimited("http://api.test", 1.5), NOW), NOW)
    assert told is not None
    assert told.retry_after == 2.0
    assert told.available_in == pytest.approx(1.5)

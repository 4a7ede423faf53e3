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


SUBSCRIPTION = Credential(Secret("sk-ant-oat01-of-the-owner"), bearer=True)


def standing(name: str, *cooldowns: Cooldown, enabled: bool = True, **spec: object) -> AccountState:
    """An account that is `enabled` or not; `spec` are further fields of its specification."""
    known = new_account(msgspec.structs.replace(SPEC, name=name, **spec))
    return msgspec.structs.replace(known, enabled=enabled, cooldowns=cooldowns)


def told(*accounts: AccountState, **ask: object) -> Refusal:
    """What a stranger with an Opus request is told when these are all there are."""
    known = {account.name: account for account in accounts}
    state = DispatchState(Strategy(pool=True, base_url="http://api.test"), known)
    asked = Acquire(Route.MESSAGES, model="claude-opus-5-5")
    return refusal(state, msgspec.structs.replace(asked, **ask))


OFF = standing("off", enabled=False)
LOGIN = standing("login", kind="oauth", credential=None, needs_login=True)
OWNERS = standing("owners", credential=SUBSCRIPTION)
OTHERS = standing("others", models=("claude-haiku-*",))


@pytest.mark.parametrize(
    ("accounts", "advice"),
    [
        ((OFF,), "enable one or add another"),
        ((OFF, LOGIN), "these accounts have lost their login: login; log in again"),
        ((OFF, LOGIN, OWNERS), "add an account with an API key"),
        ((OTHERS, OWNERS), "add an account with an API key"),
        ((OTHERS, OFF), "no account may serve the model 'claude-opus-5-5'"),
        ((OTHERS, LOGIN), "no account may serve the model"),
        ((OTHERS,), "no account may serve the model"),
        ((), "no account may serve the model"),
    ],
)
def test_who_can_be_helped_is_told_how(accounts: tuple[AccountState, ...], advice: str) -> None:
    answer = told(*accounts)
    assert (answer.cause, answer.retry_after) == ("no_credential", None)
    assert advice in answer.message
    assert [one.account for one in answer.considered] == [account.name for account in accounts]
    assert {one.outcome for one in answer.considered} <= {"passed"}


@pytest.mark.parametrize(
    ("account", "why"),
    [
        (OFF, "is disabled"),
        (LOGIN, "has lost its login"),
        (OTHERS, "may not serve this model"),
        (OWNERS, "is a subscription"),
    ],
)
def test_of_an_account_that_was_named_it_is_told_what_it_lacks(
    account: AccountState, why: str
) -> None:
    assert why in told(account, pinned=account.name).message


def test_of_a_models_name_eighty_characters_are_quoted() -> None:
    assert told(OTHERS, model="m" * 80).message.endswith(f"{'m' * 80!r}")
    assert told(OTHERS, model="m" * 81).message.endswith(f"{'m' * 80!r}")


@pytest.mark.parametrize(
    ("accounts", "message"),
    [
        (
            (standing("a", rest(1.25, "rate_limited")),),
            "account 'a' is at its limit; it is back in 2 s",
        ),
        (
            (standing("a", rest(9, "rate_limited")), standing("b", rest(0.2, "rate_limited"))),
            "every account is at its limit; the first is back in 1 s",
        ),
        (
            (standing("a", rest(9, "auth")), standing("b", rest(5, "rate_limited"))),
            "every account is at its limit; the first is back in 5 s",
        ),
        (
            (standing("a", rest(9, "auth"), rest(4, "rate_limited")),),
            "the upstream refuses the credential of every account; check them with `supervisor status`",
        ),
        (
            (standing("a", rest(9, "auth")), standing("b", rest(5, "auth"))),
            "the upstream refuses the credential of every account; check them with `supervisor status`",
        ),
    ],
)
def test_when_everybody_rests_it_is_told_who_is_back_and_when(
    accounts: tuple[AccountState, ...], message: str
) -> None:
    answer = told(*accounts)
    assert answer.message == message
    assert {(one.outcome, one.why) for one in answer.considered} == {("passed", "cooling")}


def test_when_everybody_was_tried_there_is_nothing_to_wait_for() -> None:
    answer = told(standing("a"), tried=("a",))
    assert (answer.cause, answer.message) == ("limited", "every account was tried")
    assert (answer.retry_after, answer.available_in) == (None, None)
    assert [(one.account, one.why) for one in answer.considered] == [("a", "tried")]

"""Who serves a request, and what is said when nobody may."""

from __future__ import annotations

import msgspec
import pytest

from protocol.accounts import AccountSpec, AccountState, Cooldown, Counters, Credential, Scope
from protocol.dispatch import (
    AccountChanged,
    AccountRemoved,
    Acquire,
    Again,
    DispatchState,
    Lease,
    Refusal,
    Release,
    Strategy,
    begun,
    changed,
    choose,
    choose_again,
    released,
    removed,
    restrategized,
    seen,
)
from protocol.request import Route
from protocol.routing import Policy
from protocol.secrets import Secret

POOL = Strategy(pool=True, base_url="https://upstream")
NO_POOL = Strategy(pool=False, base_url="https://upstream")
ASK = Acquire(Route.MESSAGES, model="claude-x", owner=True, client="client-1234")


def account(name: str, order: int = 0, **changes: object) -> AccountState:
    """`changes` are fields of the spec, and `enabled` and `cooldowns` of the state."""
    state = {key: changes.pop(key) for key in ("enabled", "cooldowns") if key in changes}
    credential = Credential(Secret(f"key-of-{name}"), bearer=False)
    spec = AccountSpec(name, "api_key", credential, f"https://{name}", order)
    return msgspec.structs.replace(AccountState(msgspec.structs.replace(spec, **changes)), **state)


def bench(until: float, reason: str = "rate_limited") -> Cooldown:
    return Cooldown(Scope.ACCOUNT, "", reason, 0.0, until, 0, "retry-after")


def pool(*accounts: AccountState, strategy: Strategy = POOL) -> DispatchState:
    return DispatchState(strategy, {account.name: account for account in accounts})


def leased(state: DispatchState, ask: Acquire = ASK, now: float = 0.0) -> Lease:
    _, outcome = choose(state, ask, now)
    assert isinstance(outcome, Lease), outcome
    return outcome


def refused(state: DispatchState, ask: Acquire = ASK, now: float = 0.0) -> Refusal:
    after, outcome = choose(state, ask, now)
    assert isinstance(outcome, Refusal), outcome
    assert after is state, "a refusal changes nothing"
    return outcome


def asking(**changes: object) -> Acquire:
    return msgspec.structs.replace(ASK, **changes)


SUBSCRIPTION = Credential(Secret("sk-ant-oat01-of-the-owner"), bearer=True)

# ------------------------------------------------------------------------------------- whose turn


def test_the_lowest_priority_number_is_first_and_ties_go_by_configuration_order() -> None:
    accounts = [
        account("c", 0, priority=1),
        account("b", 2),
        account("a", 3),
        account("d", 1),
        account("e", 4, priority=-1),
    ]
    tried: tuple[str, ...] = ()
    while len(tried) < 5:
        tried = (*tried, leased(pool(*accounts), asking(tried=tried)).account)
    assert tried == ("e", "d", "b", "a", "c")


def test_the_first_account_serves_until_it_may_not() -> None:
    state = pool(account("a", 0), account("b", 1))
    for _ in range(5):
        state, outcome = choose(state, ASK, 0.0)
        assert isinstance(outcome, Lease)
        assert outcome.account == "a"
    assert state.in_flight == {"a": 5}


def test_who_rests_is_off_or_was_tried_is_passed_over() -> None:
    state = pool(
        account("off", 0, enabled=False),
        account("resting", 1, cooldowns=(bench(10.0),)),
        account("tried", 2),
        account("free", 3),
    )
    lease = leased(state, asking(tried=("tried",)))
    assert lease.account == "free"
    assert lease.reasons == ("fill-first", "resting is cooling", "tried was tried")
    assert leased(state, now=10.0).account == "resting", "judged when somebody chooses"


def test_a_lease_carries_the_accounts_credential_and_upstream() -> None:
    lease = leased(pool(account("a")))
    assert (lease.id, lease.account, lease.base_url) == (1, "a", "https://a")
    assert lease.credential == Credential(Secret("key-of-a"), bearer=False)


def test_the_model_filters_hold() -> None:
    state = pool(
        account("opus", 0, models=("claude-opus-*",)),
        account("rest", 1, exclude_models=("claude-opus-*",)),
    )
    assert leased(state, asking(model="claude-opus-5")).account == "opus"
    assert leased(state, asking(model="claude-haiku-5")).account == "rest"
    assert leased(state, asking(model=None)).account == "opus"
    only = refused(state, asking(model="claude-opus-5", tried=("opus",)))
    assert only.cause == "limited"


def test_a_subscription_serves_only_its_owner() -> None:
    state = pool(account("login", 0, credential=SUBSCRIPTION), account("key", 1))
    assert leased(state, asking(owner=True)).account == "login"
    assert leased(state, asking(owner=False)).account == "key"
    assert leased(state, asking(owner=False, route=Route.OTHER)).account == "key"
    anybody = restrategized(state, msgspec.structs.replace(POOL, any_use=True))
    assert leased(anybody, asking(owner=False)).account == "login"


def test_other_routes_go_to_the_first_account_by_priority_even_when_it_rests() -> None:
    state = pool(
        account("off", 0, enabled=False),
        account("first", 1, cooldowns=(bench(10.0),)),
        account("second", 2),
    )
    assert leased(state, asking(route=Route.OTHER, model=None)).account == "first"


# ------------------------------------------------------------------------------------------- pins


def test_a_pin_is_that_account_or_nothing() -> None:
    state = pool(account("a", 0), account("b", 1, cooldowns=(bench(30.5),)), account("c", 2))
    assert leased(state, asking(pinned="c")).account == "c"
    assert leased(state, asking(pinned="c")).reasons == ("asked for by name",)
    assert refused(state, asking(pinned="nobody")).cause == "unknown_account"
    resting = refused(state, asking(pinned="b"))
    assert (resting.cause, resting.retry_after) == ("limited", 31.0)
    assert refused(state, asking(pinned="c", tried=("c",))).retry_after is None


def test_the_filters_hold_for_a_pin_too() -> None:
    state = pool(
        account("a", 0, models=("other",)),
        account("b", 1, credential=SUBSCRIPTION),
        account("c", 2, enabled=False),
    )
    assert refused(state, asking(pinned="a")).cause == "wrong_model"
    assert refused(state, asking(pinned="b", owner=False)).cause == "no_credential"
    assert refused(state, asking(pinned="c")).cause == "no_credential"
    assert leased(state, asking(pinned="b", owner=True)).account == "b"


def test_a_clients_own_credential_cannot_be_pinned() -> None:
    client = account("client-1234", kind="client", credential=None)
    assert refused(pool(client, account("a")), asking(pinned="client-1234")).cause == (
        "unknown_account"
    )


# --------------------------------------------------------------------------------------- refusals


def test_the_true_earliest_is_told_in_whole_seconds() -> None:
    minutes = (116, 40, 300)
    accounts = [
        account(str(n), n, cooldowns=(bench(n * 60.0),)) for n in minutes
    ]  # fmt: skip
    assert refused(pool(*accounts)).retry_after == 2400.0
    assert refused(pool(*accounts), now=0.4).retry_after == 2400.0
    assert refused(pool(*accounts), now=2399.9).retry_after == 1.0


def test_an_account_with_two_benches_is_back_when_the_later_one_ends() -> None:
    both = account("a", cooldowns=(bench(5.0), bench(50.0, "auth")))
    assert refused(pool(both, account("b", 1, cooldowns=(bench(60.0),)))).retry_after == 50.0


def test_who_may_not_serve_the_request_does_not_count_for_its_retry_after() -> None:
    state = pool(
        account("soon", 0, models=("other",), cooldowns=(bench(1.0),)),
        account("off", 1, enabled=False, cooldowns=(bench(2.0),)),
        account("login", 2, credential=SUBSCRIPTION, cooldowns=(bench(3.0),)),
        account("late", 3, cooldowns=(bench(70.0),)),
    )
    assert refused(state, asking(owner=False)).retry_after == 70.0


@pytest.mark.parametrize(
    ("accounts", "cause", "retry_after"),
    [
        ([account("a", cooldowns=(bench(9.0),))], "limited", 9.0),
        ([account("a", cooldowns=(bench(9.0, "auth"),))], "no_credential", 9.0),
        (
            [account("a", cooldowns=(bench(9.0, "auth"),)), account("b", cooldowns=(bench(5.0),))],
            "limited",
            5.0,
        ),
        ([account("a", cooldowns=(bench(9.0, "auth"), bench(4.0)))], "no_credential", 9.0),
        ([account("a", enabled=False)], "no_credential", None),
        ([account("a", models=("other",))], "no_credential", None),
        ([account("a", models=("other",)), account("b", enabled=False)], "no_credential", None),
        ([], "no_credential", None),
    ],
)
def test_the_cause_of_a_refusal_is_what_stands_in_the_way(
    accounts: list[AccountState], cause: str, retry_after: float | None
) -> None:
    refusal = refused(pool(*accounts))
    assert (refusal.cause, refusal.retry_after) == (cause, retry_after)
    assert refusal.message


def test_a_stranger_before_subscriptions_alone_is_told_what_to_add() -> None:
    refusal = refused(pool(account("a", credential=SUBSCRIPTION)), asking(owner=False))
    assert refusal.cause == "no_credential"
    assert "API key" in refusal.message


def test_a_message_quotes_no_more_than_a_bit_of_what_was_asked() -> None:
    state = pool(account("a", models=("other",)))
    for ask in (asking(model="x" * 10_000_000), asking(pinned="x" * 60_000)):
        assert len(refused(state, ask).message) < 300
    assert "\n" not in refused(state, asking(pinned="a\nb")).message


# ------------------------------------------------------------------------------------ passthrough


def test_passthrough_never_refuses_a_first_attempt() -> None:
    resting = account("client-1234", kind="client", credential=None, cooldowns=(bench(99.0),))
    for state in (pool(strategy=NO_POOL), pool(resting, strategy=NO_POOL)):
        for route in Route:
            lease = leased(state, asking(route=route, owner=False))
            assert (lease.account, lease.credential) == ("client-1234", None)
            assert lease.base_url == "https://upstream"


def test_in_passthrough_there_is_nobody_else_and_nobody_to_name() -> None:
    state = pool(strategy=NO_POOL)
    assert refused(state, asking(tried=("client-1234",))).cause == "limited"
    assert refused(state, asking(pinned="a")).cause == "unknown_account"


# -------------------------------------------------------------------------------------- once more


def test_once_more_is_the_same_account_while_it_may_serve() -> None:
    state = pool(account("a", 0), account("b", 1))
    ask = asking(tried=("b",))
    counted, outcome = choose_again(state, Again("b", ask), 0.0)
    assert isinstance(outcome, Lease)
    assert outcome.account == "b"
    assert counted.in_flight == {"b": 1}
    _, other = choose_again(changed(state, AccountChanged(account("b", 1, enabled=False))),
                            Again("b", ask), 0.0)  # fmt: skip
    assert isinstance(other, Lease)
    assert other.account == "a"
    _, gone = choose_again(removed(state, AccountRemoved("b")), Again("b", ask), 0.0)
    assert isinstance(gone, Lease)
    assert gone.account == "a"


def test_once_more_for_a_pinned_account_that_rests_now_is_refused() -> None:
    state = pool(account("a", 0), account("b", 1, cooldowns=(bench(9.0),)))
    _, outcome = choose_again(state, Again("b", asking(pinned="b", tried=("b",))), 0.0)
    assert isinstance(outcome, Refusal)
    assert outcome.retry_after == 9.0


# ----------------------------------------------------------------------------------- a life after


def test_a_new_life_takes_the_snapshots_over_and_the_configuration_of_now() -> None:
    client = account("client-1", kind="client", credential=None)
    before, _ = choose(pool(account("a", cooldowns=(bench(9.0),)), account("gone"), client), ASK, 0)
    fresh = pool(account("a"), account("new", 1), strategy=NO_POOL)
    after = begun(fresh, before, 2)
    assert sorted(after.accounts) == ["a", "client-1", "new"]
    assert after.accounts["a"].cooldowns == (bench(9.0),)
    assert after.strategy == NO_POOL
    assert (after.next_lease, after.in_flight) == (2, {"gone": 1})


def test_a_life_that_starts_clean_gives_no_lease_number_twice() -> None:
    first = leased(begun(pool(account("a")), None, 1))
    second = leased(begun(pool(account("a")), None, 2))
    assert first.id == 1
    assert second.id > 10**9


def test_who_looks_sees_the_accounts_as_they_published_themselves() -> None:
    """Their counters included, which they do not tell; nobody new, and nothing to go on with."""
    state = pool(account("a"), account("b", 1))
    counted = msgspec.structs.replace(account("a"), counters=Counters(requests=5))
    looked = seen(state, [counted, state.accounts["b"], account("c", 2)])
    assert looked.accounts == {"a": counted, "b": state.accounts["b"]}
    assert [known.name for known in looked.members()] == ["a", "b"]
    assert looked.members()[0].counters.requests == 5
    assert seen(state, list(state.accounts.values())) is state


def test_the_least_used_is_the_one_with_fewest_leases_whoever_has_told_what() -> None:
    """Accounts do not tell each count of theirs, so the dispatcher goes by its own."""
    least = Strategy(pool=True, base_url="https://up", policy=Policy("least-used"))
    state = pool(account("a"), account("b", 1), strategy=least)
    taken = []
    for _ in range(6):
        state, lease = choose(state, ASK, 0.0)
        assert isinstance(lease, Lease)
        taken.append(lease.account)
        state = released(state, Release(lease.id, lease.account))
    assert taken == ["a", "b"] * 3


def test_leases_that_a_crash_has_forgotten_are_counted_again_by_the_accounts_own_word() -> None:
    least = Strategy(pool=True, base_url="https://up", policy=Policy("least-used"))
    state = pool(account("a"), account("b", 1), strategy=least)
    busy = msgspec.structs.replace(account("a"), counters=Counters(requests=5))
    state = changed(state, AccountChanged(busy))
    assert leased(state).account == "b"
    late = msgspec.structs.replace(account("a"), counters=Counters(requests=3))
    assert changed(state, AccountChanged(late)).given["a"] == 5, "never less"
    gone = removed(state, AccountRemoved("a"))
    assert "a" not in gone.given


def test_clients_own_credentials_leave_no_count_behind() -> None:
    """There may be any number of them."""
    state = pool(strategy=NO_POOL)
    for number in range(10):
        ask = msgspec.structs.replace(ASK, client=f"client-{number}")
        state, lease = choose(state, ask, 0.0)
        assert isinstance(lease, Lease)
        state = released(state, Release(lease.id, lease.account))
    assert (state.given, state.in_flight) == ({}, {})

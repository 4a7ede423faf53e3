"""Whom the probe asks, when, and why: the table of `protocol.probing`, row by row."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import AccountSpec, AccountState, Cooldown, Credential, Scope
from protocol.benches import LADDER
from protocol.dispatch import DispatchState, Strategy
from protocol.probing import SPREAD, Pace, Probe, ProbeRules, next_probe, seen
from protocol.quota import Quota, Window
from protocol.routing import Policy
from protocol.secrets import Secret

NOW, EPOCH = 10_000.0, 1_800_000_000.0
RULES = ProbeRules(base_url="https://a.test")
SWITCH_AT = {"5h": 0.98, "7d": 0.98}
OLD = EPOCH - RULES.interval - 1


def window(utilization: float | None = 0.2, read_at: float = OLD, **more: Any) -> Window:
    more.setdefault("status", "allowed")
    return Window(
        utilization, resets_at=more.pop("resets_at", EPOCH + 3600), read_at=read_at, **more
    )


def bench(
    reason: str = "rate_limited", *, source: str = LADDER, age: float = 400, **more: Any
) -> Cooldown:
    scope = more.get("scope", Scope.ACCOUNT)
    return Cooldown(scope, more.get("target", ""), reason, NOW - age, NOW + 100, 1, source)


def account(name: str, order: int = 0, token: str = "", **more: Any) -> AccountState:
    credential = Credential(Secret(token or f"key-of-{name}"), bearer=bool(token))
    spec = AccountSpec(name, "token" if token else "api_key", credential, "https://a.test", order)
    spec = msgspec.structs.replace(spec, **more.pop("spec", {}))
    windows = more.pop("windows", {})
    return AccountState(spec=spec, quota=Quota(windows), **more)


def known(name: str, order: int = 1, utilization: float = 0.2, **more: Any) -> AccountState:
    """An account about which everything is known, and fresh."""
    return account(name, order, windows={"5h": window(utilization, EPOCH - 1)}, **more)


def pool(*accounts: AccountState, strategy: str = "fill-first", **more: Any) -> DispatchState:
    policy = Policy(strategy, SWITCH_AT)
    return DispatchState(
        Strategy(pool=True, base_url="https://a.test", policy=policy),
        {each.name: each for each in accounts},
        **more,
    )


def asked(
    state: DispatchState, rules: ProbeRules = RULES, *, waited: float = 10_000.0, failures: int = 0
) -> Probe | None:
    paces = {
        each.name: Pace(each.spec.credential, NOW - waited, 0.0, failures)
        for each in state.members()
    }
    return next_probe(state, paces, rules, NOW, EPOCH)


def why(*accounts: AccountState, **more: Any) -> tuple[str, str] | None:
    probe = asked(pool(*accounts, **more))
    return None if probe is None else (probe.account, probe.why)


NEAR = {"5h": window(0.9)}


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        # next: what is chosen next and is not known
        ((account("a"), known("b")), ("a", "next")),
        ((known("a", 0), account("b", 1)), None),
        ((account("a"),), None),
        ((account("a"), known("b", cooldowns=(bench("auth", source="status"),))), None),
        ((account("a", windows={"5h": window(resets_at=EPOCH - 1)}), known("b")), ("a", "next")),
        ((account("a", windows={"5h": window(read_at=EPOCH - 9, resets_at=EPOCH - 1)}), known("b")), None),
        ((account("a", windows={"requests": window(None)}), known("b")), None),
        ((account("a", windows={"5h": window(0.2)}), known("b")), None),
        ((account("a", windows={"5h": window(resets_at=EPOCH)}), known("b")), ("a", "next")),
        ((account("a", windows={"5h": window(resets_at=EPOCH - 1), "7d": window()}), known("b")), None),
        # threshold: close to it or past it, read long ago, and there is somebody else
        ((known("a", 0), account("b", 1, windows=NEAR)), ("b", "threshold")),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.99)})), ("b", "threshold")),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.85)})), None),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.9, EPOCH - 299)})), None),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.9, EPOCH + 700)})), ("b", "threshold")),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.98 - 0.1)})), ("b", "threshold")),
        ((known("a", 0), account("b", 1, windows={"5h": window(None)})), None),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.9, EPOCH)})), None),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.9, EPOCH - 0.5)})), None),
        ((known("a", 0), account("b", 1, windows={"5h": window(0.9, EPOCH - 300)})), ("b", "threshold")),
        ((known("a", 0), account("b", 1, windows={**NEAR, "7d": window(0.2, EPOCH - 1)})), None),
        ((account("a", windows=NEAR),), None),
        ((account("a", windows=NEAR), known("b", enabled=False)), None),
        # guess: alone or not
        ((account("a", cooldowns=(bench(),)),), ("a", "guess")),
        ((account("a", cooldowns=(bench(age=200),)),), None),
        ((account("a", cooldowns=(bench(age=300),)),), ("a", "guess")),
        ((known("a", 0), known("b", 1, cooldowns=(bench(),))), ("b", "guess")),
    ],
)  # fmt: skip
def test_an_account_is_asked_only_where_the_answer_can_change_a_choice(
    accounts: tuple[AccountState, ...], expected: tuple[str, str] | None
) -> None:
    assert why(*accounts) == expected


SUBSCRIPTION = "sk-ant-oat01-of-the-owner"


@pytest.mark.parametrize(
    "barred",
    [
        account("a", windows=NEAR, enabled=False),
        account("a", windows=NEAR, spec={"exclude_models": ("claude-haiku-*",)}),
        account("a", windows=NEAR, spec={"models": ("claude-opus-*",)}),
        account("a", windows=NEAR, token=SUBSCRIPTION),
        account("a", windows=NEAR, spec={"kind": "oauth"}),
        account("a", windows=NEAR, spec={"credential": None}),
        account("a", windows=NEAR, cooldowns=(bench("window_5h", source="reset"),)),
        account("a", windows=NEAR, cooldowns=(bench("rate_limited", source="retry-after"),)),
        account("a", windows=NEAR, cooldowns=(bench("auth", source="status"),)),
        account("a", windows=NEAR, cooldowns=(bench(), bench("auth", source="status"))),
        account("a", windows=NEAR, cooldowns=(bench("auth", source="ladder"),)),
        account("a", windows=NEAR, cooldowns=(bench("x", source="reset", scope=Scope.MODEL_FAMILY, target="haiku"),)),
        account("a", windows={"5h": window(1.0)}),
        account("a", windows={"5h": window(0.9, status="rejected")}),
        account("a", windows={**NEAR, "7d_haiku": window(1.0)}),
    ],
)  # fmt: skip
def test_who_is_barred_is_never_asked(barred: AccountState) -> None:
    other = known("b")
    assert why(barred, other) is None
    assert why(account("a", windows=NEAR), other) == ("a", "threshold"), "but for that it would be"


@pytest.mark.parametrize(
    "harmless",
    [
        account("a", windows={**NEAR, "overage": window(0.0, status="rejected")}),
        account("a", windows={**NEAR, "7d_opus": window(1.0)}),
        account("a", windows={**NEAR, "7d": window(None)}),
        account("a", windows={**NEAR, "7d": window(1.0, status="rejected", resets_at=EPOCH)}),
        account("a", windows={**NEAR, "7d": window(1.0, status="rejected", resets_at=EPOCH - 1)}),
        account("a", windows=NEAR, cooldowns=(bench("x", source="reset", scope=Scope.MODEL_FAMILY, target="opus"),)),
        account("a", windows=NEAR, cooldowns=(bench("x", scope=Scope.BETA, target="context-1m"),)),
    ],
)  # fmt: skip
def test_what_does_not_concern_the_probe_does_not_bar_it(harmless: AccountState) -> None:
    assert why(harmless, known("b")) == ("a", "threshold")


def test_an_account_with_a_request_under_way_gets_its_reading_from_that() -> None:
    state = pool(account("a", windows=NEAR), known("b"), in_flight={"a": 1})
    assert asked(state) is None


def test_nobody_is_asked_while_the_egress_that_he_is_behind_rests() -> None:
    rests = Cooldown(Scope.EGRESS, "a.test", "burst", NOW - 5, NOW + 5, 0, "retry-after")
    accounts = (account("a", windows=NEAR), known("b"))
    assert asked(pool(*accounts, egress={"https://a.test": rests})) is None
    assert asked(pool(*accounts, egress={"https://other.test": rests})) is not None


def test_nobody_is_asked_when_it_is_turned_off() -> None:
    rules = msgspec.structs.replace(RULES, enabled=False)
    assert asked(pool(account("a", windows=NEAR), known("b")), rules) is None


def test_a_subscription_is_asked_where_its_owner_allows_it() -> None:
    rules = msgspec.structs.replace(RULES, subscriptions=True)
    probe = asked(pool(account("a", windows=NEAR, token=SUBSCRIPTION), known("b")), rules)
    assert probe is not None
    assert probe.key == probe.credential


def test_clients_credentials_in_passthrough_mode_are_never_asked_with() -> None:
    client = account("client-1", windows=NEAR, spec={"kind": "client", "credential": None})
    assert asked(pool(client)) is None


@pytest.mark.parametrize(
    "strategy", ["fill-first", "round-robin", "weighted", "least-used", "hybrid"]
)
def test_only_the_first_in_line_is_worth_a_question(strategy: str) -> None:
    fresh = asked(pool(account("a"), account("b", 1), account("c", 2), strategy=strategy))
    assert fresh is not None
    assert fresh.account == "a"
    assert asked(pool(known("a", 0), account("b", 1), strategy=strategy)) is None


def test_a_strategy_that_goes_by_readings_needs_them_of_everybody_in_the_first_priority() -> None:
    later = account("c", 2, spec={"priority": 1})
    week = {"7d": window(0.2, EPOCH - 1), "5h": window(0.2, EPOCH - 1)}
    state = pool(account("a", windows=week), account("b", 1), later, strategy="drain-soonest")
    probe = asked(state)
    assert probe is not None
    assert (probe.account, probe.why) == ("b", "next")
    assert why(account("a", windows=week), known("b"), later, strategy="drain-soonest") is None


def test_of_a_later_priority_nothing_needs_to_be_known() -> None:
    week = {"7d": window(0.2, EPOCH - 1), "5h": window(0.2, EPOCH - 1)}
    later = account("b", 1, spec={"priority": 1})
    assert why(account("a", windows=week), later, strategy="drain-soonest") is None


@pytest.mark.parametrize(
    ("strategy", "over", "expected"),
    [
        ("drain-soonest", "7d", ("a", "next")),
        ("drain-soonest", "5h", ("a", "next")),
        ("hybrid", "5h", ("a", "next")),
        ("hybrid", "7d", None),
        ("fill-first", "5h", None),
    ],
)
def test_a_reading_that_is_over_is_missed_where_the_strategy_goes_by_it(
    strategy: str, over: str, expected: tuple[str, str] | None
) -> None:
    state = pool(account("a", windows={over: window(resets_at=EPOCH - 1)}), known("b"))
    rules = msgspec.structs.replace(state.strategy, policy=Policy(strategy, {}))
    probe = asked(msgspec.structs.replace(state, strategy=rules))
    assert (None if probe is None else (probe.account, probe.why)) == expected


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ({"5h": window(0.99, EPOCH - 1)}, ("b", "next")),
        ({"5h": window(0.99, EPOCH - 1, resets_at=None)}, ("b", "next")),
        ({"5h": window(0.9, EPOCH - 1)}, None),
        ({"5h": window(None, EPOCH - 1)}, None),
        ({"5h": window(0.99, EPOCH - 1, resets_at=EPOCH)}, None),
    ],
)
def test_who_stands_behind_one_that_is_nearly_used_up_is_first_in_line(
    windows: dict[str, Window], expected: tuple[str, str] | None
) -> None:
    assert why(account("a", windows=windows), account("b", 1)) == expected


@pytest.mark.parametrize("busy", [{"in_flight": {"a": 1}}, {"given": {"a": 1}}])
def test_the_busy_one_is_not_first_in_line_where_the_idle_one_would_be(
    busy: dict[str, Any],
) -> None:
    probe = asked(pool(known("a", 0), account("b", 1), strategy="least-used", **busy))
    assert probe is not None
    assert (probe.account, probe.why) == ("b", "next")


def test_the_first_in_line_for_those_who_are_not_the_owner_counts_too() -> None:
    subscription = known("a", 0, token=SUBSCRIPTION)
    assert why(subscription, account("b", 1), known("c", 2)) == ("b", "next")


def test_a_dedicated_key_speaks_for_keys_at_its_own_upstream_alone() -> None:
    dedicated = Secret("dedicated-key")
    rules = msgspec.structs.replace(RULES, api_key=dedicated, subscriptions=True)
    near = account("a", windows=NEAR)
    probe = asked(pool(near, known("b")), rules)
    assert probe is not None
    assert (probe.key.secret, probe.own) == (dedicated, False)
    assert probe.key.header() == (b"x-api-key", b"dedicated-key")
    for other in (
        account("a", windows=NEAR, spec={"base_url": "https://elsewhere.test"}),
        account("a", windows=NEAR, token=SUBSCRIPTION),
    ):
        probe = asked(pool(other, known("b")), rules)
        assert probe is not None
        assert (probe.key, probe.own) == (other.spec.credential, True)


def test_an_account_is_asked_in_the_moment_in_which_it_is_due() -> None:
    state = pool(account("a", windows=NEAR), known("b"))
    assert asked(state, waited=300) is not None
    assert asked(state, waited=299.9) is None


def test_the_longest_waiting_is_asked_first() -> None:
    state = pool(account("a", windows=NEAR), account("b", 1, windows=NEAR))
    paces = {
        name: Pace(state.accounts[name].spec.credential, NOW - waited, 0.0)
        for name, waited in (("a", 1000), ("b", 2000))
    }
    probe = next_probe(state, paces, RULES, NOW, EPOCH)
    assert probe is not None
    assert probe.account == "b"


def test_a_new_account_and_a_new_credential_are_left_to_the_traffic_first() -> None:
    state = pool(account("a"), known("b"))
    paces = seen({}, state, NOW, 0.5)
    assert paces["a"].failures == 0
    assert next_probe(state, paces, RULES, NOW + 300, EPOCH) is None
    assert next_probe(state, paces, RULES, NOW + 330, EPOCH) is not None
    assert seen(paces, state, NOW + 99, 0.9) == paces
    changed = pool(account("a", token="another-token"), known("b"))
    assert seen(paces, changed, NOW + 99, 0.9)["a"].since == NOW + 99
    assert set(seen(paces, pool(known("b")), NOW, 0.0)) == {"b"}


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(0, 300), (1, 300), (2, 300), (3, 600), (4, 1200), (5, 2400), (6, 3600), (1000, 3600)],
)
def test_the_wait_doubles_from_the_third_failure_in_a_row_on_up_to_the_cap(
    failures: int, wait: float
) -> None:
    assert Pace(None, NOW, 0.0, failures).due(RULES) == NOW + wait


@given(st.floats(0, 1), st.integers(0, 10**6), st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_a_wait_is_never_shorter_than_the_interval_nor_longer_than_the_cap_and_its_jitter(
    spread: float, failures: int, interval: float, maximum: float
) -> None:
    rules = ProbeRules(interval=interval, maximum_interval=maximum)
    wait = Pace(None, 0.0, spread, failures).due(rules)
    assert interval <= wait <= max(interval, maximum) * (1 + SPREAD)

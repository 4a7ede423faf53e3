"""Credentials, what an account may serve, and what state it is in."""

from __future__ import annotations

import msgspec
import pytest

from protocol.accounts import AccountSpec, AccountState, Cooldown, Credential, Scope
from protocol.secrets import Secret


def spec(**changes: object) -> AccountSpec:
    plain = AccountSpec("a", "api_key", Credential(Secret("k"), bearer=False), "https://x")
    return msgspec.structs.replace(plain, **changes)


def bench(until: float, scope: Scope = Scope.ACCOUNT, reason: str = "rate_limited") -> Cooldown:
    return Cooldown(scope, "", reason, 0.0, until, 0, "retry-after")


def test_a_key_and_a_token_have_a_header_each() -> None:
    assert Credential(Secret("k"), bearer=False).header() == (b"x-api-key", b"k")
    assert Credential(Secret("t"), bearer=True).header() == (b"authorization", b"Bearer t")


@pytest.mark.parametrize("value", ["k\n", "k\r\n", " k", "\tk "])
def test_the_line_end_of_a_file_does_not_get_into_the_header(value: str) -> None:
    assert Credential(Secret(value), bearer=False).header() == (b"x-api-key", b"k")


@pytest.mark.parametrize(
    ("value", "bearer", "subscription"),
    [
        ("sk-ant-oat01-abc", True, True),
        (" sk-ant-oat01-abc\n", True, True),
        ("sk-ant-api03-abc", True, False),
        ("other", True, False),
        ("sk-ant-api03-abc", False, False),
    ],
)
def test_a_subscription_is_known_by_its_token(value: str, bearer: bool, subscription: bool) -> None:
    assert Credential(Secret(value), bearer=bearer).subscription is subscription


@pytest.mark.parametrize(
    ("models", "excluded", "model", "served"),
    [
        (("*",), (), "claude-x", True),
        (("claude-*",), (), "claude-x", True),
        (("claude-*",), (), "gpt-5", False),
        (("claude-*",), ("*-opus-*",), "claude-opus-5", False),
        (("*",), ("*",), "claude-x", False),
        ((), (), "claude-x", False),
        (("claude-x[1m]",), (), "claude-x[1m]", True),
        (("claude-x[1m]",), (), "claude-x1", False),
        (("claude-*",), ("*",), None, True),
    ],
)
def test_the_filters_say_which_models_it_may_serve(
    models: tuple[str, ...], excluded: tuple[str, ...], model: str | None, served: bool
) -> None:
    assert spec(models=models, exclude_models=excluded).may_serve(model) is served


def test_a_bench_ends_at_its_very_moment() -> None:
    state = AccountState(spec(), cooldowns=(bench(10.0),))
    assert state.available_at(9.999) == 10.0
    assert state.available_at(10.0) is None
    assert state.status(9.999) == "cooling"
    assert state.status(10.0) == "available"


def test_a_bench_of_a_family_or_a_beta_stands_only_in_its_way() -> None:
    family = Cooldown(Scope.MODEL_FAMILY, "fable", "window_7d_oi", 0.0, 50.0, 0, "reset")
    beta = Cooldown(Scope.BETA, "context-1m", "long_context", 0.0, 70.0, 0, "status")
    state = AccountState(spec(), cooldowns=(family, beta))
    assert state.status(0.0) == "available"
    assert state.available_at(0.0, "claude-fable-5-2") == 50.0
    assert state.available_at(0.0, "claude-fable-5-2", ("context-1m-2025-08-07",)) == 70.0
    assert state.available_at(0.0, "claude-sonnet-5-5", ("other",)) is None
    assert state.available_at(0.0, None, ("context-1m-2025-08-07",)) == 70.0


def test_the_longest_bench_counts_and_only_benches_of_the_account() -> None:
    benches = (bench(10.0), bench(30.0, reason="auth"), bench(99.0, Scope.PROVIDER))
    state = AccountState(spec(), cooldowns=benches)
    assert state.available_at(0.0) == 30.0
    assert state.active_cooldowns(30.0) == benches[2:]
    assert state.status(30.0) == "available"


def test_disabled_comes_before_cooling() -> None:
    assert AccountState(spec(), enabled=False, cooldowns=(bench(10.0),)).status(0.0) == "disabled"

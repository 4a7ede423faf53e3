"""Redirecting by quota, with hysteresis (`interface.md` rule 12)."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import AccountSpec, AccountState, Cooldown, Scope
from protocol.quota import Quota, Window
from protocol.redirect import Redirecting, judged

AT = {"5h": 0.90, "7d": 0.90}
NOW = (1_000.0, 1_700_000_000.0)


def account(name: str, five: float, week: float = 0.0, *, enabled: bool = True) -> AccountState:
    windows = {
        "5h": Window(five, "allowed", NOW[1] + 3_600, NOW[1]),
        "7d": Window(week, "allowed", NOW[1] + 86_400, NOW[1]),
    }
    spec = AccountSpec(name, "token", None, "https://x")
    return AccountState(spec, enabled=enabled, quota=Quota(windows))


def judge(before: Redirecting, *accounts: AccountState) -> Redirecting:
    return judged(before, accounts, AT, 0.05, NOW)


ACTIVE = Redirecting(True, 1.0, "x")


def test_it_starts_when_every_account_has_a_window_at_its_threshold() -> None:
    found = judge(Redirecting(), account("a", 0.90), account("b", 0.1, 0.95))
    assert found == Redirecting(True, NOW[1], "a: 5h at 90%; b: 7d at 95%")


def test_one_account_with_room_is_enough_not_to_start() -> None:
    before = Redirecting()
    assert judge(before, account("a", 0.99), account("b", 0.89)) is before


def test_it_ends_when_one_account_has_all_windows_below_threshold_less_hysteresis() -> None:
    assert judge(ACTIVE, account("a", 0.99), account("b", 0.84)) == Redirecting()


def test_between_the_two_it_stays_what_it_was() -> None:
    between = account("a", 0.87)
    assert judge(ACTIVE, between) is ACTIVE
    before = Redirecting()
    assert judge(before, between) is before


def test_a_window_whose_reset_has_passed_counts_as_empty() -> None:
    spent = account("a", 0.99)
    after = (NOW[0], NOW[1] + 3_601)
    assert judged(ACTIVE, [spent], AT, 0.05, after) == Redirecting()


def test_an_account_that_a_window_benched_is_spent_whatever_its_reading_says() -> None:
    bench = Cooldown(Scope.ACCOUNT, "", "window_5h", 0.0, 2_000.0, 0, "")
    benched = account("a", 0.1)
    benched = AccountState(benched.spec, cooldowns=(bench,), quota=benched.quota)
    assert judge(Redirecting(), benched).active


def test_a_disabled_account_has_no_say_and_without_any_account_nothing_is_redirected() -> None:
    assert judge(Redirecting(), account("a", 0.99), account("b", 0.0, enabled=False)).active
    assert not judge(ACTIVE).active


def test_an_account_that_needs_a_login_has_no_room_to_offer() -> None:
    """It can serve nobody, however little of its quota is used."""
    idle = account("b", 0.0)
    idle = msgspec.structs.replace(idle, spec=msgspec.structs.replace(idle.spec, needs_login=True))
    assert judge(Redirecting(), account("a", 0.99), idle).active
    assert judge(ACTIVE, account("a", 0.99), idle) is ACTIVE


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_it_never_flaps_within_the_hysteresis(readings: list[float]) -> None:
    state, changes = Redirecting(), []
    for reading in readings:
        after = judge(state, account("a", reading))
        if after.active != state.active:
            changes.append(reading)
        state = after
    for start, end in zip(changes[0::2], changes[1::2], strict=False):
        assert start >= 0.90
        assert end < 0.90 - 0.05 + 1e-9


def test_what_is_not_known_of_a_window_is_not_spent() -> None:
    silent = account("a", 0.1)
    only_week = AccountState(
        silent.spec, quota=Quota({"7d": Window(0.95, "allowed", None, NOW[1])})
    )
    unread = AccountState(silent.spec, quota=Quota({"5h": Window(None, "allowed", None, NOW[1])}))
    assert judge(Redirecting(), only_week).active
    assert not judge(Redirecting(), unread).active
    assert not judge(Redirecting(), AccountState(silent.spec)).active


def test_only_a_spent_window_of_the_whole_account_makes_it_spent() -> None:
    def resting(scope: Scope, target: str, reason: str) -> AccountState:
        bench = Cooldown(scope, target, reason, 0.0, 2_000.0, 0, "")
        return AccountState(account("a", 0.1).spec, cooldowns=(bench,))

    assert judge(Redirecting(), resting(Scope.ACCOUNT, "", "window_7d")).active
    assert not judge(Redirecting(), resting(Scope.ACCOUNT, "", "burst")).active
    assert not judge(Redirecting(), resting(Scope.MODEL_FAMILY, "opus", "window_7d_opus")).active

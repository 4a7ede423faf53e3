"""`quota.json`: what comes back of an account, and what must not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState, Cooldown, Credential, Scope
from protocol.benches import RETRY_AFTER_CAP
from protocol.dispatch import DispatchState, Strategy
from protocol.quota import Quota, Window
from protocol.quota_file import decode, encode, fingerprint, known, restored
from protocol.secrets import Secret
from protocol.status_view import Clocks

WALL = 1_795_240_000.0
BEFORE = Clocks(monotonic=5000.0, wall=WALL)
SALT = "0123"
SPEC = AccountSpec("a", "api_key", Credential(Secret("key-of-a"), bearer=False), "https://up")
WINDOW = Window(0.5, "allowed", WALL + 900, WALL - 3, "response")


def bench(until: float, since: float = 4990.0, level: int = 3) -> Cooldown:
    return Cooldown(Scope.ACCOUNT, "", "rate_limited", since, until, level, "ladder")


def account(spec: AccountSpec = SPEC, **changes: Any) -> AccountState:
    return msgspec.structs.replace(new_account(spec), **changes)


def pool(*accounts: AccountState) -> DispatchState:
    strategy = Strategy(pool=True, base_url="https://up")
    return DispatchState(strategy, {one.name: one for one in accounts})


def written(*accounts: AccountState, clocks: Clocks = BEFORE) -> bytes:
    return encode(known(pool(*accounts)), SALT, clocks)


def after(seconds: float, monotonic: float = 7.0) -> Clocks:
    """A later life: its monotonic clock has nothing to do with the other's."""
    return Clocks(monotonic=monotonic, wall=WALL + seconds)


def test_readings_come_back_as_they_were_and_say_that_they_are_restored() -> None:
    limits = Window(0.9, None, None, WALL - 1, "probe", 10, 1)
    quota = Quota({"5h": WINDOW, "tokens": limits}, "five_hour")
    state = restored(SPEC, decode(written(account(quota=quota))), after(100))
    assert state.quota == Quota(
        {
            "5h": Window(0.5, "allowed", WALL + 900, WALL - 3, "restored"),
            "tokens": Window(0.9, None, None, WALL - 1, "restored", 10, 1),
        },
        "five_hour",
    )
    assert msgspec.structs.replace(state, quota=Quota()) == new_account(SPEC)


def test_a_bench_ends_at_the_same_time_of_day() -> None:
    state = account(cooldowns=(bench(5060.0), bench(4999.0)), level=3)
    file = decode(written(state))
    (cooldown,) = restored(SPEC, file, after(20)).cooldowns
    assert cooldown.until == pytest.approx(7.0 + 40)
    assert cooldown.since == pytest.approx(7.0 - 30)
    assert restored(SPEC, file, after(20)).level == 3, "the ladder is climbed on from there"
    over = restored(SPEC, file, after(60))
    assert (over.cooldowns, over.level) == ((), 0)


def test_the_rest_of_an_egress_is_kept_as_one_of_each_account_behind_it() -> None:
    egress = Cooldown(Scope.EGRESS, "up", "burst", 4990.0, 5030.0, 0, "retry-after")
    elsewhere = msgspec.structs.replace(SPEC, name="b", base_url="https://other")
    state = pool(account(), account(elsewhere))
    state = msgspec.structs.replace(state, egress={"https://up": egress})
    file = decode(encode(known(state), SALT, BEFORE))
    (kept,) = restored(SPEC, file, after(10, monotonic=7.0)).cooldowns
    assert (kept.scope, kept.target, kept.reason) == (Scope.ACCOUNT, "", "burst")
    assert kept.until == pytest.approx(27.0)
    assert restored(elsewhere, file, after(10)).cooldowns == ()
    assert restored(SPEC, file, after(40)).cooldowns == ()


def test_a_clock_that_was_set_back_prolongs_no_bench_and_gives_no_reading_from_the_future() -> None:
    state = account(cooldowns=(bench(5060.0),), quota=Quota({"5h": WINDOW}))
    back = restored(SPEC, decode(written(state)), after(-1e6))
    assert back.cooldowns[0].until == pytest.approx(7.0 + 70), "as long as it was meant to be"
    assert back.quota.windows["5h"].read_at == WALL - 1e6


def test_no_bench_is_longer_than_any_window_whatever_the_file_says() -> None:
    document = json.loads(written(account(cooldowns=(bench(5060.0),))))
    document["accounts"]["a"]["cooldowns"][0] |= {"until": 9e10, "since": 0}
    state = restored(SPEC, decode(json.dumps(document).encode()), after(0))
    assert state.cooldowns[0].until == pytest.approx(7.0 + RETRY_AFTER_CAP)


def test_under_another_credential_or_name_nothing_of_it_counts() -> None:
    file = decode(written(account(cooldowns=(bench(5060.0),), quota=Quota({"5h": WINDOW}))))
    bearer = msgspec.structs.replace(SPEC, credential=Credential(Secret("key-of-a"), bearer=True))
    other = msgspec.structs.replace(SPEC, credential=Credential(Secret("another"), bearer=False))
    named = msgspec.structs.replace(SPEC, name="b")
    for spec in (bearer, other, named):
        assert restored(spec, file, after(1)) == new_account(spec)
    moved = msgspec.structs.replace(SPEC, order=7, priority=2)
    assert restored(moved, file, after(1)).cooldowns


def test_only_configured_accounts_about_which_something_is_known_are_kept() -> None:
    client = AccountSpec("client-01234567", "client", None, "https://up")
    fresh = msgspec.structs.replace(SPEC, name="fresh")
    quota = Quota({"5h": WINDOW})
    states = (account(quota=quota), account(client, quota=quota), account(fresh))
    assert list(known(pool(*states))) == ["a"]
    assert list(json.loads(written(*states))["accounts"]) == ["a"]


def test_no_credential_is_in_the_file() -> None:
    data = written(account(quota=Quota({"5h": WINDOW}), cooldowns=(bench(5060.0),)))
    assert b"key-of-a" not in data
    assert decode(data).accounts["a"].credential == fingerprint(SPEC.credential, SALT)
    assert fingerprint(SPEC.credential, SALT) != fingerprint(SPEC.credential, "other")


GOOD = json.loads(written(account(quota=Quota({"5h": WINDOW}), cooldowns=(bench(5060.0),))))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"version": None}, {"salt": 5}, {"accounts": []},
        {"accounts": {"a": {}}},
        {"accounts": {"a": {"credential": "x", "windows": {"5h": {"read_at": -1}}}}},
        {"accounts": {"a": {"credential": "x", "windows": {"5h": {"read_at": 1, "resets_at": 1e300}}}}},
        {"accounts": {"a": {"credential": "x", "windows": {"5h": {"read_at": 1, "utilization": 2e9}}}}},
        {"accounts": {"a": {"credential": "x", "cooldowns": [{"scope": "account"}]}}},
    ],
)  # fmt: skip
def test_what_we_would_not_have_written_is_an_error(change: dict[str, Any]) -> None:
    assert decode(json.dumps(GOOD).encode())
    with pytest.raises(ValueError, match=r".+"):
        decode(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("data", [b"", b"null", b"[" * 100_000, b'{"x":' * 100_000, b"\xff", b"{}"])
def test_a_torn_or_foreign_file_is_an_error_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(data)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damage_is_noticed_or_harmless(noise: bytes, place: int) -> None:
    whole = json.dumps(GOOD).encode()
    try:
        file = decode(whole[:place] + noise + whole[place + len(noise) :])
    except ValueError:
        return
    state = restored(SPEC, file, after(1))
    assert all(cooldown.until <= 7.0 + RETRY_AFTER_CAP for cooldown in state.cooldowns)


windows = st.builds(
    Window,
    st.none() | st.floats(0, 1000),
    st.none() | st.text(),
    st.none() | st.floats(1, 2e11),
    st.floats(0, WALL),
    st.just("restored"),
    st.none() | st.integers(0, 2**62),
    st.none() | st.integers(0, 2**62),
)


@given(st.dictionaries(st.text(), windows, max_size=4), st.none() | st.text())
def test_every_reading_survives_the_way_there_and_back(
    found: dict[str, Window], claim: str | None
) -> None:
    quota = Quota(found, claim)
    assert restored(SPEC, decode(written(account(quota=quota))), after(1)).quota == quota

"""A ramp: how many at once, from when on, and what starts one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import AccountState, Counters, Scope
from protocol.dispatch import (
    AccountChanged,
    AccountRemoved,
    DispatchState,
    Later,
    Lease,
    Release,
    Strategy,
    changed,
    choose,
    released,
    removed,
)
from protocol.quota import Quota, Window
from protocol.ramp import ALLOWED, RAMP_SECONDS, RECENT_SECONDS, START, Ramp, Traffic
from protocol.request import Route
from protocol.routing import Considered, Policy
from tests.protocol.test_dispatch import account, asking, bench, pool
from tests.protocol.test_routing import under

moments = st.floats(min_value=0.0, max_value=1e9)
counts = st.integers(min_value=0, max_value=10_000)


# ---------------------------------------------------------------------------------- how many at once


def test_it_begins_with_four_and_doubles_every_quarter_of_a_second() -> None:
    assert [ALLOWED[step] for step in (0, 5, 10, 15, 20, 25)] == [4, 8, 16, 32, 64, 128]
    ramp = Ramp(since=100.0)
    assert ramp.allows(START - 1, 100.0)
    assert not ramp.allows(START, 100.0)
    assert not ramp.allows(8, 100.24)
    assert ramp.allows(7, 100.25)
    assert ramp.allows(10**9, 100.0 + RAMP_SECONDS)


def test_every_success_makes_room_for_one_more() -> None:
    assert Ramp(100.0, earned=3).allows(START + 2, 100.0)
    assert not Ramp(100.0, earned=3).allows(START + 3, 100.0)


@given(since=moments, earned=counts, in_flight=counts)
def test_it_opens_when_it_says_and_at_the_latest_at_its_end(
    since: float, earned: int, in_flight: int
) -> None:
    ramp = Ramp(since, earned)
    opens_at = ramp.opens_at(in_flight)
    assert since <= opens_at <= since + RAMP_SECONDS
    assert ramp.allows(in_flight, opens_at)


@given(since=moments, earned=counts, in_flight=counts, later=st.floats(0.0, RAMP_SECONDS))
def test_it_only_ever_grows(since: float, earned: int, in_flight: int, later: float) -> None:
    if Ramp(since, earned).allows(in_flight, since + later / 2):
        assert Ramp(since, earned).allows(in_flight, since + later)
        assert Ramp(since, earned + 1).allows(in_flight + 1, since + later)


# ------------------------------------------------------------------------------------- what starts one


class Herd:
    """Requests that are all patient, and never end by themselves."""

    def __init__(self, state: DispatchState) -> None:
        self.state = state
        self.leases: list[Lease] = []

    def take(self, times: int, now: float = 0.0, **changes: object) -> str:
        """Who got a lease; `.` for each that has to wait."""
        names = ""
        for _ in range(times):
            ask = asking(patient_until=now + RAMP_SECONDS, **changes)
            self.state, outcome = choose(self.state, ask, now)
            if isinstance(outcome, Lease):
                self.leases.append(outcome)
                names += outcome.account
            else:
                assert isinstance(outcome, Later)
                names += "."
        return names

    def become(self, known: AccountState) -> None:
        self.state = changed(self.state, AccountChanged(known))

    def rests(self, name: str, until: float = 60.0) -> None:
        known = self.state.accounts[name]
        self.become(msgspec.structs.replace(known, cooldowns=(bench(until),)))

    def all_end(self) -> None:
        for lease in self.leases:
            self.state = released(self.state, Release(lease.id, lease.account))
        self.leases = []


def two() -> Herd:
    return Herd(pool(account("a", 0), account("b", 1)))


def test_the_account_that_takes_over_from_a_benched_one_is_given_a_few_at_first() -> None:
    herd = two()
    assert herd.take(50) == "a" * 50
    herd.rests("a")
    assert herd.take(9, 1.0, tried=("a",)) == "bbbb....."
    assert herd.take(20, 1.5) == "b" * 12 + "." * 8, "16 in flight after half a second"
    assert herd.take(500, 1.0 + RAMP_SECONDS) == "b" * 500


def test_a_cold_start_is_no_switch_whatever_rests_from_before() -> None:
    for rests in ((), (bench(60.0),)):
        herd = Herd(pool(account("a", 0, cooldowns=rests), account("b", 1)))
        assert "." not in herd.take(50)


def test_one_account_alone_takes_all_at_once_while_nothing_limits_it() -> None:
    herd = Herd(pool(account("a")))
    assert herd.take(50) == "a" * 50


@pytest.mark.parametrize("session", [None, "x"], ids=["no session", "at home"])
def test_who_waited_for_a_limit_comes_back_bit_by_bit(session: str | None) -> None:
    herd = Herd(under("fill-first", account("a")))
    assert herd.take(50, session=session) == "a" * 50
    herd.all_end()
    herd.rests("a", until=1.0)
    assert herd.take(6, 1.0, session=session) == "aaaa.."
    assert herd.take(6, 1.25, session=session) == "aaaa.."
    assert herd.take(50, 1.0 + RAMP_SECONDS, session=session) == "a" * 50
    herd.all_end()
    assert herd.take(50, 4.0, session=session) == "a" * 50, "one limit is one ramp"


def test_a_success_after_the_limit_makes_room_for_one_more_at_home_too() -> None:
    herd = Herd(under("fill-first", account("a")))
    herd.take(1, session="x")
    herd.all_end()
    herd.rests("a", until=1.0)
    assert herd.take(6, 1.0, session="x") == "aaaa.."
    herd.become(msgspec.structs.replace(account("a"), counters=Counters(successes=1)))
    assert herd.take(3, 1.0, session="x") == "a.."


def test_of_several_that_are_back_each_comes_back_bit_by_bit() -> None:
    herd = Herd(under("round-robin", account("a", 0), account("b", 1)))
    herd.rests("a", until=1.0)
    herd.rests("b", until=1.0)
    assert sorted(herd.take(12, 1.0)) == sorted("aaaabbbb....")


def test_coming_home_while_another_is_well_is_no_herd() -> None:
    herd = two()
    herd.rests("a", until=1.0)
    assert herd.take(50, 1.0) == "a" * 50


def test_what_it_has_in_flight_is_no_part_of_those_who_come_back() -> None:
    herd = Herd(pool(account("a")))
    herd.take(20)
    herd.rests("a", until=1.0)
    assert herd.take(5, 1.0) == "aaaa."


def test_who_comes_long_after_a_limit_did_not_wait_for_it() -> None:
    herd = Herd(pool(account("a")))
    herd.rests("a", until=1.0)
    assert herd.take(50, 1.1 + RECENT_SECONDS) == "a" * 50


@pytest.mark.parametrize(
    "rest", [{"scope": Scope.MODEL_FAMILY, "target": "fable"}, {"reason": "auth"}]
)
def test_a_bench_that_is_no_limit_of_the_whole_account_brings_nobody_back(
    rest: dict[str, Any],
) -> None:
    ended = msgspec.structs.replace(bench(1.0), **rest)
    assert Herd(pool(account("a", 0, cooldowns=(ended,)))).take(50, 1.0) == "a" * 50


def test_a_limit_that_a_success_has_disproved_is_past() -> None:
    herd = Herd(pool(account("a")))
    herd.rests("a", until=1.0)
    herd.become(account("a"))
    assert herd.take(50, 1.0) == "a" * 50


def test_it_is_no_switch_when_the_benched_one_had_no_traffic_lately() -> None:
    herd = two()
    herd.take(50)
    herd.rests("a", until=600.0)
    assert herd.take(50, RECENT_SECONDS) == "b" * 50


def test_an_account_that_is_loaded_already_takes_all() -> None:
    herd = Herd(under("round-robin", account("a", 0), account("b", 1)))
    assert herd.take(2 * START) == "ab" * START
    herd.rests("a")
    assert herd.take(50, 1.0) == "b" * 50


def test_one_switch_is_one_ramp() -> None:
    herd = two()
    herd.take(50)
    herd.rests("a")
    assert herd.take(5, 1.0) == "bbbb."
    herd.all_end()
    assert herd.take(50, 1.0 + RAMP_SECONDS) == "b" * 50
    herd.all_end()
    assert herd.take(50, 2.0 + RAMP_SECONDS) == "b" * 50, "a rests on, and nothing moved over"


def test_the_next_switch_is_the_next_ramp() -> None:
    herd = two()
    herd.take(1)
    herd.rests("a", until=5.0)
    assert herd.take(5, 1.0) == "bbbb."
    herd.all_end()
    assert herd.take(50, 5.0) == "a" * 50
    herd.rests("a")
    assert herd.take(5, 6.0) == "bbbb."


def test_past_switch_at_or_switched_off_counts_like_a_bench() -> None:
    full = Quota({"5h": Window(0.99, "allowed", 9e9, 0.0)})
    for change in ({"quota": full}, {"enabled": False}):
        herd = Herd(under("fill-first", account("a", 0), account("b", 1)))
        herd.take(50)
        herd.become(msgspec.structs.replace(herd.state.accounts["a"], **change))
        assert herd.take(6, 1.0) == "bbbb.."


@pytest.mark.parametrize(
    "changes", [{"tried": ("a",)}, {"model": "gpt-x"}], ids=["failed", "may not serve it"]
)
def test_what_says_nothing_about_the_account_is_no_switch(changes: dict[str, object]) -> None:
    herd = Herd(pool(account("a", 0, exclude_models=("gpt-*",)), account("b", 1)))
    herd.take(50)
    assert herd.take(50, 1.0, **changes) == "b" * 50


def test_who_asks_by_name_or_for_another_route_does_not_wait() -> None:
    herd = two()
    herd.take(50)
    herd.rests("a")
    assert herd.take(5, 1.0) == "bbbb."
    assert herd.take(1, 1.0, pinned="b") == "b"
    assert herd.take(1, 1.0, route=Route.OTHER) == "a", "by priority, and never repeated"


def test_a_session_that_is_at_home_there_does_not_wait() -> None:
    herd = Herd(under("fill-first", account("b", 1)))
    assert herd.take(1, session="x") == "b"
    herd.become(account("a", 0))
    assert herd.take(50) == "a" * 50
    herd.rests("a")
    assert herd.take(9, 1.0) == "bbb......"
    assert herd.take(2, 1.0, session="x") == "bb"
    assert herd.take(1, 1.0, session="y") == "."


def test_a_success_of_the_account_makes_room() -> None:
    herd = two()
    herd.take(50)
    herd.rests("a")
    assert herd.take(5, 1.0) == "bbbb."
    known = account("b", 1)
    herd.become(msgspec.structs.replace(known, counters=Counters(successes=2)))
    assert herd.take(3, 1.0) == "bb."
    herd.become(known)
    assert herd.take(1, 1.0) == ".", "an account that starts clean takes nothing away"


def test_taking_turns_the_next_one_is_given_what_the_first_has_no_room_for() -> None:
    herd = Herd(under("round-robin", *(account(name, n) for n, name in enumerate("abc"))))
    herd.take(3)
    herd.rests("a")
    names = herd.take(12, 1.0)
    assert names.replace(".", "") == "bcbcbc"
    assert names.count(".") == 6


def test_a_removed_account_leaves_no_ramp_behind() -> None:
    herd = two()
    herd.take(50)
    herd.rests("a")
    herd.take(5, 1.0)
    herd.state = removed(removed(herd.state, AccountRemoved("b")), AccountRemoved("a"))
    assert (herd.state.traffic.newest, herd.state.traffic.ramps) == ({}, {})


def test_a_lease_says_what_was_waited_for() -> None:
    _, lease = choose(pool(account("a")), asking(), 0.0)
    assert isinstance(lease, Lease)
    waited = msgspec.structs.replace(lease, waited_for="a")
    assert waited.considered == (*lease.considered, Considered("a", "waited", "ramp"))


def test_a_ramp_is_over_after_two_seconds() -> None:
    traffic = Traffic(ramps={"a": Ramp(10.0)})
    moments = (10.0, 11.99, 12.0, 1000.0)
    assert [traffic.ramping("a", now) for now in moments] == [True, True, False, False]
    assert not traffic.ramping("b", 10.0)


def test_whoever_is_at_home_with_an_account_begins_no_ramp_of_it() -> None:
    """He is no part of the herd that comes from elsewhere."""
    staying = Strategy(pool=True, base_url="https://x", policy=Policy("fill-first", {}, 3600.0))
    herd = Herd(pool(account("a", 0), account("b", 1), strategy=staying))
    assert herd.take(1, session="s", tried=("a",)) == "b"
    assert herd.take(9) == "a" * 9
    herd.rests("a")
    assert herd.take(2, 1.0, session="s") == "bb"
    assert herd.state.traffic.ramps == {}
    assert herd.take(1, 1.0) == "b"
    assert "b" in herd.state.traffic.ramps, "who comes from elsewhere does"


def test_a_lease_is_ramped_by_the_ramp_of_its_own_account_alone() -> None:
    herd = two()
    herd.take(9)
    herd.rests("a")
    assert herd.take(1, 1.0) == "b"
    herd.become(account("a", 0))
    assert herd.take(1, 1.0) == "a"
    assert [lease.ramped for lease in herd.leases[-2:]] == [True, False]


def test_each_account_has_been_given_as_many_as_it_has_leases_or_reports() -> None:
    """After a crash the account knows of more than is left here."""
    herd = two()
    herd.take(1)
    assert herd.state.given == {"a": 1}
    herd.take(2)
    assert herd.state.given == {"a": 3}
    reported = msgspec.structs.replace(account("b", 1), counters=Counters(requests=1))
    herd.become(reported)
    assert herd.state.given == {"a": 3, "b": 1}

"""Sessions and their accounts: who stays, who comes home, who has moved for good."""

from __future__ import annotations

import zlib

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.affinity import (
    CACHE_SECONDS,
    SHARDS,
    Home,
    Outage,
    Sessions,
    remembered,
    settled,
    wanted,
)

TEN_THOUSAND = 10_000
FOREVER = float("inf")
HOUR = 3600.0


class Session:
    """One session and the accounts that serve, as the choice goes through both."""

    def __init__(self, serving: str = "ab") -> None:
        self.home: Home | None = None
        self.serving = serving
        self.outages: dict[str, Outage] = {}

    def turn(self, now: float) -> str:
        kept = None if self.home is None else wanted(self.home, lambda n: n in self.serving, now)
        name = kept or self.serving[0]
        away = None if self.home is None else self.outages.get(self.home.account)
        self.home = settled(self.home, name, away, now)
        return name


def test_a_session_stays_although_somebody_else_would_be_first() -> None:
    session = Session("b")
    assert session.turn(0.0) == "b"
    session.serving = "ab"
    assert [session.turn(now) for now in (1.0, 500.0, 1000.0)] == ["b", "b", "b"]


def test_after_a_short_outage_it_comes_home() -> None:
    session = Session()
    session.turn(0.0)
    session.serving, session.outages = "b", {"a": Outage(10.0, 40.0)}
    assert [session.turn(now) for now in (12.0, 39.0)] == ["b", "b"]
    session.serving = "ab"
    assert session.turn(40.0) == "a"
    assert session.home == Home("a", 40.0)


def test_a_session_that_was_silent_meanwhile_comes_home_from_a_short_outage_too() -> None:
    session = Session()
    session.turn(0.0)
    session.serving, session.outages = "b", {"a": Outage(10.0, 40.0)}
    session.turn(12.0)
    session.serving = "ab"
    assert session.turn(12.0 + 2 * CACHE_SECONDS) == "a"


def test_an_outage_longer_than_a_cache_lives_moves_it_for_good() -> None:
    session = Session()
    session.turn(0.0)
    session.serving, session.outages = "b", {"a": Outage(10.0, 9999.0)}
    session.turn(12.0)
    session.turn(310.0)
    session.serving, session.outages = "ab", {}
    assert session.turn(311.0) == "b"
    assert session.home == Home("b", 311.0)


def test_an_outage_whose_end_nobody_saw_counts_as_long_as_was_known() -> None:
    session = Session()
    session.turn(0.0)
    session.serving, session.outages = "b", {"a": Outage(10.0, 10.0 + CACHE_SECONDS)}
    session.turn(12.0)
    session.serving, session.outages = "ab", {}
    assert session.turn(20.0 + CACHE_SECONDS) == "b"


def test_two_short_outages_do_not_add_up_to_a_long_one() -> None:
    session = Session()
    session.turn(0.0)
    for since in (10.0, 210.0, 410.0):
        session.serving, session.outages = "b", {"a": Outage(since, since + 30.0)}
        assert session.turn(since + 5.0) == "b"
    session.serving = "ab"
    assert session.turn(440.0) == "a"


def test_an_outage_that_begins_as_another_ends_is_the_same_one() -> None:
    session = Session()
    session.turn(0.0)
    session.serving = "b"
    for now, until in ((12.0, 160.0), (165.0, 9999.0), (310.0, 9999.0)):
        session.outages = {"a": Outage(10.0 if until == 160.0 else 160.0, until)}
        session.turn(now)
    assert session.home == Home("b", 310.0)


def test_an_outage_without_a_known_begin_is_counted_from_its_first_sight() -> None:
    session = Session()
    session.turn(0.0)
    for now in (10.0, 200.0, 10.0 + CACHE_SECONDS):
        session.serving, session.outages = "b", {"a": Outage(now, FOREVER)}
        session.turn(now)
    assert session.home == Home("b", 10.0 + CACHE_SECONDS)


def test_the_stand_in_stays_the_same_while_home_is_out() -> None:
    session = Session("abc")
    session.turn(0.0)
    session.outages = {"a": Outage(10.0, 40.0)}
    session.serving = "cb"
    assert session.turn(12.0) == "c"
    session.serving = "bc"
    assert session.turn(14.0) == "c"
    session.serving = "b"
    assert session.turn(16.0) == "b"


def test_an_account_that_may_not_serve_this_model_is_still_home() -> None:
    session = Session()
    session.turn(0.0)
    session.serving = "b"
    for now in range(10, 1000, 10):
        assert session.turn(float(now)) == "b"
    session.serving = "ab"
    assert session.turn(1000.0) == "a"


def test_a_removed_account_is_nobodys_home() -> None:
    session = Session()
    session.turn(0.0)
    session.serving, session.outages = "b", {"a": Outage(-FOREVER, FOREVER)}
    session.turn(1.0)
    session.serving = "ab"
    assert session.turn(2.0) == "b"


# --------------------------------------------------------------------------------------- the memory


def test_a_session_idle_for_longer_than_it_is_kept_is_new() -> None:
    sessions = remembered(Sessions(), "s", Home("a", 0.0), 0.0, HOUR)
    assert sessions.home("s", HOUR - 1, HOUR) == Home("a", 0.0)
    assert sessions.home("s", HOUR, HOUR) is None
    assert sessions.home("other", 0.0, HOUR) is None


def test_ten_thousand_are_kept_and_then_the_longest_unused_of_a_shard_goes() -> None:
    sessions = Sessions()
    for number in range(TEN_THOUSAND):
        now = float(number)
        sessions = remembered(sessions, f"s{number}", Home("a", now), now, 1e9)
    assert all(sessions.home(f"s{number}", 1e5, 1e9) for number in range(TEN_THOUSAND))
    for number in range(TEN_THOUSAND, TEN_THOUSAND + 500):
        now = float(number)
        sessions = remembered(sessions, f"s{number}", Home("a", now), now, 1e9)
        assert sessions.home(f"s{number}", now, 1e9)
    assert sessions.count == TEN_THOUSAND == sum(len(shard) for shard in sessions.shards)


def test_a_session_that_goes_on_outlives_those_that_do_not() -> None:
    sessions = Sessions()
    for number in range(3 * TEN_THOUSAND):
        now = float(number)
        sessions = remembered(sessions, f"s{number}", Home("a", now), now, 1e9)
        if number % 20 == 0:
            assert number == 0 or sessions.home("busy", now, 1e9)
            sessions = remembered(sessions, "busy", Home("a", now), now, 1e9)
    assert not sessions.home("s0", now, 1e9)


def test_a_session_is_remembered_although_there_is_no_room_and_none_of_its_shard_to_forget() -> (
    None
):
    def shard(name: str) -> int:
        return zlib.crc32(name.encode()) % SHARDS

    sessions, number, elsewhere = Sessions(), 0, shard("late")
    while sessions.count < TEN_THOUSAND:
        number += 1
        if shard(f"s{number}") != elsewhere:
            sessions = remembered(sessions, f"s{number}", Home("a", 0.0), 0.0, HOUR)
    sessions = remembered(sessions, "late", Home("b", 1.0), 1.0, HOUR)
    assert sessions.home("late", 1.0, HOUR) == Home("b", 1.0)
    assert sessions.count == TEN_THOUSAND == sum(len(one) for one in sessions.shards)


def test_sessions_as_old_as_they_are_kept_make_room_for_others() -> None:
    sessions = Sessions()
    for now, names in ((0.0, range(1000)), (HOUR, range(1000, 3000))):
        for name in names:
            sessions = remembered(sessions, f"s{name}", Home("a", now), now, HOUR)
    assert sessions.count == 2000


def test_any_text_is_a_session() -> None:
    sessions = remembered(Sessions(), "\ud800", Home("a", 0.0), 0.0, HOUR)
    assert sessions.home("\ud800", 1.0, HOUR) == Home("a", 0.0)


class Memory(RuleBasedStateMachine):
    """Beside a plain dict of when each session was last seen."""

    names = st.integers(0, 300).map("session-{}".format)

    def __init__(self) -> None:
        super().__init__()
        self.sessions = Sessions()
        self.plain: dict[str, float] = {}
        self.now = 0.0

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=names, account=st.sampled_from("ab"))
    def use(self, name: str, account: str) -> None:
        home = Home(account, self.now)
        self.sessions = remembered(self.sessions, name, home, self.now, 60.0)
        self.plain[name] = self.now
        assert self.sessions.home(name, self.now, 60.0) == home

    @invariant()
    def what_is_young_is_known_and_what_is_old_is_not(self) -> None:
        for name, seen in self.plain.items():
            known = self.sessions.home(name, self.now, 60.0)
            assert (known is not None) == (self.now - seen < 60.0)

    @invariant()
    def the_count_is_true(self) -> None:
        assert self.sessions.count == sum(len(shard) for shard in self.sessions.shards)


TestMemory = Memory.TestCase


def test_a_session_in_the_middle_of_its_work_is_noted_once_a_second_and_no_later() -> None:
    """Of a session kept for seconds only, more often; one that is away from home, always."""
    home = Home("a", 100.0)
    assert home.noted(100.0, 3600.0)
    assert home.noted(100.9, 3600.0)
    assert not home.noted(101.0, 3600.0)
    assert home.noted(100.0995, 10.0), "a hundredth of what it is kept"
    assert not home.noted(100.1001, 10.0)
    assert not Home("a", 100.0, "b").noted(100.0, 3600.0)
    assert not Home("a", 100.0, outage=Outage(1.0, 2.0)).noted(100.0, 3600.0)

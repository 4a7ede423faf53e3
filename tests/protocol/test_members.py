"""What is prepared for a choice is what the snapshots say, however it came about."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import AccountState
from protocol.members import Members, members_of, with_account, with_load
from protocol.quota import Quota, Window
from protocol.strategies import Candidate
from tests.protocol.test_dispatch import SUBSCRIPTION, account, bench

SWITCH_AT = {"5h": 0.9}
NAMES = "abcde"

snapshots = st.builds(
    lambda name, priority, rests, used, enabled, kind, limit, owner: msgspec.structs.replace(
        account(
            name,
            NAMES.index(name),
            priority=priority,
            kind=kind,
            enabled=enabled,
            cooldowns=rests,
            requests_per_minute=limit,
            **({"credential": SUBSCRIPTION} if owner else {}),
        ),
        quota=Quota({"5h": Window(used, "allowed", None, 0.0)}),
    ),
    st.sampled_from(NAMES),
    st.integers(0, 1),
    st.sampled_from([(), (bench(9.0),)]),
    st.sampled_from([None, 0.1, 0.95]),
    st.booleans(),
    st.sampled_from(["api_key", "token", "client"]),
    st.sampled_from([0, 5]),
    st.booleans(),
)
events = st.lists(st.one_of(snapshots, st.tuples(st.sampled_from(NAMES), st.integers(0, 3))))


@given(events)
def test_one_step_after_the_other_gives_the_same_as_working_it_out_anew(
    steps: list[AccountState | tuple[str, int]],
) -> None:
    accounts: dict[str, AccountState] = {}
    in_flight: dict[str, int] = {}
    given: dict[str, int] = {}
    members = members_of(accounts, in_flight, SWITCH_AT, given)
    for step in steps:
        if isinstance(step, AccountState):
            # An account keeps its spec from snapshot to snapshot, unless that is changed.
            known = accounts.get(step.name)
            if known is not None and known.spec == step.spec:
                step = msgspec.structs.replace(step, spec=known.spec)
            accounts = {**accounts, step.name: step}
            members = with_account(members, step, accounts, given)
        else:
            in_flight = {**in_flight, step[0]: step[1]}
            given = {**given, step[0]: given.get(step[0], 0) + step[1]}
            members = with_load(members, step[0], in_flight, given)
        assert members == members_of(accounts, in_flight, SWITCH_AT, given)
        assert members.made_from(accounts, in_flight, SWITCH_AT)


def test_what_was_prepared_for_other_values_is_known_to_be() -> None:
    accounts = {"a": account("a")}
    members: Members = members_of(accounts, {}, SWITCH_AT, {})
    assert not members.made_from({**accounts}, members.in_flight, SWITCH_AT)
    assert not members.made_from(accounts, {"a": 1}, SWITCH_AT)
    assert not members.made_from(accounts, members.in_flight, {})


def known(*accounts: AccountState, used: dict[str, float | None] | None = None) -> Members:
    """The members of these, whose 5h window is as far `used`."""
    states = {
        one.name: msgspec.structs.replace(
            one, quota=Quota({"5h": Window((used or {}).get(one.name), "allowed", None, 0.0)})
        )
        for one in accounts
    }
    return members_of(states, {"b": 2}, SWITCH_AT, {"b": 7})


def test_members_stand_by_priority_and_then_as_they_are_configured() -> None:
    members = known(
        account("a", 3, priority=1),
        account("b", 2, weight=4),
        account("own", kind="client", credential=None),
        account("c", 1),
        used={"b": 0.5},
    )
    assert [state.name for state in members.states] == ["c", "b", "a"]
    assert members.places == {"c": 0, "b": 1, "a": 2}
    assert members.candidates == (
        Candidate("c", 0, 1, 1, 0, 0, {}),
        Candidate("b", 0, 2, 4, 2, 7, {"5h": (0.5, float("inf"))}),
        Candidate("a", 1, 3, 1, 0, 0, {}),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"enabled": False},
        {"needs_login": True},
        {"cooldowns": (bench(9.0),)},
        {"requests_per_minute": 5},
        {"models": ("claude-opus-*",)},
        {"exclude_models": ("claude-opus-*",)},
    ],
)
def test_who_may_be_unable_to_serve_some_request_is_looked_at_closely(
    change: dict[str, object],
) -> None:
    members = known(account("a"), account("b", 1, **change))
    assert (members.closely, members.owners, members.crowded) == ((1,), (), ())


def test_subscriptions_and_who_is_at_its_threshold_are_known_apart() -> None:
    members = known(
        account("a", credential=SUBSCRIPTION),
        account("b", 1, kind="oauth"),
        account("c", 2),
        account("d", 3),
        used={"c": 0.89, "d": 0.9},
    )
    assert (members.closely, members.owners, members.crowded) == ((), (0, 1), (3,))


def test_a_snapshot_says_anew_who_is_looked_at_closely() -> None:
    members = known(account("a"), account("b", 1))
    off = msgspec.structs.replace(members.states[1], enabled=False)
    assert with_account(members, off, {**members.accounts, "b": off}, {}).closely == (1,)


def test_what_is_no_longer_in_flight_counts_for_nothing() -> None:
    members = with_load(known(account("b")), "b", {}, {})
    assert members.candidates[0].in_flight == members.candidates[0].requests_since_start == 0

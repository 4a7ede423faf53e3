"""What is prepared for a choice is what the snapshots say, however it came about."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import AccountState
from protocol.members import Members, members_of, with_account, with_load
from protocol.quota import Quota, Window
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

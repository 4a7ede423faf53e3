"""What a lease says of its choice where there was none, and releases that belong to no lease."""

from __future__ import annotations

import msgspec
import pytest

from protocol.dispatch import Again, Later, Lease, Release, choose, choose_again, released
from protocol.quota import Quota, Window
from protocol.ramp import START, Ramp, Traffic
from protocol.routing import Considered
from tests.protocol.test_dispatch import ASK, NO_POOL, account, asking, leased, pool
from tests.protocol.test_routing import under


def test_a_second_lease_after_an_overload_says_so() -> None:
    _, again = choose_again(pool(account("a"), account("b", 1)), Again("b", ASK), 0.0)
    assert isinstance(again, Lease)
    assert again.considered == (Considered("b", "taken", "again"),)


def test_a_clients_own_credential_is_said_to_be_that() -> None:
    lease = leased(pool(strategy=NO_POOL))
    assert lease.considered == (Considered("client-1234", "taken", "client"),)


def test_a_release_of_a_lease_that_was_never_given_changes_nothing() -> None:
    state, lease = choose(pool(account("a")), asking(), 0.0)
    assert isinstance(lease, Lease)
    assert released(state, Release(lease.id + 1, "a")) is state
    assert released(state, Release(lease.id, "a")).in_flight == {}


@pytest.mark.parametrize(("at", "taken"), [(50.0, "b"), (100.0, "a"), (200.0, "a")])
def test_a_window_that_has_ended_sends_nobody_elsewhere(at: float, taken: str) -> None:
    used_up = Quota({"5h": Window(0.99, "allowed", 100.0, 0.0)})
    nearly = msgspec.structs.replace(account("a"), quota=used_up)
    lease = leased(under("fill-first", nearly, account("b", 1)), asking(at=at))
    assert lease.account == taken
    assert lease.reasons == ("fill-first", "a is past its switch_at")[: 1 + (taken == "b")]


def test_whose_turn_it_was_has_used_it_although_he_waits() -> None:
    state = under("round-robin", account("a"), account("b", 1), affinity=0.0)
    traffic = Traffic(ramps={"a": Ramp(0.0)})
    state = msgspec.structs.replace(state, traffic=traffic, in_flight={"a": START})
    patient = asking(patient_until=1.0)
    state, waits = choose(state, patient, 0.0)
    assert waits == Later("a")
    _, served = choose(state, patient, 0.0)
    assert isinstance(served, Lease)
    assert served.account == "b"

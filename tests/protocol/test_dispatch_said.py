"""What a lease says of its choice where there was none, and releases that belong to no lease."""

from __future__ import annotations

from protocol.dispatch import Again, Lease, Release, choose, choose_again, released
from protocol.routing import Considered
from tests.protocol.test_dispatch import ASK, NO_POOL, account, asking, leased, pool


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

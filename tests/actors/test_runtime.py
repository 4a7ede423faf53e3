"""The state that an actor published outlives it."""

from __future__ import annotations

from actors.runtime import Snapshot


def test_a_snapshot_survives_one_crash_and_is_dropped_on_the_second() -> None:
    snapshot: Snapshot[str] = Snapshot()
    snapshot.publish("state")
    snapshot.crashed()
    assert snapshot.state == "state"
    snapshot.crashed()
    assert snapshot.state is None


def test_a_new_snapshot_starts_the_count_anew() -> None:
    snapshot: Snapshot[str] = Snapshot()
    snapshot.publish("state")
    snapshot.crashed()
    snapshot.publish("newer")
    snapshot.crashed()
    assert snapshot.state == "newer"

"""S4: the power goes at any moment, and with it whatever nobody had forced to the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.forgetful_disk import ForgetfulDisk, Left
from tests.kit.promises import Measured
from tests.kit.settings_disk import FaultyDisk
from tests.supervisor.test_client_settings import (
    WHOLE,
    Place,
    everything,
    now,
    points,
    prepared,
    releases,
)


def starts_again(place: Place, left: Left) -> None:
    """The machine, with what its disk still has."""
    for directory in (place.directory, place.state):
        for path in directory.iterdir():
            if path.name != "client.lock":
                path.unlink()
    for path, content in left.items():
        path.write_bytes(content)


def comes_back(place: Place, left: Left, original: bytes | None) -> bool:
    """Whether the next start finds the way back, which is the original."""
    starts_again(place, left)
    if now(place) != original and not place.lease.exists():
        return False
    releases(place, FaultyDisk())
    if now(place) != original or place.lease.exists():
        return False
    once = everything(place)
    releases(place, FaultyDisk())
    return everything(place) == once


def losses(root: Path, before: str, phase: str, **disk_options: bool) -> tuple[int, int]:
    """How many states a loss of power can leave, and from how many of them nothing comes back."""
    original = WHOLE[before]
    place = prepared(root, original)
    if phase == "release":
        points(place, FaultyDisk())
    disk = ForgetfulDisk((place.directory, place.state), **disk_options)
    (points if phase == "point" else releases)(place, disk)
    assert now(place) == original or phase == "point"
    return len(disk.left), sum(not comes_back(place, left, original) for left in disk.left)


@pytest.mark.promise("S4")
@pytest.mark.parametrize("before", WHOLE)
@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "rename"])
@pytest.mark.parametrize("phase", ["point", "release"])
def test_a_loss_of_power_at_any_moment_is_repaired_to_the_original(
    tmp_path: Path, before: str, exchanges: bool, phase: str
) -> None:
    states, lost = losses(tmp_path / "place", before, phase, exchanges=exchanges)
    assert states > 5
    assert lost == 0


@pytest.mark.promise("S4")
@pytest.mark.sweep
def test_of_all_that_a_loss_of_power_can_leave_everything_comes_back(
    tmp_path: Path, measured: Measured
) -> None:
    states = lost = 0
    for number, (before, phase) in enumerate((b, p) for b in WHOLE for p in ("point", "release")):
        found = losses(tmp_path / f"{number}", before, phase)
        states, lost = states + found[0], lost + found[1]
    measured("S4", "settings lost by a loss of power", lost, "states", rounds=states)
    assert lost == 0


@pytest.mark.promise("S4", control=True)
@pytest.mark.parametrize("forced", ["files", "directories_too"])
@pytest.mark.parametrize("phase", ["point", "release"])
def test_where_nothing_is_forced_to_the_disk_some_never_come_back(
    tmp_path: Path, forced: str, phase: str
) -> None:
    assert losses(tmp_path / "place", "env", phase, **{forced: False})[1] > 0

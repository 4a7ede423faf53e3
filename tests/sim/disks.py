"""The disks of a run: files in memory, with faults before and after each call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from tests.kit.memory_credentials import MemoryCredentials
from tests.kit.memory_disk import MemoryDisk
from tests.kit.memory_keys import MemoryKeys
from tests.sim.faults import Dice
from tests.sim.history import Written

PROGRAM, OWNER, OTHER_CLIENT = "program", "owner", "another client"
"""Who writes login files."""


class SimDisk(MemoryDisk):
    """The disk of the logs and of the memory of quota, with faults before and after each call."""

    def __init__(self, dice: Dice) -> None:
        super().__init__()
        self._dice = dice

    async def replace(self, path: Path, data: bytes) -> None:
        await super().replace(path, data)
        if self._dice.hit("disk error", f"after replacing {path.name}"):
            raise OSError(5, "input/output error")

    async def _turn(self, path: Path) -> None:
        await super()._turn(path)
        if self._dice.hit("disk slow", path.name, scale=0.1):
            await trio.sleep(self._dice.stream("disk slow").uniform(0.1, 4))
        if self._dice.hit("disk error", path.name, scale=0.3):
            raise OSError(28, "no space left on device", str(path))


class SimKeys(MemoryKeys):
    """`keys.json`, with faults before each call."""

    def __init__(self, dice: Dice) -> None:
        super().__init__()
        self._dice = dice

    async def _turn(self, call: str) -> None:
        await super()._turn(call)
        if self._dice.hit("disk slow", f"keys.json: {call}", scale=0.1):
            await trio.sleep(self._dice.stream("disk slow").uniform(0.1, 4))
        if self._dice.hit("disk error", f"keys.json: {call}", scale=0.1):
            raise OSError(5, "input/output error", "keys.json")


class SimCredentials(MemoryCredentials):
    """The login files: faults before and after each call, and a record of what is durable."""

    def __init__(self, dice: Dice, wall: Callable[[], float]) -> None:
        super().__init__(wall)
        self._dice = dice
        self._by = PROGRAM

    def put(self, path: Path | str, data: bytes) -> None:
        super().put(path, data)
        self._dice.history.add(Written(trio.current_time(), str(path), data, self._by))

    def put_by(self, by: str, path: str, data: bytes) -> None:
        """Somebody else writes."""
        self._by = by
        self.put(path, data)
        self._by = PROGRAM

    async def replace(self, path: Path, before: bytes | None, data: bytes) -> bool:
        done = await super().replace(path, before, data)
        if self._dice.hit("disk error", f"after replacing {path.name}"):
            raise OSError(5, "input/output error")
        return done

    async def _turn(self, name: str) -> None:
        await super()._turn(name)
        if self._dice.hit("disk slow", name, scale=0.1):
            await trio.sleep(self._dice.stream("disk slow").uniform(0.1, 4))
        # What Claude Code keeps about the person never fails: without it less is shown.
        if name != "look_beside" and self._dice.hit("disk error", name, scale=0.3):
            raise OSError(28, "no space left on device")

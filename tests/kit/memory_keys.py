"""`keys.json` in memory, for virtual time: threads would let the clock jump."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from protocol import inbound_keys, key_file
from protocol.inbound_keys import InboundKey, KeyLimits
from protocol.key_file import EMPTY, KeyFile, Note

YEAR_2026 = 1_767_225_600.0
OWNER_KEY = "llm-supervisor-" + 32 * "0"
"""What this machine's owner sends to a program that asks for keys."""


class MemoryKeys:
    """A `KeyDisk`. `broken` is raised by everything that reads or writes."""

    def __init__(self, file: KeyFile = EMPTY) -> None:
        self.file = file
        self.broken: Exception | None = None
        self.reads = 0
        self.notes: list[Mapping[str, Note]] = []

    async def stamp(self) -> object:
        await self._turn("stamp")
        return self.file, self.broken is None  # not its id: a later file may have the same

    async def read(self) -> KeyFile:
        await self._turn("read")
        self.reads += 1
        self._usable()
        return self.file

    async def note(self, notes: Mapping[str, Note]) -> KeyFile:
        await self._turn("note")
        self._usable()
        self.notes.append(dict(notes))
        self.file = key_file.noted(self.file, notes)
        return self.file

    async def _turn(self, call: str) -> None:
        """Before a call takes effect."""
        await trio.lowlevel.checkpoint()

    def _usable(self) -> None:
        if self.broken is not None:
            raise self.broken

    # --- what commands do to the file

    def add(self, nth: int, **limits: float) -> tuple[InboundKey, str]:
        """Another key, and what its client sends; `limits` as in `KeyLimits`."""
        key, secret = inbound_keys.made(
            f"key-{nth}",
            nth.to_bytes(inbound_keys.RANDOM_BYTES, "little"),
            YEAR_2026,
            days=None,
            owner=False,
            limits=KeyLimits(**limits),
            text=f"{nth:043d}",
        )
        self.file = key_file.added(self.file, key)
        return key, secret.reveal()

    def revoke(self, key: InboundKey, now: float) -> None:
        """From the next look on it opens nothing; `now` in epoch seconds."""
        self.file = key_file.revoked(self.file, key.id, now)

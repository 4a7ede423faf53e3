"""Keeps the inbound keys: who has one, what each may still spend, and when it was last used.

The only one in the program that reads and writes `keys.json`; commands change it as well, so it is
looked at again and again. While the file cannot be used the keys that were known go on: a mistake
in it must not lock everybody out, and lets nobody in who was not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec
import trio

from actors.key_disk import KeyDisk
from actors.messages import AdmitKey, KeyringMessage, KeySpent, KeysUsed, LookAtKeys
from actors.runtime import Context
from protocol import key_limits
from protocol.errors import Problem
from protocol.inbound_keys import Keyring
from protocol.key_file import KeyFile, Note, ring_of
from protocol.key_limits import KeyUse, Spending
from protocol.login import CredentialsUnusable

log = logging.getLogger("actors.keyring")

LOOK_SECONDS = 0.5
IDLE_SECONDS = 5.0
"""Between two looks whether keys are wanted at all."""
NOTE_SECONDS = 10.0
"""Between two writings of what was used."""
FINAL_NOTE_SECONDS = 5.0


class Keys(msgspec.Struct, frozen=True):
    """What is known. `unwritten`: the keys whose use is not in the file yet, and their last use."""

    ring: Keyring | None = None
    spending: Mapping[str, Spending] = {}
    unwritten: Mapping[str, float] = {}


class KeyringActor:
    """`wanted` says whether clients need keys; `changed` is given the keys that hold from now on,
    None where none are asked for; `wall_clock` gives epoch seconds."""

    def __init__(
        self,
        disk: KeyDisk,
        wanted: Callable[[], bool],
        changed: Callable[[Keyring | None], None],
        wall_clock: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._wanted = wanted
        self._changed = changed
        self._wall_clock = wall_clock
        self._stamp: object = object()
        self._problem = ""
        self._looked_at = 0.0
        self._noted_at = 0.0

    async def run(self, context: Context[KeyringMessage, Keys]) -> None:
        """Until the program stops; then what was used is written down."""
        state = await self._look(context.restored or Keys())
        context.publish(state)
        self._noted_at = trio.current_time()
        context.ready()
        while True:
            envelope = None
            with trio.move_on_at(
                self._looked_at + (LOOK_SECONDS if self._wanted() else IDLE_SECONDS)
            ):
                try:
                    envelope = await context.mailbox.receive()
                except trio.EndOfChannel:
                    break
            match envelope.message if envelope is not None else None:
                case AdmitKey(key_id=key_id) as question if envelope is not None:
                    state, problem = self._admit(state, key_id)
                    context.publish(state)
                    envelope.reply_to(question).send(problem)
                case KeySpent() as event:
                    state = self._spent(state, event)
                    context.publish(state)
                case KeysUsed() as question if envelope is not None:
                    envelope.reply_to(question).send(self._used(state))
                case LookAtKeys() as question if envelope is not None:
                    state = await self._look(state)
                    context.publish(state)
                    envelope.reply_to(question).send(self._problem)
            # Not by the clock alone: it may be a rounding short of the deadline it ran out at.
            if envelope is None or trio.current_time() >= self._looked_at + LOOK_SECONDS:
                state = await self._look(state)
                context.publish(state)
            if state.unwritten and trio.current_time() >= self._noted_at + NOTE_SECONDS:
                state = await self._note(state)
                context.publish(state)
        with trio.move_on_after(FINAL_NOTE_SECONDS, shield=True):
            await self._note(state)

    async def _look(self, state: Keys) -> Keys:
        self._looked_at = trio.current_time()
        if not self._wanted():
            self._stamp = object()
            self._changed(None)
            return msgspec.structs.replace(state, ring=None)
        try:
            stamp = await self._disk.stamp()
            if stamp == self._stamp and state.ring is not None:
                return state
            file = await self._disk.read()
        except (OSError, CredentialsUnusable) as error:
            self._failed(str(error))
            ring = state.ring if state.ring is not None else Keyring()
            self._changed(ring)
            return msgspec.structs.replace(state, ring=ring)
        self._stamp = stamp
        self._worked(file)
        return self._known(state, file)

    def _known(self, state: Keys, file: KeyFile) -> Keys:
        ring = ring_of(file)
        self._changed(ring)
        spending = {
            key.id: state.spending.get(key.id) or key_limits.remembered(key) for key in file.keys
        }
        unwritten = {one: at for one, at in state.unwritten.items() if one in ring.by_id}
        return Keys(ring, spending, unwritten)

    def _failed(self, problem: str) -> None:
        if problem != self._problem:
            log.error("the inbound keys stay as they were: %s", problem)
        self._problem = problem

    def _worked(self, file: KeyFile) -> None:
        problem = "; ".join(file.problems)
        if problem and problem != self._problem:
            log.error("keys.json: %s", problem)
        elif self._problem and not problem:
            log.warning("the inbound keys can be read again")
        self._problem = problem

    def _admit(self, state: Keys, key_id: str) -> tuple[Keys, Problem | None]:
        if state.ring is None:
            return state, None  # it came in by its key, and since then nobody needs any
        key = state.ring.by_id.get(key_id)
        epoch = self._wall_clock()
        if key is None or key.state(epoch) != "valid":
            return state, Problem(401, "this key is not valid any more; ask for another")
        before = state.spending.get(key_id, Spending())
        after, problem = key_limits.admit(before, key, trio.current_time(), epoch)
        return msgspec.structs.replace(
            state,
            spending={**state.spending, key_id: after},
            unwritten={**state.unwritten, key_id: epoch},
        ), problem

    def _used(self, state: Keys) -> dict[str, KeyUse]:
        now, epoch = trio.current_time(), self._wall_clock()
        keys = state.ring.by_id.values() if state.ring is not None else ()
        told = {}
        for key in keys:
            spending, last = state.spending.get(key.id, Spending()), state.unwritten.get(key.id)
            told[key.id] = key_limits.used(spending, key, now, epoch, last)
        return told

    def _spent(self, state: Keys, event: KeySpent) -> Keys:
        key = state.ring.by_id.get(event.key_id) if state.ring is not None else None
        if key is None:
            return state
        epoch = self._wall_clock()
        before = state.spending.get(key.id, Spending())
        after = key_limits.spent(
            before, key, event.tokens, event.dollars, trio.current_time(), epoch
        )
        return msgspec.structs.replace(
            state,
            spending={**state.spending, key.id: after},
            unwritten={**state.unwritten, key.id: epoch},
        )

    async def _note(self, state: Keys) -> Keys:
        self._noted_at = trio.current_time()
        if not state.unwritten:
            return state
        notes = {}
        for key_id, at in state.unwritten.items():
            spending = state.spending.get(key_id, Spending())
            notes[key_id] = Note(at, spending.day, spending.spent)
        try:
            await self._disk.note(notes)
        except (OSError, CredentialsUnusable) as error:
            self._failed(str(error))
            return state
        return msgspec.structs.replace(state, unwritten={})

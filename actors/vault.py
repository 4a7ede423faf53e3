"""The only reader and writer of credential files: the token store, and logins in files.

It looks at them once a second and compares contents, so accounts come, change and go while the
program runs, whoever wrote. It renews a login when `refresh` asks for that (`actors.renewal`); a
new pair is published to the supervisor's slot before it is written, so that not even a crash of
this actor in between loses it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from actors.credential_disk import CredentialDisk
from actors.credential_reading import Files
from actors.login_writing import LoginWriter
from actors.mailbox import Envelope
from actors.messages import (
    DeclareDead,
    Exchange,
    Look,
    LookAt,
    SetStored,
    VaultMessage,
)
from actors.renewal import Ask, Renewal, Unwritten, path_of
from actors.runtime import Context
from protocol import token_file
from protocol.credentials import Known, Source, Subject, subject
from protocol.login import CredentialsLocked, CredentialsUnusable
from protocol.oauth import OAuthClient
from protocol.refreshing import Outcome

log = logging.getLogger("actors.vault")

LOOK_SECONDS = 1.0
WRITE_SECONDS = 20.0
"""For a new pair to get on the disk, also while everything is being cancelled."""


class VaultState(msgspec.Struct, frozen=True):
    """What was read last, and pairs that are not on the disk yet. `dead` are digests of refresh
    tokens that need a login, whether or not the disk took note of that."""

    known: Known
    unwritten: tuple[Unwritten, ...] = ()
    dead: frozenset[str] = frozenset()


class VaultActor:
    """`initial` is what was read before it began; `changed` puts what is new into effect."""

    def __init__(
        self,
        disk: CredentialDisk,
        files: Files,
        ask: Ask,
        client: Callable[[], OAuthClient],
        wall_clock: Callable[[], float],
        initial: Callable[[], Known],
        changed: Callable[[Known], Awaitable[None]],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._disk = disk
        self._files = files
        self._writer = LoginWriter(disk, files.store)
        self._ask = ask
        self._client = client
        self._wall_clock = wall_clock
        self._initial = initial
        self._changed = changed
        self._look_seconds = look_seconds
        self._said: tuple[str, ...] = ()
        self._failing = False

    async def run(self, context: Context[VaultMessage, VaultState]) -> None:
        """Until the program stops; a renewal that has its answer is written to its end."""
        self._context = context
        self._state = context.restored or VaultState(self._initial())
        self._looking = trio.Lock()
        self._say_problems(self._state.known)
        await self._write_rest()
        context.ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            async for envelope in context.mailbox:
                nursery.start_soon(self._serve, envelope)
            nursery.cancel_scope.cancel()

    async def _serve(self, envelope: Envelope[VaultMessage]) -> None:
        message = envelope.message
        match message:
            case Look():
                await self._look()
                envelope.reply_to(message).send(None)
            case LookAt():
                await self._look()
                found = subject(self._state.known, message.source)
                envelope.reply_to(message).send(found)
            case Exchange():
                envelope.reply_to(message).send(await self._exchange(message.subject))
            case DeclareDead():
                await self._declare_dead(message.subject)
                envelope.reply_to(message).send(None)
            case SetStored():
                envelope.reply_to(message).send(await self._set_stored(message))

    # --- looking

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self._look_seconds)
            await self._write_rest()
            await self._look()

    async def _look(self) -> None:
        async with self._looking:
            known = await self._files.read(self._state.known)
            known = msgspec.structs.replace(known, dead=known.dead | self._state.dead)
            if known == self._state.known:
                return
            self._say_problems(known)
            # In effect first: a crash in between makes the next life see the difference again.
            await self._changed(known)
            self._publish(known=known)

    def _publish(self, **changes: Any) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
        self._context.publish(self._state)

    def _say_problems(self, known: Known) -> None:
        for problem in known.problems:
            if problem not in self._said:
                log.warning("%s", problem)
        self._said = known.problems

    # --- renewing

    async def _exchange(self, wanted: Subject) -> Outcome:
        path = path_of(wanted.source, self._files.store)
        try:
            async with self._writer.lock(wanted.source) as held:
                await self._write_rest_of(wanted.source)
                renewal = Renewal(
                    self._disk,
                    self._files.store,
                    self._ask,
                    self._client(),
                    self._wall_clock,
                    self._keep_and_write,
                )
                outcome = await renewal.run(wanted, held)
        except CredentialsLocked as reason:
            outcome = Outcome("busy", str(reason))
        except CredentialsUnusable as reason:
            outcome = Outcome("unusable", str(reason))
        except OSError as error:
            outcome = Outcome("unusable", f"{path}: {error.strerror or error}")
        await self._look()
        now = subject(self._state.known, wanted.source)
        return msgspec.structs.replace(outcome, subject=now)

    async def _keep_and_write(self, unwritten: Unwritten) -> bool:
        self._publish(unwritten=(*self._state.unwritten, unwritten))
        with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_SECONDS):
            return await self._write(unwritten)
        raise OSError("the disk does not answer")

    async def _write_rest(self) -> None:
        """What an earlier try, or life, could not write."""
        for source in {one.source for one in self._state.unwritten}:
            try:
                async with self._writer.lock(source):
                    await self._write_rest_of(source)
            except (OSError, CredentialsUnusable) as error:
                log.debug("a new pair of tokens is still not written: %s", error)

    async def _write_rest_of(self, source: Source) -> None:
        """Under its lock, and before anything else is done to it: what is on the disk was used."""
        for unwritten in self._state.unwritten:
            if unwritten.source == source:
                await self._write(unwritten)

    async def _write(self, unwritten: Unwritten) -> bool:
        """True when the pair is on the disk, False when another login has taken its place."""
        try:
            written = await self._writer.write(unwritten)
        except (OSError, CredentialsUnusable) as error:
            if not self._failing:
                self._failing = True
                name = unwritten.source.name
                log.error("the new tokens of account %s are not written yet: %s", name, error)
            raise
        if self._failing:
            self._failing = False
            log.warning("the new tokens of account %s are written now", unwritten.source.name)
        rest = tuple(one for one in self._state.unwritten if one is not unwritten)
        self._publish(unwritten=rest)
        return written

    # --- changes of the owner and of `refresh`

    async def _declare_dead(self, dead: Subject) -> None:
        """It counts at once; a disk that refuses costs the memory of it in the next life."""
        self._publish(dead=self._state.dead | {dead.digest})
        try:
            await self._writer.declare_dead(dead, self._files.dead, self._state.dead)
        except (OSError, CredentialsUnusable) as error:
            log.error("that account %s needs a login is not written: %s", dead.name, error)
        await self._look()

    async def _set_stored(self, message: SetStored) -> str:
        def edit(file: token_file.TokenFile) -> token_file.TokenFile | None:
            if file.account(message.name) is None:
                return None
            return token_file.set_disabled(file, message.name, not message.enabled)

        try:
            await self._writer.edit_store(edit)
        except (OSError, CredentialsUnusable) as error:
            return f"not written: {error}"
        await self._look()
        return ""

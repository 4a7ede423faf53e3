"""Re-reads the configuration when its file changes or somebody asks, and hands on what is valid.

A bad new configuration is refused whole: the old one goes on, and the errors are kept for
`/status`. The file is compared by its content once a second; watching it through the operating
system goes deaf after an atomic replacement.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio

from actors.disk import Disk
from actors.messages import Reload, Reloaded
from actors.runtime import Context
from protocol.config import Config, ConfigError, ConfigInvalid, restart_needed

log = logging.getLogger("actors.config_watcher")

CHECK_SECONDS = 1.0
SETTLING_LOOKS_MAX = 8


class Seen(msgspec.Struct, frozen=True):
    """The content that was looked at last: a digest, or None for no file."""

    digest: bytes | None


class ConfigWatcherActor:
    """`load` reads and validates; `apply` puts a valid configuration into effect."""

    def __init__(
        self,
        disk: Disk,
        path: Callable[[], Path | None],
        load: Callable[[], Config],
        current: Callable[[], Config],
        apply: Callable[[Config], Awaitable[None]],
        refused: Callable[[tuple[ConfigError, ...]], None],
    ) -> None:
        self._disk = disk
        self._path = path
        self._load = load
        self._current = current
        self._apply = apply
        self._refused = refused

    async def run(self, context: Context[Reload, Seen]) -> None:
        """Until the program stops."""
        # A file that changed while this actor was being restarted has changed all the same.
        restored = context.restored
        seen = restored.digest if restored is not None else await self._content()
        context.publish(Seen(seen))
        context.ready()
        while not context.stopping.is_set():
            envelope = None
            with trio.move_on_after(CHECK_SECONDS):
                try:
                    envelope = await context.mailbox.receive()
                except trio.EndOfChannel:
                    return
            now = await self._content()
            if now != seen and envelope is None:
                now = await self._settled(now)
            # Before the reload: content that crashes it is tried once, not until nobody is left.
            context.publish(Seen(now))
            if envelope is not None:
                answer = await self._reload()
                envelope.reply_to(envelope.message).send(answer)
            elif now != seen:
                log.info("the configuration file changed")
                await self._reload()
            seen = now

    async def _settled(self, content: bytes | None) -> bytes | None:
        """What is there at two looks in a row: an editor may be in the middle of writing it, or of
        replacing it. One that is never done is taken as it is."""
        for _ in range(SETTLING_LOOKS_MAX):
            await trio.sleep(CHECK_SECONDS / 4)
            before, content = content, await self._content()
            if content == before:
                break
        return content

    async def _reload(self) -> Reloaded:
        old = self._current()
        try:
            new = self._load()
        except ConfigInvalid as invalid:
            self._refused(invalid.errors)
            for error in invalid.errors:
                log.error("configuration refused: %s", error)
            return Reloaded(errors=invalid.errors)
        await self._apply(new)
        needed = restart_needed(old, new)
        log.info("the configuration is in effect")
        if needed:
            log.warning("these keys need a restart to take effect: %s", ", ".join(needed))
        return Reloaded(restart_needed=needed)

    async def _content(self) -> bytes | None:
        """A digest of the file; None where there is none to read."""
        path = self._path()
        if path is None:
            return None
        try:
            return hashlib.sha256(await self._disk.read(path)).digest()
        except OSError:
            return None

"""Who may come in: the inbound keys that hold, and the one of this machine's owner."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from actors.asking import insist
from actors.key_disk import KeyDisk
from actors.mailbox import AskFailed, Mailbox
from actors.messages import KeyringMessage, KeySpent, LookAtKeys
from protocol.config import Config
from protocol.gate import Rules
from protocol.inbound_keys import Keyring
from protocol.key_limits import tokens_of
from protocol.request_line import RequestLine
from protocol.secrets import Secret
from supervisor.client_key import client_key
from supervisor.key_store import KeyStore, StoredKeys

log = logging.getLogger("supervisor")

PREPARE_SECONDS = 2.0
"""Whoever asked for a reload waits five."""


class Access:
    """One life's keys. The keyring sets `ring`; `config` gives the configuration in force; `counted`
    is told of each request that came with a key, for the metrics; `disk` has `keys.json`, that of the
    state directory if none is given."""

    def __init__(
        self,
        config: Callable[[], Config],
        state_directory: Path,
        counted: Callable[[RequestLine], None],
        disk: KeyDisk | None = None,
    ) -> None:
        self.keyring: Mailbox[KeyringMessage] = Mailbox("keyring")
        self.disk: KeyDisk = disk or StoredKeys(KeyStore(state_directory))
        self.ring: Keyring | None = None
        self._config = config
        self._counted = counted
        self._state_directory = state_directory
        self._own_key: Secret | None = None
        self._preparing = False

    def wanted(self) -> bool:
        """Whether clients need a key, or will in a moment."""
        return self._preparing or self._config().access.keys

    async def prepare(self, config: Config) -> None:
        """Before `config` is in force: who has a key is known, so that nobody of them is turned away
        when everybody needs one."""
        if not config.access.keys or self._config().access.keys:
            return
        self._preparing = True
        try:
            await insist(self.keyring, LookAtKeys(), timeout=PREPARE_SECONDS)
        except AskFailed as failure:
            log.error("the inbound keys are not known yet, and asked for all the same: %s", failure)
        finally:
            self._preparing = False

    def changed(self, ring: Keyring | None) -> None:
        self.ring = ring

    def spent(self, key_id: str, line: RequestLine) -> None:
        """A request that came with this key is over."""
        self._counted(line)
        tokens = tokens_of(line)
        with contextlib.suppress(AskFailed):  # the program is stopping
            if not self.keyring.tell_nowait(KeySpent(key_id, tokens, line.cost_usd or 0.0)):
                log.error("the keyring is too far behind: what a request cost is not counted")

    def rules(self, rules: Rules, own: Secret | None) -> Rules:
        """`rules` with the keys. `own`: the key that clients here are given, if they are."""
        if not self._config().access.keys:
            return msgspec.structs.replace(rules, own_key=own)
        if own is None and self._own_key is None:
            self._own_key = client_key(self._state_directory)
        # Before the keyring has looked nobody has a key: the door is never open by mistake.
        ring = self.ring or Keyring()
        return msgspec.structs.replace(rules, own_key=own or self._own_key, keyring=ring)

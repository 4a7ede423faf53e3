"""The door's rules, made anew only when something that they are made of is another object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol import derive
from protocol.config import Config
from protocol.credentials import Known
from protocol.gate import Rules
from protocol.secrets import Secret

if TYPE_CHECKING:
    from supervisor.parts import Parts


class GateRules:
    """Called for each request, so a reload counts at once; the same object as long as none does."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._made_of: tuple[Config | None, Known | None, Secret | None] = (None, None, None)
        self._rules = Rules()

    def __call__(self) -> Rules:
        """The rules in force."""
        parts = self._parts
        config, known = parts.config, parts.logins.known
        key = parts.clients.key if parts.clients is not None else None
        before = self._made_of
        if config is not before[0] or known is not before[1] or key is not before[2]:
            rules = msgspec.structs.replace(derive.gate_rules(config, known), own_key=key)
            self._made_of, self._rules = (config, known, key), rules
        return self._rules

"""The door's rules, made anew only when something that they are made of is another object."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from protocol import derive
from protocol.gate import Rules

if TYPE_CHECKING:
    from supervisor.parts import Parts


class GateRules:
    """Called for each request, so a reload counts at once; the same object as long as none does."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._made_of: tuple[object, ...] = ()
        self._rules = Rules()

    def __call__(self) -> Rules:
        """The rules in force."""
        parts = self._parts
        config, known = parts.config, parts.logins.known
        key = parts.clients.key if parts.clients is not None else None
        made_of = (config, known, key, parts.access.ring)
        if not _the_same(made_of, self._made_of):
            rules = derive.gate_rules(config, known)
            self._made_of, self._rules = made_of, parts.access.rules(rules, key)
        return self._rules


def _the_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))

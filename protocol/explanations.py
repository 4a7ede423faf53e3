"""The newest requests with what they noted, by id: what `/status/requests/ID` is answered from."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from protocol.explanation import Explained
from protocol.leases import everybody
from protocol.request_line import decode_line
from protocol.routing import Choice, Considered
from protocol.told import Chosen, Ended, Noted, explained

KEPT_MAX = 1000
"""Requests whose explanation is kept."""

LIGHT = 16
"""A choice that holds no more of its own than so many names is kept as it was made, which takes no
work. Of others the list is worked out at once: one that many share takes less room."""


class Explanations:
    """Of two requests with the same id (clients may name theirs), the newer is kept.

    Accounts and reasons are the same again and again, so they are kept once: a thousand requests
    among a hundred accounts would be a hundred thousand of them.
    """

    def __init__(self, limit: int = KEPT_MAX) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Ended] = OrderedDict()
        self._entries: dict[Considered, Considered] = {}
        self._lists: dict[tuple[Considered, ...], tuple[Considered, ...]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, ended: Ended) -> None:
        """Keeps it, and forgets the oldest where there are too many."""
        told = ended.told
        if any(isinstance(step, Chosen) and not _light(step) for step in told.steps):
            shared = tuple(self._sharing(step) for step in told.steps)
            ended = msgspec.structs.replace(ended, told=msgspec.structs.replace(told, steps=shared))
        name = ended.request_id
        self._kept[name] = ended
        self._kept.move_to_end(name)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        if len(self._lists) > 2 * self._limit:
            self._forget_unused()

    def find(self, request_id: str) -> Explained | None:
        """The request of that id, if it is among the newest."""
        ended = self._kept.get(request_id)
        if ended is None:
            return None
        return Explained(decode_line(ended.line), explained(ended.told))

    def _sharing(self, step: Noted) -> Noted:
        if not isinstance(step, Chosen) or _light(step):
            return step
        considered = everybody(step.among, step.waited_for)
        known = self._lists.get(considered)
        if known is None:
            known = tuple(self._entries.setdefault(entry, entry) for entry in considered)
            self._lists[known] = known
        return msgspec.structs.replace(step, among=known, waited_for="")

    def _forget_unused(self) -> None:
        """What no kept request uses any more would otherwise stay for good."""
        used = {
            step.among: step.among
            for ended in self._kept.values()
            for step in ended.told.steps
            if isinstance(step, Chosen) and isinstance(step.among, tuple) and not _light(step)
        }
        # At the limit all of it may be in use, by requests of several choices each.
        self._lists = used if len(used) <= self._limit else {}
        self._entries = {entry: entry for considered in used for entry in considered}


def _light(step: Chosen) -> bool:
    among = step.among
    if isinstance(among, Choice):  # the candidates themselves are those of the dispatcher
        return len(among.passed) + len(among.arranged.turn.smooth) <= LIGHT
    return len(among) <= LIGHT

"""How much one request may ask each provider to write, after what the provider said of it."""

from __future__ import annotations

import contextlib

from actors.mailbox import AskFailed
from protocol.destination import Destination
from protocol.providers import OutputLimited, Providers
from protocol.translation.output_limit import output_limit
from server.attempt import Failed
from server.foreign import Foreign

_REFUSALS = (400, 413, 422)


class OutputRoom:
    """For one request. `state` is what was known of the providers when it came."""

    def __init__(self, foreign: Foreign, state: Providers) -> None:
        self._foreign = foreign
        self._state = state
        self._told: dict[tuple[str, str], int] = {}
        self._unproved: set[tuple[str, str]] = set()

    def tokens(self, destination: Destination) -> int | None:
        """The most that it may ask for; None: as much as the client wants."""
        key = (destination.provider, destination.model)
        return self._told.get(key, self._state.output_limits.get(key))

    def told(self, destination: Destination, refusal: Failed) -> bool:
        """Whether `refusal` says how much may be asked for, so that asking for that will do.

        Once for each destination: who refuses its own word is asked no third time.
        """
        key = (destination.provider, destination.model)
        limit = output_limit(refusal.error.message) if refusal.status in _REFUSALS else None
        if limit is None or key in self._told:
            return False
        self._told[key] = limit.tokens
        if limit.lasting:
            self._unproved.add(key)
        return True

    def taken(self, destination: Destination) -> None:
        """The request was accepted. What holds for all requests of a model, the next ones know from
        the start; but only what has helped once. A refusal may quote its client, and one of them
        must not shorten the answers of all others.
        """
        key = (destination.provider, destination.model)
        if key in self._unproved:
            self._unproved.discard(key)
            with contextlib.suppress(AskFailed):  # the program is stopping
                self._foreign.providers.tell_nowait(OutputLimited(*key, self._told[key]))

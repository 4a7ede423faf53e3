"""Stop sequences for models that refuse them: the answer is ended here at the first one."""

from __future__ import annotations

from collections.abc import Iterable


class StopWords:
    """Feed it what is said; `found` is the sequence at which the answer ended, if one did."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found: str | None = None

    def feed(self, words: str) -> str:
        """What of it can be told now. The beginning of a sequence waits for what follows it."""
        if self.found is not None:
            return ""
        text = self._held + words
        places = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            at, self.found = min(places)
            self._held = ""
            return text[:at]
        waits = max((_begun(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - waits :]
        return text[: len(text) - waits]

    def rest(self) -> str:
        """What waited, now that nothing follows it."""
        rest, self._held = self._held, ""
        return rest


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)

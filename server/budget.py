"""All request bodies together: a bound on memory, shared by every request."""

from __future__ import annotations

from collections.abc import Callable


class BodyBudget:
    """Counts the bytes of request bodies that are held; `limit` in bytes, read anew each time."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._held

    def take(self, size: int) -> bool:
        """Reserves `size` bytes; False, and nothing reserved, when there is no room."""
        if self._held + size > self._limit():
            return False
        self._held += size
        return True

    def give_back(self, size: int) -> None:
        """Returns what was reserved."""
        self._held -= size

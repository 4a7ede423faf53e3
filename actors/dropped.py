"""How many lines the request log has lost: the one thing here that may be lost, so it is counted."""

from __future__ import annotations


class DroppedLines:
    """Shared by who tells the journal and the journal itself; only ever counted up."""

    def __init__(self) -> None:
        self.not_taken = 0
        """The journal's mailbox was full, or the journal was gone."""
        self.not_written = 0
        """The disk refused."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.not_taken + self.not_written

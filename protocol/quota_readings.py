"""What the newest answers said of quota, account by account, so that the same is not read again.

Most answers repeat the rate-limit headers of the one before, to the byte. Then nothing is read: the
account has it already. Only that it still is so has to be said, and once a second is often enough.
"""

from __future__ import annotations

import msgspec

from protocol.accounts import Credential
from protocol.quota import Quota, read
from protocol.request import Headers

AGAIN_SECONDS = 1.0
"""So long a reading that repeats is not passed on. One that was lost with an account's crash is
told again after that."""

ACCOUNTS_MAX = 512
"""Remembered; with clients' own credentials there may be any number."""

NOTHING = Quota()


class Newest(msgspec.Struct, frozen=True):
    """The headers of an account's newest reading, and when they were read (epoch seconds)."""

    headers: list[tuple[bytes, bytes]]
    credential: Credential | None
    at: float


class Readings:
    """Reads headers for one account after the other."""

    def __init__(self) -> None:
        self._newest: dict[str, Newest] = {}

    def read(
        self, account: str, credential: Credential | None, headers: Headers, now: float
    ) -> Quota:
        """As `protocol.quota.read`; nothing where the same was read a moment ago."""
        telling = [pair for pair in headers if pair[0][:10].lower() == b"anthropic-"]
        if not telling:
            return NOTHING
        newest = self._newest.get(account)
        if (
            newest is not None
            and newest.headers == telling
            and newest.credential is credential
            and 0 <= now - newest.at < AGAIN_SECONDS
        ):
            return NOTHING
        if newest is None and len(self._newest) >= ACCOUNTS_MAX:
            self._newest.clear()
        self._newest[account] = Newest(telling, credential, now)
        return read(headers, now)

    def read_anew(self, account: str, headers: Headers, now: float) -> Quota:
        """The same of a failure: all of it, and the next success is read again, too."""
        self._newest.pop(account, None)
        return read(headers, now)

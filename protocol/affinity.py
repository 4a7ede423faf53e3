"""Which account a session is at home with, so that its prompt cache is found again.

A session stays where it was while that account serves. When the account is out, another stands in;
after a short outage the session goes home, because the cache there is still warm. Once an outage
lasted longer than a cache lives there is nothing to go home for, and the stand-in is the new home.

The map is bounded: `SESSIONS_MAX` sessions, and none that was idle for `affinity_seconds`. It is
split in shards only because it is a value: one request copies one shard, not ten thousand entries.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import msgspec

CACHE_SECONDS = 300.0
"""How long the upstream keeps a prompt's cache after its last use."""

USED_GRAIN_SECONDS = 1.0
"""A session that is busy is noted as used once in so long, not with each of its requests."""

SESSIONS_MAX = 10_000
SHARDS = 128


class Outage(msgspec.Struct, frozen=True):
    """An account does not serve, from `since` to `until` as far as is known (monotonic seconds)."""

    since: float
    until: float


class Home(msgspec.Struct, frozen=True):
    """Where a session belongs; `stand_in` served it last, when that was somebody else."""

    account: str
    used_at: float
    stand_in: str = ""
    outage: Outage | None = None

    def noted(self, now: float, seconds: float) -> bool:
        """Whether that it is used now, by its own account, is known already."""
        if self.stand_in or self.outage is not None:
            return False
        return 0 <= now - self.used_at < min(USED_GRAIN_SECONDS, seconds / 100)

    def lost(self, now: float) -> bool:
        """Whether the account was out for longer than a cache lives."""
        if self.outage is None:
            return False
        return min(now, self.outage.until) - self.outage.since >= CACHE_SECONDS


class Sessions(msgspec.Struct, frozen=True):
    """Homes by session, in each shard the longest unused first."""

    shards: tuple[dict[str, Home], ...] = ({},) * SHARDS
    count: int = 0

    def home(self, session: str, now: float, seconds: float) -> Home | None:
        """The home of a session that was seen within `seconds`."""
        home = self.shards[_shard(session)].get(session)
        return home if home is not None and now - home.used_at < seconds else None


def wanted(home: Home, serves: Callable[[str], bool], now: float) -> str | None:
    """The account that the session should have; None when neither of its accounts serves."""
    names = (home.stand_in, home.account) if home.lost(now) else (home.account, home.stand_in)
    return next((name for name in names if name and serves(name)), None)


def settled(home: Home | None, chosen: str, outage: Outage | None, now: float) -> Home:
    """The home after a choice. `outage` is why it was not the old one; None: not its fault."""
    if home is None or chosen == home.account or home.lost(now):
        return Home(chosen, now)
    if outage is not None and home.outage is not None and outage.since <= home.outage.until:
        # Still the same one: what lasts on without an end of its own is told as of now each time.
        outage = Outage(min(home.outage.since, outage.since), outage.until)
    away = Home(home.account, now, chosen, outage or home.outage)
    return Home(chosen, now) if away.lost(now) else away


def remembered(
    sessions: Sessions, session: str, home: Home, now: float, seconds: float
) -> Sessions:
    """The sessions with this home. The longest unused go where there is no room."""
    place = _shard(session)
    before = sessions.shards[place]
    shard = dict(before)
    shard.pop(session, None)
    while shard:
        oldest = next(iter(shard))
        if now - shard[oldest].used_at < seconds:
            break
        del shard[oldest]
    shard[session] = home
    shards = (*sessions.shards[:place], shard, *sessions.shards[place + 1 :])
    count = sessions.count + len(shard) - len(before)
    if count > SESSIONS_MAX:
        shards, count = _without_oldest(shards, place, session), count - 1
    return Sessions(shards, count)


def _without_oldest(
    shards: tuple[dict[str, Home], ...], place: int, session: str
) -> tuple[dict[str, Home], ...]:
    """One less: of the same shard, which was copied already, else of the fullest."""
    if len(shards[place]) == 1:
        place = max(range(SHARDS), key=lambda at: len(shards[at]))
    shard = dict(shards[place])
    del shard[next(iter(shard))]
    return (*shards[:place], shard, *shards[place + 1 :])


def _shard(session: str) -> int:
    return zlib.crc32(session.encode("utf-8", "surrogatepass")) % SHARDS

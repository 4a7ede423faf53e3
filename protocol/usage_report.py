"""What requests used, summed up from the lines of the request log.

Lines are many, so each is decoded into the few fields that are summed up and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from protocol.prices import COST_DIGITS

NAMED_MAX = 2000
"""Rows that are kept apart; sessions and user agents are strangers' to make up."""
OTHERS = "(others)"
NOBODY = "(nobody)"
UNKNOWN = "(unknown)"


class _Entry(msgspec.Struct, gc=False):
    """A line of ours has all of these, null or not; what lacks one is somebody else's."""

    at: str
    status: int | None
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cost_usd: float | None

    @property
    def key(self) -> str:
        raise NotImplementedError


class _ByAccount(_Entry, gc=False):
    account: str | None = None
    provider: str | None = None

    @property
    def key(self) -> str:
        return self.provider or self.account or NOBODY


class _ByModel(_Entry, gc=False):
    served_model: str | None = None
    model: str | None = None

    @property
    def key(self) -> str:
        return self.served_model or self.model or UNKNOWN


class _ByDay(_Entry, gc=False):
    @property
    def key(self) -> str:
        return self.at[:10]


class _ByClient(_Entry, gc=False):
    client: str | None = None

    @property
    def key(self) -> str:
        return self.client or UNKNOWN


class _BySession(_Entry, gc=False):
    session: str | None = None

    @property
    def key(self) -> str:
        return self.session or UNKNOWN


_KINDS: Mapping[str, type[_Entry]] = MappingProxyType(
    {
        "account": _ByAccount,
        "model": _ByModel,
        "day": _ByDay,
        "client": _ByClient,
        "session": _BySession,
    }
)
DIMENSIONS = tuple(_KINDS)
"""By what a report can be broken down."""


class Sums(msgspec.Struct):
    """Of some requests. `errors` ended with a status from 400 up, or with none. `unpriced` have
    tokens and no cost: `cost_usd` is the sum of the others, and None where there are none."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    unpriced: int = 0

    @property
    def cache_share(self) -> float | None:
        """Of all input, the part that came from a cache; None without any input."""
        everything = self.input_tokens + self.cache_read_tokens + self.cache_write_tokens
        return self.cache_read_tokens / everything if everything else None

    def add(self, other: Sums) -> None:
        """Adds the sums of other requests."""
        self.requests += other.requests
        self.errors += other.errors
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cache_write_tokens += other.cache_write_tokens
        if other.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + other.cost_usd
        self.unpriced += other.unpriced

    def view(self) -> dict[str, object]:
        """For programs."""
        share, cost = self.cache_share, self.cost_usd
        return {
            **msgspec.to_builtins(self),
            "cache_share": None if share is None else round(share, 4),
            "cost_usd": None if cost is None else round(cost, COST_DIGITS),
        }


class Unreadable(msgspec.Struct, frozen=True):
    """Lines of `file` that are no lines of ours; `first` of them, counted from 1."""

    file: str
    lines: int
    first: int


class Report:
    """Broken down by one of `DIMENSIONS`; only requests that came at `since` or later (RFC 3339
    UTC, compared as text) count."""

    def __init__(self, by: str, since: str = "") -> None:
        self._decoder = msgspec.json.Decoder(_KINDS[by])
        self._by = by
        self._since = since
        self._rows: dict[str, Sums] = {}
        self.unreadable: list[Unreadable] = []

    def read(self, file: str, data: bytes, first_line: int = 1) -> int:
        """Whole lines of `file`, the first of them its `first_line`; gives back how many."""
        try:
            # All at once, which is twice as fast, but gives up on all for one that is torn.
            entries: list[_Entry] = self._decoder.decode_lines(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            entries = list(self._one_by_one(file, data, first_line))
        self._sum(entries)
        return data.count(b"\n")

    def _one_by_one(self, file: str, data: bytes, first_line: int) -> Iterator[_Entry]:
        bad, first = 0, 0
        for number, line in enumerate(data.split(b"\n"), first_line):
            if not line.strip():
                continue
            try:
                yield self._decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                bad, first = bad + 1, first or number
        if not bad:
            return
        for place, known in enumerate(self.unreadable):
            if known.file == file:
                self.unreadable[place] = Unreadable(file, known.lines + bad, known.first)
                return
        self.unreadable.append(Unreadable(file, bad, first))

    def _sum(self, entries: list[_Entry]) -> None:
        rows, since = self._rows, self._since
        for entry in entries:
            if entry.at < since:
                continue
            key = entry.key
            row = rows.get(key)
            if row is None:
                if len(rows) >= NAMED_MAX:
                    key = OTHERS
                row = rows.setdefault(key, Sums())
            _count(row, entry)

    def rows(self) -> list[tuple[str, Sums]]:
        """Days in their order, all else by cost and then by tokens, the largest first."""
        rows = list(self._rows.items())
        if self._by == "day":
            return sorted(rows)
        return sorted(rows, key=lambda row: (-(row[1].cost_usd or 0.0), -_tokens(row[1]), row[0]))

    def total(self) -> Sums:
        """Of all rows."""
        total = Sums()
        for sums in self._rows.values():
            total.add(sums)
        return total


def _count(row: Sums, entry: _Entry) -> None:
    row.requests += 1
    status, cost = entry.status, entry.cost_usd
    if status is None or status >= 400:
        row.errors += 1
    new, output = entry.input_tokens, entry.output_tokens
    read, written = entry.cache_read_tokens, entry.cache_write_tokens
    if new:
        row.input_tokens += new
    if output:
        row.output_tokens += output
    if read:
        row.cache_read_tokens += read
    if written:
        row.cache_write_tokens += written
    if cost is not None:
        row.cost_usd = (row.cost_usd or 0.0) + cost
    elif not (new is None and output is None and read is None and written is None):
        row.unpriced += 1


def _tokens(sums: Sums) -> int:
    cached = sums.cache_read_tokens + sums.cache_write_tokens
    return sums.input_tokens + sums.output_tokens + cached

"""An inbound key in words: what it may spend, and how much of that it has."""

from __future__ import annotations

import msgspec

from supervisor.cli.wording import dollars


class KeyUseView(msgspec.Struct, frozen=True):
    """Null where a limit is off, or nothing runs that counts."""

    requests_last_minute: int | None = None
    tokens_last_minute: int | None = None
    cost_today: float | None = None


class KeyView(msgspec.Struct, frozen=True):
    """`protocol.key_file.key_view`, as far as it is shown."""

    id: str = ""
    name: str = ""
    state: str = ""
    owner: bool = False
    expires: str | None = None
    last_used: str | None = None
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    budget_per_day: float = 0.0
    used: KeyUseView = KeyUseView()


def limits(key: KeyView) -> str:
    """`3 of 60 requests/min, $0.12 of $5/day`; without what is spent where nobody knows it."""
    used, words = key.used, []
    if key.requests_per_minute:
        words.append(f"{_of(used.requests_last_minute)}{key.requests_per_minute} requests/min")
    if key.tokens_per_minute:
        words.append(f"{_of(used.tokens_last_minute)}{key.tokens_per_minute} tokens/min")
    if key.budget_per_day:
        spent = "" if used.cost_today is None else f"{dollars(used.cost_today)} of "
        words.append(f"{spent}${key.budget_per_day:g}/day")
    return ", ".join(words) or "-"


def whose(key: KeyView) -> str:
    """Its name, and whether it is an owner's."""
    return f"{key.name} (owner)" if key.owner else key.name


def _of(count: int | None) -> str:
    return "" if count is None else f"{count} of "

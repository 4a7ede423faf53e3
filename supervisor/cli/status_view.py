"""What `GET /status` and `GET /status/requests` answer, as far as the table shows it.

Everything has a default and may be null: an older or newer instance is shown as well as it can be.
"""

from __future__ import annotations

from typing import Any

import msgspec

from supervisor.cli.key_words import KeyView


class ConfigView(msgspec.Struct, frozen=True):
    path: str | None = None
    loaded_at: str | None = None
    error: Any = None


class RedirectView(msgspec.Struct, frozen=True):
    active: bool = False
    since: str | None = None
    reason: str | None = None


class CooldownView(msgspec.Struct, frozen=True):
    scope: str = ""
    target: str | None = None
    reason: str | None = None
    until: str | None = None


class ForecastView(msgspec.Struct, frozen=True):
    """`full_at` None: it lasts until its reset."""

    rate_per_hour: float = 0.0
    full_at: str | None = None


class WindowView(msgspec.Struct, frozen=True):
    utilization: float | None = None
    status: str | None = None
    resets_at: str | None = None
    read_at: str | None = None
    source: str = ""


class CountersView(msgspec.Struct, frozen=True):
    requests: int | None = None
    successes: int | None = None
    errors: int | None = None
    rate_limits: int | None = None


class TokensView(msgspec.Struct, frozen=True):
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


class AccountView(msgspec.Struct, frozen=True):
    name: str
    kind: str = ""
    state: str = ""
    cooldowns: list[CooldownView] = []
    quota: dict[str, WindowView] = {}
    forecast: dict[str, ForecastView] = {}
    counters: CountersView = CountersView()
    tokens: TokensView = TokensView()
    in_flight: int | None = None
    last_request_at: str | None = None
    last_error: Any = None


class FallbackView(msgspec.Struct, frozen=True):
    provider: str = ""
    model: str | None = None
    state: str = ""


class CrashView(msgspec.Struct, frozen=True):
    at: str | None = None
    type: str = ""
    message: str = ""
    where: str = ""


class ActorView(msgspec.Struct, frozen=True):
    name: str
    state: str = ""
    restarts: int | None = None
    last_crash: CrashView | None = None
    mailbox: int | None = None
    oldest_message_age: float | None = None


class TlsView(msgspec.Struct, frozen=True):
    """The front end's certificate."""

    subject: str | None = None
    names: list[str] = []
    not_after: str | None = None
    error: str | None = None


class LagView(msgspec.Struct, frozen=True):
    p50: float | None = None
    p99: float | None = None


class StatusView(msgspec.Struct, frozen=True):
    version: str = ""
    pid: int | None = None
    uptime: float | None = None
    strategy: str = ""
    mode: str = ""
    config: ConfigView = ConfigView()
    redirect: RedirectView = RedirectView()
    tls: TlsView | None = None
    keys: list[KeyView] | None = None
    totalAccounts: int | None = None  # noqa: N815 - the names of the interface
    availableAccounts: int | None = None  # noqa: N815
    nextAccount: str | None = None  # noqa: N815
    cooldowns: list[CooldownView] = []
    accounts: list[AccountView] = []
    fallback: list[FallbackView] = []
    actors: list[ActorView] = []
    in_flight: int | None = None
    event_loop_lag: LagView = LagView()


class RequestView(msgspec.Struct, frozen=True):
    at: str | None = None
    method: str | None = None
    path: str | None = None
    model: str | None = None
    served_model: str | None = None
    account: str | None = None
    provider: str | None = None
    session: str | None = None
    status: int | None = None
    attempts: int | None = None
    ms_total: float | None = None
    terminal: str | None = None
    reason: str | None = None
    error_type: str | None = None


class RequestsView(msgspec.Struct, frozen=True):
    requests: list[RequestView] = []


def status_view(body: object) -> StatusView:
    """Raises msgspec.ValidationError where `body` is not a status."""
    return msgspec.convert(_without_nulls(body), StatusView, strict=False)


def requests_view(body: object) -> list[RequestView]:
    """Raises msgspec.ValidationError where `body` is not an answer of `/status/requests`."""
    return msgspec.convert(_without_nulls(body), RequestsView, strict=False).requests


def _without_nulls(value: object) -> object:
    """A null means what a missing key means: not known, or none."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value

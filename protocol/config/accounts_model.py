"""The tables about accounts: `[[account]]`, `[routing]`, `[cooldown]`, `[refresh]`, `[oauth]`,
`[probe]`. The text below each key is its meaning in docs/configuration-reference.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from protocol.config.values import (
    Count,
    FilePath,
    Name,
    OptionalUrl,
    PositiveCount,
    Priority,
    RequiredSecret,
    Seconds,
    SecondsOrZero,
    Strategy,
    Text,
    Threshold,
)
from protocol.secrets import Secret


class Account(Struct, frozen=True):
    """One `[[account]]`. Exactly one of `api_key`, `token` and `credentials` is set."""

    name: Name
    """Unique; it is in logs, metrics and `/status`."""
    api_key: RequiredSecret | None = None
    """An API key; sent as x-api-key."""
    token: RequiredSecret | None = None
    """A long-lived OAuth token; sent as Authorization: Bearer and never refreshed."""
    credentials: FilePath | None = None
    """The file of a Claude Code login, `.credentials.json`."""
    follow: Literal["auto", "always", "never"] = "auto"
    """What may be done to the file of `credentials`: `auto` refreshes it under Claude Code's lock once Claude Code has not; `always` only reads it; `never` takes it as ours alone."""
    enabled: bool = True
    """Whether it may serve."""
    weight: PositiveCount = 1
    """Its share with the strategy `weighted`."""
    priority: Priority = 0
    """Lower is tried first; accounts of the same priority share by the strategy."""
    requests_per_minute: Count = 0
    """A limit of our own over a sliding minute; 0: none."""
    models: Annotated[tuple[Text, ...], Meta(min_length=1)] = ("*",)
    """Wildcards: the models that it may serve."""
    exclude_models: tuple[Text, ...] = ()
    """Wildcards: the models that it may not serve, whatever `models` says."""
    base_url: OptionalUrl = ""
    """Where its requests go; empty: `upstream.base_url`."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Anything; shown on `/status`, otherwise untouched."""


class Routing(Struct, frozen=True):
    """`[routing]`: which account serves. [Strategies](strategies.md) has more."""

    strategy: Strategy = "fill-first"
    """How accounts of the same priority share the requests."""
    affinity_seconds: SecondsOrZero = 3600.0
    """How long a session stays with its account after its last request; 0: off."""
    switch_at: Mapping[Text, Threshold] = field(default_factory=lambda: {"5h": 0.98, "7d": 0.98})
    """By window of quota: the utilization from which another account is preferred."""
    max_wait: SecondsOrZero = 2.0
    """Everybody rests, and the first is back within this: the request waits instead of being refused; 0: off."""
    max_hold: SecondsOrZero = 0.0
    """The same for long waits: a stream is opened and kept alive by pings until an account is back; 0: off."""
    max_attempts: Count = 0
    """Attempts over all accounts for one request; 0: each eligible account once."""


class Cooldown(Struct, frozen=True):
    """`[cooldown]`: how long a refused account rests when the upstream does not say."""

    base: Seconds = 1.0
    """After a 429 without evidence: its retry-after, or this, doubled for each failure in a row."""
    maximum: Seconds = 600.0
    """The cap of that doubling."""
    auth: Seconds = 300.0
    """After a 401, 402 or 403 about the credential, when refreshing did not help."""
    ladder: tuple[Seconds, ...] = ()
    """Rests after the first, second, ... failure in a row, as `[60, 300, 1800]`, instead of `base` and `maximum`."""


class Refresh(Struct, frozen=True):
    """`[refresh]`: renewing OAuth logins. [Accounts and logins](accounts.md) has more."""

    ahead: SecondsOrZero = 600.0
    """How long before its expiry a token is renewed, or up to 60 s earlier."""
    blocking_under: SecondsOrZero = 60.0
    """With less than this left, a request waits until the token is renewed."""
    attempts: Count = 1
    """How often a 401 makes us refresh and try again, for each account and request."""
    disable_after: PositiveCount = 15
    """Refusals of the token endpoint in a row, after which the account needs a new login."""
    timeout: Seconds = 30.0
    """For one answer of the token endpoint."""


class OAuth(Struct, frozen=True):
    """`[oauth]`: endpoints of the login; empty: those of Claude Code."""

    client_id: str = ""
    """The id by which we are known there; `auth login --pkce` needs all three keys set."""
    authorize_url: OptionalUrl = ""
    """The page where you agree to a login."""
    token_url: OptionalUrl = ""
    """Where tokens are made and renewed."""


class Probe(Struct, frozen=True):
    """`[probe]`: asking for quota while no traffic brings it.
    [Probes](configuration.md#probes) has more."""

    enabled: bool = True
    """Whether an idle account is asked for its quota, where the answer can change a choice."""
    interval: Seconds = 300.0
    """A reading older than this is stale; an account is asked no more often."""
    maximum_interval: Seconds = 3600.0
    """The interval doubles after three failures in a row, up to here."""
    model: Text = "claude-haiku-5-5"
    """The model that is asked for one token."""
    subscriptions: bool = False
    """Whether subscriptions are asked too; a probe starts a five-hour window."""
    api_key: Secret | None = None
    """A key for probes alone; empty: the account's own credential."""

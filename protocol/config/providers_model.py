"""The tables about other upstreams: `[[provider]]`, `[[fallback]]`, `[[route]]`, `[redirect]`,
`[models]`. The text below each key is its meaning in docs/configuration-reference.md."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from protocol.config.values import (
    Dialect,
    HeaderName,
    HeaderSecret,
    Margin,
    Name,
    Text,
    Threshold,
    Url,
)
from protocol.secrets import Secret


class Provider(Struct, frozen=True):
    """One `[[provider]]`: another upstream, for fallbacks and routes.
    [Providers](providers.md) has more."""

    name: Name
    """Unique; `[[fallback]]`, `[[route]]` and `[redirect]` name it."""
    base_url: Url
    """Where its requests go, with the version: `https://api.openai.com/v1`."""
    dialect: Dialect = "openai"
    """What it speaks: OpenAI's chat completions, Gemini's or Anthropic's own."""
    api_key: Secret | None = None
    """Its key; empty: none is sent."""
    headers: Mapping[HeaderName, HeaderSecret] = field(default_factory=dict)
    """More request headers; their values are treated as secrets."""
    models: tuple[Text, ...] = ()
    """The models that `/v1/models` lists for it; empty: the provider is asked."""


class Fallback(Struct, frozen=True):
    """One `[[fallback]]`, tried in order when no account can serve."""

    provider: Name
    """The name of a `[[provider]]`."""
    model: Text
    """The model that is asked for there."""


class Route(Struct, frozen=True):
    """One `[[route]]`: where a model goes; the first whose `match` fits decides, before the accounts."""

    match: Text
    """A wildcard on the requested model."""
    provider: str = ""
    """The name of a `[[provider]]`; this, or `accounts = true`."""
    model: str = ""
    """The model that is asked for there; empty: the requested name."""
    accounts: bool = False
    """True, instead of a provider: always the Anthropic accounts, never redirected."""


class Redirect(Struct, frozen=True):
    """`[redirect]`: to a provider while the quota is nearly used up."""

    provider: str = ""
    """The name of a `[[provider]]` that gets `claude-*` meanwhile; empty: off."""
    at: Mapping[Text, Threshold] = field(
        default_factory=lambda: {"5h": 0.90, "7d": 0.90, "overage": 0.80}
    )
    """By window of quota: the utilization at which it begins, when every eligible account has reached one."""
    hysteresis: Margin = 0.05
    """It ends when one account has all its windows this far below."""
    opus: str = ""
    """The model for requests of an Opus; empty: the requested name."""
    sonnet: str = ""
    """The model for requests of a Sonnet; empty: the requested name."""
    haiku: str = ""
    """The model for requests of a Haiku; empty: the requested name."""


class Models(Struct, frozen=True):
    """`[models]`: names that clients may ask for."""

    aliases: Mapping[Text, Text] = field(default_factory=dict)
    """Names of your own for models: `"my-name" = "claude-opus-5-5"`."""
    long_context: tuple[Text, ...] = ()
    """Wildcards: models of providers that are listed with a `[1m]` variant too."""

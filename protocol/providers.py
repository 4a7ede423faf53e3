"""What is known of the providers: who rests and why, what each one lists, and the redirect.

A provider has no accounts of ours to choose from, so a fault of it is the whole provider's. Its
rests are apart from those of the Anthropic accounts: neither's trouble touches the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from protocol.config import Config
from protocol.config.model import Provider
from protocol.destination import Destination
from protocol.model_list import Listed
from protocol.question import Question
from protocol.redirect import Redirecting
from protocol.status_view import Clocks, utc

Fault = Literal["limited", "auth", "server", "request", "model"]
"""What a refusal is about: a limit, the credential, the provider itself, the request, or a model
that it does not have. The last two say nothing about its other requests."""

LIMIT_SECONDS = 30.0
"""After a 429 without a word on how long."""
LIMIT_SECONDS_MIN, LIMIT_SECONDS_MAX = 1.0, 3600.0
SERVER_SECONDS = 2.0
"""After the first fault of the provider itself; doubled with each one in a row."""
SERVER_SECONDS_MAX = 300.0
_LEVEL_MAX = 12

_UNUSABLE_KEY = ("api key not valid", "api_key_invalid", "invalid api key", "incorrect api key")
"""Gemini says 400 to a key that it does not know."""


class Rest(msgspec.Struct, frozen=True):
    """`until` in monotonic seconds. A `firm` one is kept even if nobody else could serve."""

    until: float
    reason: Fault
    level: int = 0

    @property
    def firm(self) -> bool:
        """A limit and a refused key are facts; a fault of the server is only a bad sign."""
        return self.reason in ("limited", "auth")


class ProviderFailed(Question[None], frozen=True):
    """An attempt at `provider` failed. `seconds`: its own word on when to come back."""

    provider: str
    fault: Fault
    seconds: float | None = None


class ProviderServed(msgspec.Struct, frozen=True):
    """It is well."""

    provider: str


class OutputLimited(msgspec.Struct, frozen=True):
    """`provider` takes no request for more than `tokens` of `model`'s answer."""

    provider: str
    model: str
    tokens: int


class ModelsListed(Question[None], frozen=True):
    """What `provider` lists now; empty when it is out."""

    provider: str
    names: tuple[str, ...]


class Providers(msgspec.Struct, frozen=True):
    """Everything, by the provider's name. `output_limits`: by provider and model, in tokens, as far
    as a refusal has told it."""

    rests: Mapping[str, Rest] = {}
    lists: Mapping[str, tuple[str, ...]] = {}
    output_limits: Mapping[tuple[str, str], int] = {}
    redirecting: Redirecting = Redirecting()

    def rest(self, provider: str, now: float) -> Rest | None:
        """Its rest, while that lasts."""
        found = self.rests.get(provider)
        return found if found is not None and now < found.until else None


class Consult(Question[Providers], frozen=True):
    """What a request must know before it is decided where it goes."""


ProvidersMessage = ProviderFailed | ProviderServed | OutputLimited | ModelsListed | Consult


def failed(state: Providers, event: ProviderFailed, now: float, auth_seconds: float) -> Providers:
    """After a failed attempt at `now` (monotonic seconds)."""
    if event.fault in ("request", "model"):
        return state
    before = state.rests.get(event.provider)
    level = 0
    if event.fault == "server" and before is not None and before.reason == "server":
        level = min(before.level + 1, _LEVEL_MAX)
    rest = Rest(now + _seconds(event, level, auth_seconds), event.fault, level)
    return msgspec.structs.replace(state, rests={**state.rests, event.provider: rest})


def served(state: Providers, event: ProviderServed) -> Providers:
    """After a good answer."""
    if event.provider not in state.rests:
        return state
    rests = {name: rest for name, rest in state.rests.items() if name != event.provider}
    return msgspec.structs.replace(state, rests=rests)


def output_limited(state: Providers, event: OutputLimited) -> Providers:
    """After a refusal that says how much may be asked for. The newest word counts."""
    limits = {**state.output_limits, (event.provider, event.model): event.tokens}
    return msgspec.structs.replace(state, output_limits=limits)


def listed(state: Providers, event: ModelsListed) -> Providers:
    """With a provider's newest list."""
    return msgspec.structs.replace(state, lists={**state.lists, event.provider: event.names})


def in_order(
    state: Providers, destinations: Iterable[Destination], now: float
) -> list[Destination]:
    """Those that rest after a fault of theirs come last, those that are limited not at all."""
    rests = [(one, state.rest(one.provider, now)) for one in destinations]
    ready = [one for one, rest in rests if rest is None]
    return ready + [one for one, rest in rests if rest is not None and not rest.firm]


def _seconds(event: ProviderFailed, level: int, auth_seconds: float) -> float:
    match event.fault:
        case "limited":
            wanted = LIMIT_SECONDS if event.seconds is None else event.seconds
            return min(max(wanted, LIMIT_SECONDS_MIN), LIMIT_SECONDS_MAX)
        case "auth":
            return auth_seconds
    own = min(SERVER_SECONDS * 2.0**level, SERVER_SECONDS_MAX)
    return min(max(own, event.seconds or 0.0), SERVER_SECONDS_MAX)


def fault_of(status: int, message: str) -> Fault:
    """What a provider's refusal is about."""
    if status == 400 and any(words in message.lower() for words in _UNUSABLE_KEY):
        return "auth"
    if status == 429:
        return "limited"
    if status in (401, 402, 403):
        return "auth"
    if status == 404:
        return "model"
    return (
        "request" if 400 <= status < 500 and status not in (408, 409, 425, 498, 499) else "server"
    )


def foreign_models(config: Config, state: Providers) -> list[Listed]:
    """Every model of every provider, in configuration order: the configured names, else its own."""
    return [
        Listed(name, provider.name)
        for provider in config.providers
        for name in provider.models or state.lists.get(provider.name, ())
    ]


def listed_by(models: Iterable[Listed]) -> dict[str, str]:
    """Who has each model; the first of the configuration where several do."""
    found: dict[str, str] = {}
    for model in models:
        found.setdefault(model.name, model.provider)
    return found


def provider_named(config: Config, name: str) -> Provider | None:
    """None: a new configuration has taken it away."""
    return next((one for one in config.providers if one.name == name), None)


def fallback_view(config: Config, state: Providers, clocks: Clocks) -> list[dict[str, Any]]:
    """`fallback` of `/status`: in order, each with what it is up to."""
    view: list[dict[str, Any]] = []
    for one in config.fallbacks:
        entry: dict[str, Any] = {"provider": one.provider, "model": one.model, "state": "available"}
        rest = state.rest(one.provider, clocks.monotonic)
        if rest is not None:
            entry |= {"state": "cooling", "reason": rest.reason, "until": clocks.text(rest.until)}
        view.append(entry)
    return view


def redirect_view(redirecting: Redirecting) -> dict[str, Any]:
    """`redirect` of `/status`."""
    since = None if redirecting.since is None else utc(redirecting.since)
    reason = redirecting.reason or None
    return {"active": redirecting.active, "since": since, "reason": reason}


def back_in(rest: Rest, now: float) -> int:
    """Whole seconds until the rest is over, at least 1."""
    return max(math.ceil(rest.until - now), 1)

"""Where a request may go, in order: aliases, routes, redirect, accounts, fallbacks (rule 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from protocol.config import Config
from protocol.config.model import Redirect
from protocol.model_names import resolve, without_long_context
from protocol.names import matches

Reason = Literal["accounts", "route", "listed", "redirect", "fallback"]

CLAUDE = "claude-*"
"""Names that a redirect is about."""


class Destination(msgspec.Struct, frozen=True):
    """`provider` "" means the Anthropic accounts. `model` is the name to ask it for."""

    provider: str
    model: str
    reason: Reason

    @property
    def accounts(self) -> bool:
        """Whether these are the Anthropic accounts."""
        return not self.provider


def destinations(
    config: Config, asked: str | None, *, redirected: bool, listed: Mapping[str, str]
) -> tuple[Destination, ...]:
    """All of them, first choice first; never none.

    `asked` is the client's name for the model (None: the body was not readable, and goes to
    Anthropic unchanged). `listed` gives the provider of each foreign model on the model list.
    """
    if asked is None:
        return (Destination("", "", "accounts"),)
    model = resolve(asked, config.models.aliases)
    foreign = without_long_context(model)
    for route in config.routes:
        if matches(route.match, model) or matches(route.match, foreign):
            if route.accounts:
                # Never redirected; when no account can serve, the fallbacks still may.
                return (Destination("", route.model or model, "accounts"), *_fallbacks(config))
            return (Destination(route.provider, route.model or foreign, "route"),)
    if not matches(CLAUDE, model) and foreign in listed:
        return (Destination(listed[foreign], foreign, "listed"),)
    accounts = Destination("", model, "accounts")
    if redirected and config.redirect.provider and matches(CLAUDE, model):
        substitute = substituted(config.redirect, foreign)
        redirect = Destination(config.redirect.provider, substitute, "redirect")
        return (redirect, accounts, *_fallbacks(config))
    return (accounts, *_fallbacks(config))


def substituted(redirect: Redirect, model: str) -> str:
    """The model of the same tier at the provider; the requested name where none is configured."""
    for tier, name in (
        ("opus", redirect.opus),
        ("sonnet", redirect.sonnet),
        ("haiku", redirect.haiku),
    ):
        if tier in model:
            return name or model
    return model


def _fallbacks(config: Config) -> tuple[Destination, ...]:
    return tuple(
        Destination(fallback.provider, fallback.model, "fallback") for fallback in config.fallbacks
    )

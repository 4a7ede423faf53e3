"""What a request asks for, as far as limits care: the model's family, and the betas.

Upstreams count some limits per family of models, and grant some betas per account. What is benched
for one of them must not keep the account from serving the rest.
"""

from __future__ import annotations

import re

import msgspec

from protocol.request import Headers, Route

FAMILIES = ("opus", "sonnet", "haiku", "fable", "mythos")
"""Families that limits are known to be counted by; another model is a family of its own."""

TARGET_CHARACTERS_MAX = 80
"""Of a model's name: a client may send one as long as a body, and it is kept and shown."""

LONG_CONTEXT = "context-1m"
"""The beta for long contexts, without the date that ends its name."""

_WORDS = re.compile(r"[a-z]+")


def model_family(model: str) -> str:
    """The family of a model's name: `sonnet` of `claude-sonnet-5-5[1m]`; else the name itself."""
    name = model[:TARGET_CHARACTERS_MAX].lower()
    words = _WORDS.findall(name)
    return next((family for family in FAMILIES if family in words), name)


def betas_of(headers: Headers) -> tuple[str, ...]:
    """Every value of every `anthropic-beta` header, in order."""
    return tuple(
        token
        for name, value in headers
        if len(name) == 14 and name.lower() == b"anthropic-beta"
        for part in value.split(b",")
        if (token := part.strip().decode("latin-1"))
    )


def wants_beta(betas: tuple[str, ...], target: str) -> bool:
    """Whether `target` (a beta without its date) is among `betas`."""
    return any(beta == target or beta.startswith(target + "-") for beta in betas)


class Asked(msgspec.Struct, frozen=True):
    """What one attempt asked for. `model` None: none was read.

    `spends`: it counts against the limits. Listing models or counting tokens does not, so their
    success says nothing about a limit.
    """

    model: str | None = None
    betas: tuple[str, ...] = ()
    spends: bool = True


def asked(route: Route, model: str | None, headers: Headers) -> Asked:
    """What a request with these headers asks for."""
    spends = route in (Route.MESSAGES, Route.CHAT_COMPLETIONS)
    return Asked(model, betas_of(headers), spends)

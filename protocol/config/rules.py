"""The rules between keys: what is wrong although every value on its own is right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from protocol.config.errors import Refused, did_you_mean, quote
from protocol.config.forms import is_loopback
from protocol.config.model import Config

Broken = Iterator[tuple[str, Refused]]
"""Key path and what to say about it."""

_CREDENTIALS = ("api_key", "token", "credentials")


def broken_rules(config: Config, origins: Mapping[str, str], wrong: Collection[str]) -> Broken:
    """Every rule that `config` breaks.

    `wrong` are the paths already reported: defaults stand in their place, and no rule may accuse a
    second key because of that.
    """
    rules: tuple[Callable[[Config, Mapping[str, str]], Broken], ...] = (
        _one_credential_each,
        _unique_names,
        _known_providers,
        _routes_lead_somewhere,
        _tls_has_both_files,
        _open_listeners_are_guarded,
    )
    for rule in rules:
        for path, refused in rule(config, origins):
            if path not in wrong and not (path == "server.host" and "access.token" in wrong):
                yield path, refused


def _one_credential_each(config: Config, origins: Mapping[str, str]) -> Broken:
    for position in range(len(config.accounts)):
        path = f"account[{position}]"
        written = [key for key in _CREDENTIALS if origins.get(f"{path}.{key}") != "default"]
        if len(written) != 1:
            found = " and ".join(written) if written else "none of them"
            yield path, Refused("exactly one of api_key, token, credentials", found=found)


def _unique_names(config: Config, origins: Mapping[str, str]) -> Broken:
    del origins
    for kind, entries in (("account", config.accounts), ("provider", config.providers)):
        first: dict[str, int] = {}
        for position, name in enumerate(entry.name for entry in entries):
            if name and name in first:
                found = f"the name {quote(name)}, which {kind}[{first[name]}] has"
                yield f"{kind}[{position}].name", Refused("a name of its own", found=found)
            first.setdefault(name, position)


def _known_providers(config: Config, origins: Mapping[str, str]) -> Broken:
    del origins
    known = [provider.name for provider in config.providers]
    if "" in known:  # a name that could not be read might be the one that is meant
        return
    named = [(f"fallback[{i}].provider", one.provider) for i, one in enumerate(config.fallbacks)]
    named += [(f"route[{i}].provider", one.provider) for i, one in enumerate(config.routes)]
    named += [("redirect.provider", config.redirect.provider)]
    for path, name in named:
        if name and name not in known:
            allowed = ", ".join(known) if known else "the name of a [[provider]]; there is none"
            found = f"the unknown provider {quote(name)}"
            yield path, Refused(allowed, found=found, hint=did_you_mean(name, known))


def _routes_lead_somewhere(config: Config, origins: Mapping[str, str]) -> Broken:
    del origins
    for position, route in enumerate(config.routes):
        if bool(route.provider) == route.accounts:
            found = "both" if route.accounts else "neither"
            yield (
                f"route[{position}].provider",
                Refused("either a provider or accounts = true", found=found),
            )


def _tls_has_both_files(config: Config, origins: Mapping[str, str]) -> Broken:
    del origins
    files = {"tls_certificate": config.server.tls_certificate, "tls_key": config.server.tls_key}
    if len([text for text in files.values() if text]) == 1:
        missing = next(key for key, text in files.items() if not text)
        yield f"server.{missing}", Refused("tls_certificate and tls_key together, or neither")


def _open_listeners_are_guarded(config: Config, origins: Mapping[str, str]) -> Broken:
    del origins
    if not is_loopback(config.server.host) and not (config.access.keys or config.access.token):
        hint = "anybody who reaches this address could spend your quota"
        found = f"{quote(config.server.host)} without [access] keys or token"
        yield (
            "server.host",
            Refused("a loopback address, or access.token or access.keys set", found, hint),
        )

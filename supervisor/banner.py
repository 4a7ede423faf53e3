"""What a start says: where it listens, which mode runs, and who pays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from protocol import derive
from protocol.accounts import AccountSpec
from supervisor import announcement
from supervisor.configuration import Loaded
from supervisor.instance import Instance


def listening_line(instance: Instance) -> str:
    """The line that programs wait for."""
    host = f"[{instance.host}]" if ":" in instance.host else instance.host
    return f"listening on {instance.scheme}://{host}:{instance.port}"


def lines(
    loaded: Loaded,
    instance: Instance,
    accounts: Iterable[AccountSpec] | None = None,
    clients: Mapping[str, Any] | None = None,
) -> list[str]:
    """Everything after that line. `accounts` are those of the configuration where none are given;
    `clients` is what `/status` shows of the settings guard."""
    config = loaded.config
    if accounts is None:
        accounts = derive.account_specs(config)
    specs = sorted(accounts, key=lambda spec: (spec.priority, spec.order))
    told = [f"configuration: {loaded.path or 'none, the defaults are used'}"]
    if specs:
        names = ", ".join(f"{spec.name} ({_kind(spec.kind)}{_not_serving(spec)})" for spec in specs)
        told.append(f"mode: pool of {len(specs)}: {names}")
        strategy = config.routing.strategy
        shared = "in this order" if strategy == "fill-first" else "shared inside a priority"
        told.append(f"who pays: the owners of these accounts, {shared} ({strategy})")
        if "environment" in loaded.accounts_from:
            told.append("these come from your environment; a configuration file takes precedence")
    else:
        told.append("mode: passthrough, because no account is configured")
        told.append("who pays: whoever a client's own credential belongs to")
    told.append(f"upstream: {config.upstream.base_url}")
    told += _client_lines(clients, instance)
    told.append("see it work: supervisor status --watch")
    return told


def _client_lines(clients: Mapping[str, Any] | None, instance: Instance) -> list[str]:
    """Which files were changed, how, and how to undo it."""
    by_hand = f"point a client here: ANTHROPIC_BASE_URL={instance.url}"
    told = []
    for file in (clients or {}).get("files", ()):
        reason = f" ({file['reason']})" if file["reason"] else ""
        if file["state"] != "pointed":
            told.append(f"Claude Code is left as it is: {file['reason']}")
            continue
        told.append(f"Claude Code points here: {file['file']}{reason}")
        told.append(f"  keys set: {', '.join(file['keys'])}")
        told.append("  undone when this stops; by hand: supervisor client restore")
    return told if told and clients and clients["state"] == "pointed" else [*told, by_hand]


def _kind(kind: str) -> str:
    return {"api_key": "API key", "oauth": "login"}.get(kind, kind)


def _not_serving(spec: AccountSpec) -> str:
    if not spec.enabled:
        return ", disabled"
    return ", needs a login" if spec.needs_login else ""


def show(
    loaded: Loaded,
    instance: Instance,
    accounts: Iterable[AccountSpec] | None = None,
    *,
    quiet: bool,
    clients: Mapping[str, Any] | None = None,
) -> None:
    """Prints it; the first line also when `quiet`."""
    told = () if quiet else lines(loaded, instance, accounts, clients)
    announcement.say(listening_line(instance), told)

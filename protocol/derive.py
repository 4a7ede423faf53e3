"""What the parts of the program take from the configuration: pure projections of `Config`."""

from __future__ import annotations

from collections.abc import Callable

from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.benches import CooldownPolicy
from protocol.config import Config, served_accounts
from protocol.dispatch import DispatchState, Strategy
from protocol.gate import Rules, is_loopback_name
from protocol.probing import ProbeRules
from protocol.restart import RestartPolicy
from protocol.routing import Policy

CLIENT_KIND = "client"


def account_specs(config: Config) -> tuple[AccountSpec, ...]:
    """The accounts that can serve, in configuration order."""
    specs: list[AccountSpec] = []
    for order, account in enumerate(served_accounts(config)):
        secret = account.token or account.api_key
        if secret is None:
            continue
        specs.append(
            AccountSpec(
                name=account.name,
                kind="token" if account.token else "api_key",
                credential=Credential(secret, bearer=secret is account.token),
                base_url=account.base_url or config.upstream.base_url,
                order=order,
                enabled=account.enabled,
                priority=account.priority,
                models=account.models,
                exclude_models=account.exclude_models,
                weight=account.weight,
                requests_per_minute=account.requests_per_minute,
            )
        )
    return tuple(specs)


def client_spec(name: str, config: Config) -> AccountSpec:
    """A credential that a client brought along, in passthrough mode."""
    return AccountSpec(name, CLIENT_KIND, None, config.upstream.base_url)


def strategy(config: Config) -> Strategy:
    """How the dispatcher chooses."""
    return Strategy(
        pool=bool(account_specs(config)),
        base_url=config.upstream.base_url,
        any_use=config.access.subscription_use == "any",
        policy=Policy(
            name=config.routing.strategy,
            switch_at=config.routing.switch_at,
            affinity_seconds=config.routing.affinity_seconds,
        ),
    )


def initial_dispatch(
    config: Config, begin: Callable[[AccountSpec], AccountState] = new_account
) -> DispatchState:
    """The dispatcher before any snapshot has come; `begin` says what is known of an account."""
    accounts = {spec.name: begin(spec) for spec in account_specs(config)}
    return DispatchState(strategy=strategy(config), accounts=accounts)


def cooldown_policy(config: Config) -> CooldownPolicy:
    """How long a refused account rests."""
    cooldown = config.cooldown
    return CooldownPolicy(cooldown.base, cooldown.maximum, cooldown.auth, cooldown.ladder)


def probe_rules(config: Config) -> ProbeRules:
    """Whom to ask for quota, and how often."""
    probe = config.probe
    return ProbeRules(
        probe.enabled,
        probe.interval,
        probe.maximum_interval,
        probe.model,
        probe.subscriptions,
        probe.api_key,
        config.upstream.base_url,
    )


def gate_rules(config: Config) -> Rules:
    """Who is let in."""
    server = config.server
    hosts = {name.lower().removesuffix(".") for name in (*server.allowed_hosts, server.host)}
    return Rules(
        hosts=frozenset(name for name in hosts if not is_loopback_name(name)),
        origins=frozenset(origin.lower() for origin in server.allowed_origins),
        token=config.access.token or None,  # "" is the file's way to say that there is none
        pool=bool(account_specs(config)),
    )


def restart_policy(config: Config) -> RestartPolicy:
    """How often an actor may crash."""
    wanted = config.supervision
    return RestartPolicy(
        intensity=wanted.intensity,
        period=wanted.period,
        backoff=wanted.backoff,
        maximum_backoff=wanted.maximum_backoff,
    )

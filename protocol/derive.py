"""What the parts of the program take from the configuration: pure projections of `Config`."""

from __future__ import annotations

from collections.abc import Callable

from protocol import credentials
from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState
from protocol.benches import CooldownPolicy
from protocol.config import Config
from protocol.credentials import Known
from protocol.dispatch import DispatchState, Strategy
from protocol.gate import Rules, is_loopback_name
from protocol.probing import ProbeRules
from protocol.restart import RestartPolicy
from protocol.routing import Policy

CLIENT_KIND = "client"
NOTHING_KNOWN = Known()


def account_specs(config: Config, known: Known = NOTHING_KNOWN) -> tuple[AccountSpec, ...]:
    """The accounts of all sources: those configured, then those of the token store."""
    return credentials.account_specs(config, known)


def client_spec(name: str, config: Config) -> AccountSpec:
    """A credential that a client brought along, in passthrough mode."""
    return AccountSpec(name, CLIENT_KIND, None, config.upstream.base_url)


def strategy(config: Config, known: Known = NOTHING_KNOWN) -> Strategy:
    """How the dispatcher chooses."""
    return Strategy(
        pool=bool(account_specs(config, known)),
        base_url=config.upstream.base_url,
        any_use=config.access.subscription_use == "any",
        policy=Policy(
            name=config.routing.strategy,
            switch_at=config.routing.switch_at,
            affinity_seconds=config.routing.affinity_seconds,
        ),
    )


def initial_dispatch(
    config: Config,
    begin: Callable[[AccountSpec], AccountState] = new_account,
    known: Known = NOTHING_KNOWN,
) -> DispatchState:
    """The dispatcher before any snapshot has come; `begin` says what is known of an account."""
    accounts = {spec.name: begin(spec) for spec in account_specs(config, known)}
    return DispatchState(strategy=strategy(config, known), accounts=accounts)


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


def gate_rules(config: Config, known: Known = NOTHING_KNOWN) -> Rules:
    """Who is let in."""
    server = config.server
    hosts = {name.lower().removesuffix(".") for name in (*server.allowed_hosts, server.host)}
    return Rules(
        hosts=frozenset(name for name in hosts if not is_loopback_name(name)),
        origins=frozenset(origin.lower() for origin in server.allowed_origins),
        token=config.access.token or None,  # "" is the file's way to say that there is none
        pool=bool(account_specs(config, known)),
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

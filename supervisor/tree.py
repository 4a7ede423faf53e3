"""THE WIRING: every part of the program, in start order. Stop order is the reverse.

The dispatcher starts before the accounts because they tell it about themselves; the front end
comes late, so that the door opens when everybody is there and closes early; after it only the guard
of the clients' settings, which sends them to an open door alone. One actor's crash
restarts that actor alone, in every group: nobody keeps a reference into another's state.
Live connections are in no group: they belong to the program's nursery, and no restart cuts one.
Who lets them end at the stop does nothing before it, so a crash never takes the drain away.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

from actors.account import AccountActor
from actors.certificate_watcher import CertificateWatcherActor
from actors.config_watcher import ConfigWatcherActor
from actors.dispatcher import DispatcherActor
from actors.front_end import FrontEndActor
from actors.journal import JournalActor
from actors.keyring import KeyringActor
from actors.log_rotator import LogRotatorActor, RotationRules
from actors.loop_lag import LoopLagActor
from actors.mailbox import Mailbox
from actors.messages import AccountMessage
from actors.model_lists import ModelListsActor
from actors.probe import ProbeActor
from actors.providers import ProvidersActor
from actors.quota_store import QuotaStoreActor
from actors.refresh import RefreshActor
from actors.runtime import Run
from actors.settings_guard import SettingsGuardActor
from actors.usage_file import UsageFileActor
from actors.vault import VaultActor
from protocol import derive
from protocol.accounts import AccountSpec, AccountState
from protocol.client_plan import LONGEST_RELEASE
from protocol.config import Config
from protocol.config.model import Provider
from protocol.dispatch import DispatchState
from server.provider_models import list_of
from server.quota_probe import QuotaProbe
from server.token_endpoint import TokenEndpoint
from supervisor.child import ChildSpec, GroupSpec
from supervisor.parts import Parts
from supervisor.roster import GROUP as ACCOUNTS
from supervisor.roster import PREFIX
from supervisor.server_tls import reload_what_was_refused
from supervisor.version import version


def tree(parts: Parts, close: Callable[[], Awaitable[None]], drain: Run) -> tuple[GroupSpec, ...]:
    """All actors. `close` shuts the door and `drain` ends the connections, both only for good."""
    policy = derive.restart_policy(parts.config)

    journal, dispatcher = _journal(parts), _dispatcher(parts)
    rotator = LogRotatorActor(parts.disk, lambda: _rotation(parts), parts.today)
    watcher = ConfigWatcherActor(
        parts.disk, parts.config_path, parts.read, lambda: parts.config, parts.apply, parts.refused
    )
    (providers, model_lists), loop_lag = _providers(parts), LoopLagActor()
    front_end = FrontEndActor(parts.listening_socket, parts.admit, close)
    parts.loop_lag = loop_lag.lag

    def child(name: str, run: Run, box: Mailbox[Any] | None = None, **more: Any) -> ChildSpec:
        return ChildSpec(name, run, box, policy=policy, **more)

    def account(spec: AccountSpec, mailbox: Mailbox[AccountMessage]) -> ChildSpec:
        actor = AccountActor(
            spec, parts.dispatcher, lambda: derive.cooldown_policy(parts.config), parts.recall
        )
        return child(PREFIX + spec.name, actor.run, mailbox, redeliver=True)

    # After the accounts in the stop, so that their last word is written.
    memory = tuple(child("quota-store", store.run) for store in _stores(parts))
    accounts = parts.roster.start_with(parts.specs(), account)

    return (
        GroupSpec("logs", "one_for_one", (
            child("journal", journal.run, parts.journal),     # the only writer of the request log
            child("log-rotator", rotator.run),                # its age and size
        )),
        GroupSpec("routing", "one_for_one", (
            child("dispatcher", dispatcher.run, parts.dispatcher, redeliver=True),  # who serves
            child("providers", providers.run, parts.providers, redeliver=True),  # the others
        )),
        GroupSpec("memory", "one_for_one", memory),           # quota and cooldowns in a file
        GroupSpec(ACCOUNTS, "one_for_one", accounts),         # one actor per credential
        GroupSpec("credentials", "one_for_one", (
            child("vault", _vault(parts).run, parts.logins.vault, lingers=True),  # alone at credential files
            child("refresh", _refresh(parts).run, parts.logins.refresh),  # keeps logins fresh
        )),
        GroupSpec("upkeep", "one_for_one", (
            child("probe", _probe(parts).run),                # quota while no traffic brings it
            child("config-watcher", watcher.run, parts.config_watcher),  # reloads
            child("usage-file", _usage_file(parts).run),      # quota, for status bars
            child("model-lists", model_lists.run),            # what the providers have
            child("loop-lag", loop_lag.run),                  # how late the event loop is
            child("keyring", _keyring(parts).run, parts.access.keyring, redeliver=True),  # who may come in
            *(child("certificate", one.run) for one in _certificates(parts)),  # its renewal
        )),
        GroupSpec("streams", "one_for_one", (
            child("connections", drain, shutdown_timeout=math.inf),   # lets them end, by its own clock
        )),
        GroupSpec("door", "one_for_one", (
            child("front-end", front_end.run),                # accepts
        )),
        GroupSpec("clients", "one_for_one", tuple(
            child("settings-guard", guard.run, shutdown_timeout=LONGEST_RELEASE + 5)
            for guard in _guards(parts)                       # points clients here, and away
        )),
    )  # fmt: skip


def _journal(parts: Parts) -> JournalActor:
    books = parts.accounting.books
    return JournalActor(
        parts.disk, parts.log_directory, parts.today, parts.dropped, books, parts.access.spent
    )


def _dispatcher(parts: Parts) -> DispatcherActor:
    def known(spec: AccountSpec) -> AccountState:
        # One that starts clean is asked before the accounts can have told it who rests.
        return parts.roster.known(spec) or parts.known_at_start(spec)

    return DispatcherActor(
        lambda: derive.initial_dispatch(parts.config, known, parts.logins.known),
        parts.roster.mailboxes,
        parts.roster.adopt,
    )


def _keyring(parts: Parts) -> KeyringActor:
    access = parts.access
    return KeyringActor(access.disk, access.wanted, access.changed, parts.wall_clock)


def _certificates(parts: Parts) -> tuple[CertificateWatcherActor, ...]:
    """None where the front end has no certificate."""
    if parts.tls is None:
        return ()
    return (CertificateWatcherActor(parts.tls, lambda: reload_what_was_refused(parts)),)


def _usage_file(parts: Parts) -> UsageFileActor:
    return UsageFileActor(
        parts.disk, parts.usage_places, parts.dispatcher, parts.wall_clock, parts.login_name
    )


def _providers(parts: Parts) -> tuple[ProvidersActor, ModelListsActor]:
    def config() -> Config:
        return parts.config

    def listed(provider: Provider) -> Awaitable[tuple[str, ...] | None]:
        return list_of(parts.foreign, provider)

    return (
        ProvidersActor(config, parts.dispatcher, parts.wall_clock),
        ModelListsActor(config, listed, parts.providers),
    )


def _stores(parts: Parts) -> tuple[QuotaStoreActor, ...]:
    """None where a file is in the way that must not be overwritten."""
    path, salt = parts.memory.path, parts.memory.file.salt
    if path is None:
        return ()

    def seen(state: DispatchState) -> None:
        parts.accounting.history.see(state.accounts.values(), parts.wall_clock())

    return (QuotaStoreActor(parts.disk, path, salt, parts.dispatcher, parts.wall_clock, seen),)


def _vault(parts: Parts) -> VaultActor:
    logins = parts.logins
    endpoint = TokenEndpoint(parts.upstreams, lambda: logins.policy().timeout, version())
    return VaultActor(
        logins.disk,
        logins.files(),
        endpoint.post,
        logins.client,
        parts.wall_clock,
        lambda: logins.known,
        parts.credentials_changed,
    )


def _refresh(parts: Parts) -> RefreshActor:
    logins = parts.logins
    return RefreshActor(
        logins.vault,
        logins.subjects,
        logins.policy,
        parts.wall_clock,
        parts.random.random,
        parts.accounting.tally.refreshed,
    )


def _guards(parts: Parts) -> tuple[SettingsGuardActor, ...]:
    """None where no client's settings are ours to change (`demo`, tests)."""
    if parts.clients is None:
        return ()
    guard = SettingsGuardActor(parts.clients)
    parts.client_status = guard.view
    parts.point_again = guard.point_again
    return (guard,)


def _probe(parts: Parts) -> ProbeActor:
    return ProbeActor(
        parts.dispatcher,
        parts.roster.mailbox,
        QuotaProbe(parts.upstreams, f"llm-supervisor/{version()} (quota probe)").ask,
        lambda: derive.probe_rules(parts.config),
        parts.wall_clock,
        parts.random,
    )


def _rotation(parts: Parts) -> RotationRules:
    logs = parts.config.logs
    return RotationRules(
        parts.log_directory(), logs.keep_days, logs.maximum_bytes, logs.rotate_interval
    )

"""Everything the tree is wired from: mailboxes, ports, and the configuration in force."""

from __future__ import annotations

import datetime
import logging
import random
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from actors.client_port import ClientPort
from actors.credential_disk import CredentialDisk
from actors.disk import Disk, RealDisk
from actors.dropped import DroppedLines
from actors.key_disk import KeyDisk
from actors.mailbox import ActorStopped, Mailbox
from actors.messages import DispatcherMessage, JournalMessage, Reload, Restrategize
from actors.usage_places import UsagePlaces
from protocol import credentials, derive
from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState
from protocol.config import Config, ConfigError, ConfigInvalid, restart_needed
from protocol.credentials import Known
from protocol.identity import login_name
from protocol.providers import ProvidersMessage
from protocol.quota_file import restored
from protocol.secrets import Secret
from protocol.status_view import Clocks
from server.budget import BodyBudget
from server.connections import Connections
from server.desk import Ports
from server.front_door import Door
from server.upstream import DirectUpstream, Upstreams, tls_context
from server.upstream_port import Limits
from supervisor import logs, quota_memory
from supervisor.access import Access
from supervisor.accounting import Accounting
from supervisor.certificate_pair import Pair
from supervisor.credential_disk import of_this_machine
from supervisor.files import replace_file
from supervisor.foreign import foreign_of
from supervisor.gate_rules import GateRules
from supervisor.logins import Logins
from supervisor.quota_memory import QuotaMemory
from supervisor.roster import Roster
from supervisor.server_tls import ServerTls
from supervisor.usage_places import usage_places

log = logging.getLogger("supervisor")

TELL_SECONDS = 5.0
"""For the dispatcher to take a message; it never waits on anybody, so this bounds its restart."""

RETIRED_LOOK_SECONDS = 1.0
RETIRED_CLOSE_SECONDS = 1.0


class Clients(ClientPort, Protocol):
    """Clients' settings, and the key that those without a login are given."""

    key: Secret | None


class Parts:
    """One life of the program. `disk`, `wall_clock`, `random` and `make_upstream` are its doors.

    Raises ConfigInvalid for what only this machine can tell of a configuration (trust anchors).
    """

    tls: ServerTls | None = None
    """The front end's certificate, where it has one."""
    connections: Connections | None = None
    connections_limit = sys.maxsize  # what the machine allows, where that is less
    nursery: trio.Nursery | None = None
    """For what outlives the actor that caused it; the program sets it."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        state_directory: Path,
        listening: socket.socket | None,
        *,
        config_path: Callable[[], Path | None] = lambda: None,
        disk: Disk | None = None,
        wall_clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        make_upstream: Callable[[str], DirectUpstream] | None = None,
        memory: QuotaMemory | None = None,
        environ: Mapping[str, str] | None = None,
        credential_disk: CredentialDisk | None = None,
        key_disk: KeyDisk | None = None,
    ) -> None:
        self.config = config
        self.load = load
        self.config_path = config_path
        self.loaded_at = wall_clock()
        self.config_error: str | None = None
        self.state_directory = state_directory
        self.listening = listening
        self.disk = disk or RealDisk(replace_file)
        self.memory = memory or quota_memory.of(state_directory, real=disk is None)
        self._recalled: set[str] = set()
        self.wall_clock = wall_clock
        self._environ = environ
        self.random = rng or random.Random(secrets.randbits(64))
        self.logins = Logins(
            credential_disk or of_this_machine(self.random), state_directory, lambda: self.config
        )
        self._aligning = trio.Lock()
        self.dispatcher: Mailbox[DispatcherMessage] = Mailbox("dispatcher")
        self.journal: Mailbox[JournalMessage] = Mailbox("journal", capacity=1024)
        self.config_watcher: Mailbox[Reload] = Mailbox("config-watcher")
        self.providers: Mailbox[ProvidersMessage] = Mailbox("providers")
        self.accounting = Accounting(lambda: self.config, real=disk is None)
        self.access = Access(
            lambda: self.config, state_directory, self.accounting.tally.keyed, key_disk
        )
        self.dropped = DroppedLines()
        self.roster = Roster(self.dispatcher, self._client_spec)
        self._make_upstream = make_upstream
        self._trust = trust_anchors(config)
        self.upstreams = Upstreams(self._upstream_maker())
        self._salt = secrets.token_bytes(16)
        self.foreign = foreign_of(self)
        self.door = Door(self._ports(), GateRules(self), self._salt)
        self.loop_lag: Callable[[], object] = dict
        """How late the event loop is; the tree sets it."""
        self.clients: Clients | None = None
        """The settings of clients, where they are ours to change."""
        self.client_status: Callable[[], dict[str, object]] = dict
        """What the settings guard did; the tree sets it."""
        self.point_again: Callable[[], object] = dict
        """Called when somebody else has put the client's settings back; the tree sets it."""

    def secure(self, pair: Pair) -> None:
        """From the start on, clients shake hands with this certificate, and with its renewals."""
        self.tls = ServerTls(pair, lambda: self.config.server, self.wall_clock)

    # --- the configuration in force

    def read(self) -> Config:
        """The configuration as it is written now. Raises ConfigInvalid."""
        config = self.load()
        if config.upstream != self.config.upstream:
            self._trust = trust_anchors(config)
        if self.tls is not None:
            self.tls.prepare(config.server)
        return config

    async def apply(self, config: Config) -> None:
        """Puts a new configuration into effect; what needs a restart stays as it was."""
        await self.access.prepare(config)
        before, config = self.config, _without_what_needs_a_restart(self.config, config)
        self.config = config
        self.loaded_at, self.config_error = self.wall_clock(), None
        if self.tls is not None:
            self.tls.take_prepared()
        if config.logs.level != before.logs.level:
            logs.set_level(config.logs.level)
        if config.upstream != before.upstream or _base_urls(before) - _base_urls(config):
            self._renew_upstreams()
        known = self.logins.known
        if set(credentials.paths(config, known)) - set(credentials.paths(before, known)):
            await self.logins.look_again()
        await self._align()

    async def credentials_changed(self, known: Known) -> None:
        """The vault read something new: accounts come, change and go."""
        before, self.logins.known = self.logins.known, known
        if bool(before.stored) != bool(known.stored):
            self._reconsider_the_environment()
        await self._align()

    def _reconsider_the_environment(self) -> None:
        """Its accounts count only while there are no others."""
        try:
            self.config = _without_what_needs_a_restart(self.config, self.read())
        except ConfigInvalid as invalid:
            self.refused(invalid.errors)

    async def _align(self) -> None:
        """Makes the accounts those of the configuration and of the credentials there are."""
        async with self._aligning:
            config, known = self.config, self.logins.known
            specs = derive.account_specs(config, known)
            # Whoever chooses must always have somebody to choose: accounts come before the pool is
            # turned on, and go after it is turned off.
            if specs:
                await self.roster.align(specs)
            await self._restrategize(config)
            if not specs:
                await self.roster.align(specs)
            await self.logins.tell_refresh()

    async def _restrategize(self, config: Config) -> None:
        with trio.move_on_after(TELL_SECONDS) as limit:
            try:
                await self.dispatcher.tell(Restrategize(derive.strategy(config, self.logins.known)))
            except ActorStopped:
                return  # the program is stopping
        if limit.cancelled_caught:
            log.error("the dispatcher did not take the new configuration; reload once more")

    def _renew_upstreams(self) -> None:
        for upstream in self.upstreams.renew(self._upstream_maker()):
            if self.nursery is not None:
                self.nursery.start_soon(_close_when_idle, upstream)

    def refused(self, errors: tuple[ConfigError, ...]) -> None:
        """A new configuration was not taken; `/status` says so."""
        self.config_error = "; ".join(str(error) for error in errors)

    # --- what an earlier life knew

    def known_at_start(self, spec: AccountSpec) -> AccountState:
        """The account as its actor will begin, or began."""
        if spec.name in self._recalled:
            return new_account(spec)
        clocks = Clocks(trio.current_time(), self.wall_clock())
        return restored(spec, self.memory.file, clocks)

    def recall(self, spec: AccountSpec) -> AccountState:
        """The same, once: what an actor crashed over must not come back from the file."""
        state = self.known_at_start(spec)
        self._recalled.add(spec.name)
        return state

    # --- what single actors are made with

    def today(self) -> datetime.date:
        """The UTC day."""
        return datetime.datetime.fromtimestamp(self.wall_clock(), datetime.UTC).date()

    def log_directory(self) -> Path:
        """Where the request log goes."""
        configured = self.config.logs.directory
        return Path(configured) if configured else self.state_directory / "logs"

    def specs(self) -> tuple[AccountSpec, ...]:
        """The accounts there are."""
        return derive.account_specs(self.config, self.logins.known)

    def usage_places(self) -> UsagePlaces:
        """Where the usage files go."""
        return usage_places(self.config, self._environ)

    def login_name(self, credentials: bytes) -> str | None:
        """Under which name clients are known here that send the login in this credentials file."""
        return login_name(credentials, self._salt)

    def listening_socket(self) -> socket.socket:
        """The socket that outlives the acceptor."""
        if self.listening is None:
            raise RuntimeError("this program was started without a listening socket")
        return self.listening

    def admit(self, stream: trio.abc.Stream) -> None:
        """A new connection."""
        if self.connections is None:
            raise RuntimeError("the front end runs before there is a nursery for connections")
        self.connections.admit(stream)

    def _client_spec(self, name: str) -> AccountSpec:
        return derive.client_spec(name, self.config)

    def _upstream_maker(self) -> Callable[[str], DirectUpstream]:
        if self._make_upstream is not None:
            return self._make_upstream
        upstream = self.config.upstream
        limits = Limits(
            upstream.connect_timeout,
            upstream.response_timeout,
            upstream.idle_timeout,
            upstream.max_connections,
        )
        tls = self._trust
        return lambda base_url: DirectUpstream(base_url, limits, tls)

    def _ports(self) -> Ports:
        return Ports(
            dispatcher=self.dispatcher,
            account=self.roster.mailbox,
            journal=self.journal,
            upstream=self.upstreams,
            budget=BodyBudget(lambda: self.config.server.max_inflight_bytes),
            body_bytes_max=lambda: self.config.server.max_body_bytes,
            attempts_max=lambda: self.config.routing.max_attempts,
            patience=lambda: (self.config.routing.max_wait, self.config.routing.max_hold),
            wall_clock=self.wall_clock,
            random=self.random,
            refresh=self.logins.refresh,
            refresh_policy=lambda: self.config.refresh,
            dropped=self.dropped,
            trace=self.foreign.trace,
            foreign=self.foreign,
            keyring=self.access.keyring,
        )


def trust_anchors(config: Config) -> ssl.SSLContext:
    """Whom upstream connections trust. Raises ConfigInvalid."""
    ca_file = config.upstream.ca_file
    try:
        return tls_context(ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or type(error).__name__
        found = f"{ca_file or 'SSL_CERT_FILE'}, which cannot be used ({reason})"
        wrong = ConfigError("upstream", "upstream.ca_file", found, "a file of PEM certificates")
        raise ConfigInvalid((wrong,)) from error


def _without_what_needs_a_restart(now: Config, wanted: Config) -> Config:
    """`wanted`, but with the values of `now` for all that a running program cannot change.

    So the next reload says again that a restart is needed, and nothing believes in a port that
    nobody listens on.
    """
    for path in restart_needed(now, wanted):
        section, _, key = path.partition(".")
        old, new = getattr(now, section), getattr(wanted, section)
        kept = msgspec.structs.replace(new, **{key: getattr(old, key)})
        wanted = msgspec.structs.replace(wanted, **{section: kept})
    return wanted


def _base_urls(config: Config) -> set[str]:
    accounts = (spec.base_url for spec in derive.account_specs(config))
    providers = (provider.base_url for provider in config.providers)
    return {config.upstream.base_url, *accounts, *providers}


async def _close_when_idle(upstream: DirectUpstream) -> None:
    """An upstream that a new configuration replaced: its streams end first, however long that is;
    the program's end cancels this."""
    try:
        while upstream.in_use:  # noqa: ASYNC110 - nothing waits for this
            await trio.sleep(RETIRED_LOOK_SECONDS)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + RETIRED_CLOSE_SECONDS):
            await upstream.aclose()

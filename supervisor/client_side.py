"""The clients' settings of one life of the program: what the settings guard acts through."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import trio

from protocol.client_judgement import Circumstances
from protocol.client_plan import ClientPlan, plan
from protocol.config import Config, ConfigInvalid
from protocol.pointing import ClientFile
from protocol.secrets import Secret
from supervisor import client_settings, configuration
from supervisor.client_key import client_key, known_key
from supervisor.client_lease_file import this_holder
from supervisor.client_point import Wanted, point_clients, upstream_of_clients
from supervisor.configuration import Loaded
from supervisor.environment_accounts import claude_code_directory
from supervisor.instance import Instance
from supervisor.instance_client import NothingAnswers, Refused, get_json

log = logging.getLogger("supervisor.clients")

PROBE_SECONDS = 1.0


def default_settings_file(environ: Mapping[str, str]) -> str:
    """Claude Code's own: `settings.json` in its configuration directory."""
    return str(claude_code_directory(environ) / "settings.json")


def settings_files(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The files that a start would point; where the configuration does not load, the usual one."""
    try:
        client = configuration.load(None, overrides={}, environ=environ).config.client
    except ConfigInvalid:
        return (default_settings_file(environ),)
    return client.settings or (default_settings_file(environ),)


def adopted_upstream(loaded: Loaded, state_directory: Path, environ: Mapping[str, str]) -> str:
    """Where the client points, if requests are to go on to there: without accounts and without a
    configured upstream (`interface.md` rule 14). "" otherwise. Call it before anything listens."""
    client = loaded.config.client
    configured = loaded.origins.get("upstream.base_url", "default") != "default"
    if not client.manage or client.replace or configured or loaded.accounts_from:
        return ""
    files = client.settings or (default_settings_file(environ),)
    return upstream_of_clients(state_directory, files)


def with_upstream(loaded: Loaded, adopted: str) -> Loaded:
    """`loaded`, relaying to `adopted` where nothing else was configured."""
    configured = loaded.origins.get("upstream.base_url", "default") != "default"
    if not adopted or configured or loaded.accounts_from:
        return loaded
    upstream = msgspec.structs.replace(loaded.config.upstream, base_url=adopted)
    return msgspec.structs.replace(
        loaded, config=msgspec.structs.replace(loaded.config, upstream=upstream)
    )


class ClientSide:
    """Implements `actors.settings_guard.ClientPort`. The settings are read and written in threads.

    `config` gives the configuration in force; `processes` are those whose end means that nobody
    holds the settings any more (none: this one). `pool` says whether there are accounts.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        instance: Instance,
        state_directory: Path,
        environ: Mapping[str, str] = os.environ,
        *,
        adopted: str = "",
        processes: tuple[int, ...] = (),
        pool: Callable[[], bool] | None = None,
    ) -> None:
        self._config = config
        self._instance = instance
        self._state = state_directory
        self._default = default_settings_file(environ)
        self._adopted = adopted
        self._processes = processes
        self._pool = pool
        self.key: Secret | None = known_key(state_directory)
        """The key of ours that a client may send."""

    def plan(self) -> ClientPlan | None:
        return self._plan(self._config())

    def plan_by_hand(self) -> ClientPlan:
        """The same, also where clients are not managed."""
        config = self._config()
        client = msgspec.structs.replace(config.client, manage=True)
        asked = self._plan(msgspec.structs.replace(config, client=client))
        assert asked is not None  # it was asked for
        return asked

    def _plan(self, config: Config) -> ClientPlan | None:
        pool = None if self._pool is None else self._pool()
        tls = self._instance.scheme == "https"
        return plan(config, self._default, self._adopted, tls=tls, pool=pool)

    async def answers(self) -> bool:
        """Over a real connection, to the address that clients are given."""
        with trio.move_on_after(2 * PROBE_SECONDS):
            # Abandoned, not awaited: its socket has a timeout of its own.
            return await trio.to_thread.run_sync(self._probe, abandon_on_cancel=True)
        return False

    def point_now(self, plan: ClientPlan) -> tuple[ClientFile, ...]:
        """The same as `point`, for a program without an event loop."""
        return self._point(plan)

    async def point(self, plan: ClientPlan) -> tuple[ClientFile, ...]:
        return await trio.to_thread.run_sync(self._point, plan)

    async def changed_by_others(self, paths: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return await trio.to_thread.run_sync(
            client_settings.given_up, self._state, self._instance.id, paths
        )

    async def held(self) -> tuple[ClientFile, ...]:
        found = await trio.to_thread.run_sync(
            client_settings.held_by, self._state, self._instance.id
        )
        return tuple(ClientFile(path, "pointed", "", keys) for path, keys in found)

    async def restore(self) -> float | None:
        return await trio.to_thread.run_sync(self._restore)

    async def finish(self) -> None:
        done = await trio.to_thread.run_sync(client_settings.finish, self._state)
        _say(done)

    def _probe(self) -> bool:
        try:
            found = get_json(self._instance, "/health/live", timeout=PROBE_SECONDS)
        except Refused:
            return True  # too busy to say its name, and there
        except NothingAnswers:
            return False
        return isinstance(found, dict) and found.get("instance") == self._instance.id

    def _point(self, plan: ClientPlan) -> tuple[ClientFile, ...]:
        holder = this_holder(
            self._instance.id,
            self._instance.port,
            self._instance.started_at,
            self._processes or (self._instance.pid,),
        )
        outcome = point_clients(self._state, self._wanted(plan), holder)
        for message in outcome.messages:
            log.warning("%s", message)
        return tuple(ClientFile(f.path, f.did, f.reason, f.keys) for f in outcome.files)

    def _wanted(self, plan: ClientPlan) -> Wanted:
        return Wanted(
            files=plan.files,
            here=Circumstances(self._instance.url, plan.replace, bool(plan.adopted), plan.adopted),
            environment=dict(plan.environment),
            direct_url=plan.direct_url,
            release_after=plan.release_after,
            token=self._token(plan),
            token_always=plan.token == "always",  # noqa: S105 - a word
        )

    def _token(self, plan: ClientPlan) -> str:
        if plan.token == "never":  # noqa: S105 - a word
            return ""
        configured = self._config().access.token
        if configured:
            return configured.reveal()
        if self.key is None:
            self.key = client_key(self._state)
        return self.key.reveal()

    def _restore(self) -> float | None:
        done = client_settings.restore(self._state, instance=self._instance.id)
        _say(done)
        return client_settings.still_to_wait(self._state) if done.pending else None


def _say(done: client_settings.Restored) -> None:
    for path in done.changed:
        log.info("%s is put back%s", path, ", by way of the direct URL" if done.pending else "")
    for message in done.messages:
        log.warning("%s", message)

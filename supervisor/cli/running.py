"""The running instance, as commands see it: found, asked, and its refusals put into words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor import exit_codes
from supervisor.cli.failure import Failure

if TYPE_CHECKING:
    from protocol.config.model import Config
    from protocol.secrets import Secret
    from supervisor.configuration import Loaded
    from supervisor.instance import Instance

_UNAUTHORIZED = (401, 403)


class RunningInstance:
    """An instance that answered a moment ago. Calls raise what `instance_client`'s do."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._token: Secret | None = None

    @property
    def host(self) -> str:
        """The address of this machine under which it is reached."""
        from supervisor import instance_client

        return instance_client.reachable_host(self.instance.host)

    def get(self, path: str) -> object:
        from supervisor import instance_client

        return self._with_token(
            lambda: instance_client.get_json(self.instance, path, token=self._token)
        )

    def post(self, path: str) -> object:
        from supervisor import instance_client

        return self._with_token(
            lambda: instance_client.post_json(self.instance, path, token=self._token)
        )

    def credential(self) -> Secret | None:
        """`[access] token`, for calls that need it at once; None where there is none."""
        if self._token is None:
            self._token = _what_lets_in(self.instance)
        return self._token

    def _with_token(self, call: Callable[[], object]) -> object:
        """Ask without the access token first: most have none, and reading the configuration for it
        takes longer than all the rest, and may fail while the instance runs on well."""
        from supervisor.instance_client import Refused

        try:
            return call()
        except Refused as refusal:
            if refusal.status not in _UNAUTHORIZED or self._token is not None:
                raise
            self._token = _what_lets_in(self.instance)
            if self._token is None:
                raise
        return call()


def state_directory() -> Path:
    """The state directory that this environment names."""
    from supervisor import configuration

    return configuration.state_directory(os.environ)


def find() -> RunningInstance:
    """The running instance. Raises Failure (69) that says what to do where there is none."""
    from supervisor import instance

    directory = state_directory()
    try:
        found = instance.running(directory)
        if found is not None:
            return RunningInstance(found)
        silent = instance.held(directory)
    except instance.StateDirectoryUnusable as error:
        raise unusable(error) from error
    raise _silent(directory) if silent else nothing_runs(directory)


def nothing_runs(directory: Path) -> Failure:
    return Failure(
        exit_codes.NOTHING_ANSWERS,
        f"nothing is running (state directory {directory})",
        "start it with `supervisor run`;",
        "if it runs with another state directory, set SUPERVISOR_STATE_DIR to that.",
    )


def unusable(error: Exception) -> Failure:
    """For `instance.StateDirectoryUnusable`."""
    return Failure(
        exit_codes.PERMISSION,
        str(error),
        "make it writable for this user, or set SUPERVISOR_STATE_DIR to another directory.",
    )


def unanswered(error: Exception) -> Failure:
    """For `instance_client.NothingAnswers`: it was there, and is not any more."""
    return Failure(
        exit_codes.NOTHING_ANSWERS,
        f"the running instance does not answer: {error}",
        "see `supervisor status`; start it with `supervisor run`.",
    )


def refused(status: int, message: str) -> Failure:
    """For `instance_client.Refused`."""
    said = f"the running instance refused: {message or 'no reason given'} (status {status})"
    if status not in _UNAUTHORIZED:
        return Failure(exit_codes.FAILED, said, "its log says more.")
    return Failure(
        exit_codes.PERMISSION,
        said,
        "it wants the token of [access] in its configuration file;",
        "where that file cannot be read from here, set SUPERVISOR_ACCESS_TOKEN.",
    )


def configuration_of(instance: Instance) -> Config | None:
    """The configuration that this instance was started with, as its file is now.

    None where that does not load any more; the instance itself then goes on with what it had. None
    as well where its access token is in a variable that this shell has not got: what other secrets
    are does not matter here.
    """
    loaded = seen_of(instance)
    if loaded is None or "access.token" in loaded.unset_secrets:
        return None
    return loaded.config


def seen_of(instance: Instance) -> Loaded | None:
    """The same for who needs no secret of it: those that this shell has not got have stand-ins."""
    from protocol.config import ConfigInvalid
    from supervisor import configuration

    argument = Path(instance.config) if instance.config else None
    try:
        return configuration.load(argument, environ=os.environ, looks_only=True)
    except (ConfigInvalid, OSError):
        return None


def access_token(config: Config | None, directory: Path) -> Secret | None:
    """What lets this machine's owner in: `[access] token`, or where clients need keys the one of
    the state directory; None where nothing is asked for.

    Without a configuration, for it does not load, what the environment says is left.
    """
    from protocol.secrets import Secret
    from supervisor.client_key import known_key

    if config is None:
        given = os.environ.get("SUPERVISOR_ACCESS_TOKEN", "")
        return Secret(given) if given else None
    if config.access.token:
        return config.access.token
    return known_key(directory) if config.access.keys else None


def _what_lets_in(instance: Instance) -> Secret | None:
    """The same for an instance that has asked for something: it may have begun to ask for keys before
    its file was broken, so where nothing is known of that the owner's key is tried."""
    from supervisor.client_key import known_key

    config = configuration_of(instance)
    token = access_token(config, state_directory())
    return token or (known_key(state_directory()) if config is None else None)


def _silent(directory: Path) -> Failure:
    from supervisor import instance

    said = instance.read(directory)
    who = f"pid {said.pid} at {said.url}" if said is not None else "another process"
    return Failure(
        exit_codes.NOTHING_ANSWERS,
        f"an instance holds {directory / instance.LOCK_FILE} but does not answer: {who}",
        "it may be starting or stopping: try again in a moment;",
        "if it stays like this, end that process and start again with `supervisor run`.",
    )

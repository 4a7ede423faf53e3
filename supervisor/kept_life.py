"""A life of the worker with what its keeper holds and says."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from protocol.config import ConfigInvalid
from supervisor import configuration, exit_codes, logs
from supervisor.configuration import Loaded
from supervisor.descriptors import inherited
from supervisor.instance import InstanceLock
from supervisor.keeper_line import KeeperLine, Letter
from supervisor.options import RunOptions
from supervisor.token_store import stored_names
from supervisor.worker import serve, to_the_end


def run_kept(line: KeeperLine, environ: Mapping[str, str]) -> int:
    """Serves with what the keeper holds and says, and gives back the exit code.

    Raises StateDirectoryUnusable.
    """
    letter = line.letter
    options = RunOptions(
        state_directory=Path(letter.state_directory),
        argument=None if letter.argument is None else Path(letter.argument),
        overrides=letter.overrides,
        manage_client=letter.manage_client,
    )
    try:
        stored, _ = stored_names(options.state_directory)  # the vault says what is wrong with them
        loaded = configuration.load(
            options.argument,
            overrides=options.overrides,
            environ=environ,
            stored_accounts=stored,
        )
    except ConfigInvalid as invalid:
        # It was good when the program started: somebody has changed it since.
        print(f"supervisor: {invalid}", file=sys.stderr)
        not_permitted = isinstance(invalid, configuration.ConfigNotPermitted)
        return exit_codes.PERMISSION if not_permitted else exit_codes.CONFIGURATION
    logs.configure(loaded.config.logs.level)
    lock = InstanceLock(options.state_directory, inherited(letter.lock))
    listening = socket.socket(fileno=inherited(letter.listening))
    try:
        return to_the_end(
            lambda guard: serve(
                _listening_as(loaded, letter), options, environ, lock, listening, guard, line
            )
        )
    finally:
        if line.gone:
            lock.release()  # else the keeper does, when no worker is left


def _listening_as(loaded: Loaded, letter: Letter) -> Loaded:
    """The address is the keeper's; another one in the file is taken after a restart of the program."""
    server = msgspec.structs.replace(loaded.config.server, host=letter.host, port=letter.port)
    config = msgspec.structs.replace(loaded.config, server=server)
    return msgspec.structs.replace(loaded, config=config)

"""`supervisor run`: from the configuration to a keeper with a worker, or to the worker alone.

Loads no event loop and no web framework: this process becomes the keeper, and stays small.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

from supervisor import activation, announcement, exit_codes, instance, logs, notify, worker_process
from supervisor.cannot_serve import CannotServe, open_port
from supervisor.client_settings import finish, restore
from supervisor.configuration import Loaded
from supervisor.instance import InstanceLock
from supervisor.keeper import Keeper
from supervisor.keeper_plan import Client, Plan
from supervisor.notify import Notifier
from supervisor.options import RunOptions

log = logging.getLogger("supervisor")


def run(loaded: Loaded, options: RunOptions) -> int:
    """Serves until stopped, and gives back the exit code.

    Raises AlreadyRunning and StateDirectoryUnusable.
    """
    if not keeper_possible():
        from supervisor import worker

        return worker.run(loaded, options)
    logs.configure(loaded.config.logs.level)
    server = loaded.config.server
    notifier = notify.taken_from(os.environ)
    with instance.acquire(options.state_directory) as lock:
        try:
            given = activation.handed_over(os.environ, server.host, server.port)
            with given or open_port(server.host, server.port) as listening:
                return _keep(loaded, options, lock, listening, notifier)
        except CannotServe as reason:
            print(f"supervisor: {reason}", file=sys.stderr)
            return reason.code
        except Exception:
            # The worker notices that its line has ended, puts the settings back, and stops.
            log.critical("the keeper failed", exc_info=True)
            return exit_codes.FAILED


def keeper_possible() -> bool:
    """Whether this system can hand descriptors over to a child, and has an interpreter to start."""
    return sys.platform != "win32" and bool(sys.executable)


def _keep(
    loaded: Loaded,
    options: RunOptions,
    lock: InstanceLock,
    listening: socket.socket,
    notifier: Notifier,
) -> int:
    config = loaded.config
    plan = Plan(
        command=worker_process.command(),
        letter=_letter(loaded, options, lock, listening),
        descriptors=(listening.fileno(), lock.descriptor),
        drain_seconds=config.server.drain_seconds,
        # "stay": the client waits for the next worker, and only the program's end sends it away.
        restore_after=math.inf if config.client.on_down == "stay" else config.client.restore_after,
        release_after=config.client.release_after,
        stops_on_hang_up=stops_on_hang_up(),
    )
    directory = options.state_directory
    put_back = functools.partial(restore, directory)
    if not config.client.manage:  # what another instance left is not ours to touch then
        put_back = functools.partial(put_back, instance=str(plan.letter["id"]))
    client = Client(put_back, functools.partial(finish, directory))
    announce = functools.partial(_announce, quiet=options.quiet, notifier=notifier)
    return Keeper(plan, listening, client, announce, notifier).run()


def _announce(lines: str, *, quiet: bool, notifier: Notifier) -> None:
    first, *rest = json.loads(lines)
    announcement.say(first, () if quiet else rest)
    notifier.ready(first)


def _letter(
    loaded: Loaded, options: RunOptions, lock: InstanceLock, listening: socket.socket
) -> Mapping[str, object]:
    """Everything but `life`, of which the keeper keeps count. See `keeper_line.Letter`."""
    server = loaded.config.server
    return {
        "state_directory": str(options.state_directory),
        "argument": None if options.argument is None else str(options.argument),
        "overrides": dict(options.overrides),
        "manage_client": options.manage_client,
        "host": server.host,
        "port": server.port,
        "id": instance.new_id(),
        "pid": os.getpid(),
        "listening": listening.fileno(),
        "lock": lock.descriptor,
    }


def stops_on_hang_up() -> bool:
    """Where a terminal is attached, and `nohup` was not asked to keep its end from us."""
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return False
    return any(_is_terminal(stream) for stream in (sys.stdin, sys.stdout, sys.stderr))


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and bool(stream.isatty())
    except ValueError:  # closed
        return False

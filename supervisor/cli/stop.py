"""`supervisor stop`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.amounts import Amount
from supervisor.cli.failure import Failure
from supervisor.cli.manual import NEEDS_AN_INSTANCE, STATE_VARIABLE, Documented, Manual
from supervisor.cli.wording import duration

if TYPE_CHECKING:
    from supervisor.instance import Instance

AFTER_THE_DRAIN_SECONDS = 15.0
"""What the end of the program takes at most, once its requests are over or cut."""

DRAIN_SECONDS_UNKNOWN = 30.0
"""Where the configuration does not load any more: the default of server.drain_seconds."""

_LOOK_SECONDS = 0.1


_MANUAL = Manual(
    examples={
        "supervisor stop": "Wait until it has ended.",
        "supervisor stop --timeout 5": "Wait five seconds at most; it goes on ending by itself.",
    },
    exits={**NEEDS_AN_INSTANCE, exit_codes.FAILED: "it has not ended in time; its pids are named"},
    environment=STATE_VARIABLE,
    see=("supervisor service", "docs/operating.md#starting-and-stopping"),
)


@click.command(short_help="Stop the running instance.", cls=Documented, manual=_MANUAL)
@click.option(
    "--timeout",
    type=Amount(min=0),
    metavar="SECONDS",
    help="How long to wait for its end. Default: server.drain_seconds and 15 more.",
)
def stop(timeout: float | None) -> None:
    """Stop the running instance, and wait until it has ended.

    It takes no new requests, and lets those in flight end for up to server.drain_seconds.
    """
    from supervisor import instance

    directory = running.state_directory()
    try:
        if not instance.held(directory):
            raise running.nothing_runs(directory)
        _stop(directory, timeout)
    except instance.StateDirectoryUnusable as error:
        raise running.unusable(error) from error


def _stop(directory: Path, timeout: float | None) -> None:
    """Ask once, as soon as it answers; then wait. One that holds the lock and is silent is starting
    (it will answer) or stopping already (it will let go)."""
    from supervisor import instance

    begun = time.monotonic()
    asked: Instance | None = None
    seconds = DRAIN_SECONDS_UNKNOWN + AFTER_THE_DRAIN_SECONDS if timeout is None else timeout
    progress = _Progress()
    while not _over(directory, asked):
        if asked is None:
            asked = instance.running(directory)
            if asked is not None:
                seconds = _patience(asked) if timeout is None else timeout
                _ask(asked)
        waited = time.monotonic() - begun
        if waited >= seconds:
            progress.end()
            raise _still_there(directory, asked, seconds)
        progress.show(asked, waited)
        time.sleep(_LOOK_SECONDS)
    progress.end()
    click.echo("stopped")


def _over(directory: Path, asked: Instance | None) -> bool:
    """Whether it is gone; a successor may hold the lock by then, which is not ours to wait for."""
    from supervisor import instance

    if not instance.held(directory):
        return True
    if asked is None:
        return False
    now = instance.read(directory)
    return now is not None and now.id != asked.id


def _patience(asked: Instance) -> float:
    config = running.configuration_of(asked)
    drain = config.server.drain_seconds if config is not None else DRAIN_SECONDS_UNKNOWN
    return drain + AFTER_THE_DRAIN_SECONDS


def _ask(asked: Instance) -> None:
    """Over HTTP, or where that is refused by signal: the pid is its own, it has just answered."""
    from supervisor.instance_client import NothingAnswers, Refused

    try:
        running.RunningInstance(asked).post("/status/drain")
    except (NothingAnswers, Refused):
        try:
            os.kill(asked.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise Failure(
                exit_codes.PERMISSION,
                f"pid {asked.pid} may not be stopped by this user",
                "run this as the user who started it.",
            ) from error


def _still_there(directory: Path, asked: Instance | None, seconds: float) -> Failure:
    if asked is None:
        return Failure(
            exit_codes.NOTHING_ANSWERS,
            f"an instance holds {directory} but did not answer within {duration(seconds)}",
            "end that process by hand.",
        )
    return Failure(
        exit_codes.FAILED,
        f"pid {asked.pid} was asked to stop and still runs after {duration(seconds)}",
        f"wait for longer with --timeout, or end it at once: kill -9 {_pids(asked)}",
    )


def _pids(asked: Instance) -> str:
    """Of every process: killed alone, the keeper would leave the rest to a worker that is stuck."""
    both = dict.fromkeys((asked.pid, asked.worker_pid or asked.pid))
    return " ".join(map(str, both))


class _Progress:
    """One line on stderr, rewritten on a terminal and said once elsewhere."""

    def __init__(self) -> None:
        self._rewritable = sys.stderr.isatty()
        self._shown = ""

    def show(self, asked: Instance | None, waited: float) -> None:
        who = f"{asked.url} (pid {asked.pid})" if asked is not None else "an instance"
        line = f"stopping {who}, requests in flight may end first"
        if not self._rewritable:
            if line != self._shown:
                click.echo(f"{line} ...", err=True)
            self._shown = line
            return
        text = f"{line}: {duration(waited)}"
        if text != self._shown:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
        self._shown = text

    def end(self) -> None:
        if self._rewritable and self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)

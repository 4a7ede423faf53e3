"""One life of the program: everything that serves, from its start to its exit code."""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping

import msgspec
import trio

from actors.mailbox import AskFailed
from actors.messages import Reload
from protocol.client_plan import LONGEST_RELEASE
from protocol.config import Config, ConfigInvalid
from protocol.status_view import utc
from supervisor import (
    banner,
    configuration,
    descriptors,
    exit_codes,
    instance,
    kept_worker,
    logs,
    starting,
)
from supervisor.cannot_serve import CannotServe, open_port
from supervisor.certificate_pair import Pair, server_pair
from supervisor.client_side import ClientSide, adopted_upstream, with_upstream
from supervisor.configuration import Loaded
from supervisor.elapsed_clock import ElapsedClock
from supervisor.engine import GaveUp
from supervisor.guard import Guard
from supervisor.instance import Instance, InstanceLock, StateDirectoryUnusable
from supervisor.keeper_line import KeeperLine
from supervisor.listening import address_of
from supervisor.options import RunOptions
from supervisor.parts import Parts
from supervisor.program import Program
from supervisor.version import version

log = logging.getLogger("supervisor")

RELOAD_SECONDS = 10.0

GUARD_SECONDS = 10.0
"""After the drain: every actor's own time to stop, one after the other."""
AT_ONCE_SECONDS = 0.7
"""After a second signal."""
END_SECONDS = 2.5
"""Between the last actor's end and the end of the process: connections are cut, files closed."""

COLLECTIONS = (10_000, 10, 10)
"""Thresholds of the collector. Python's 700 is less than a hundred requests under way hold, so they
were looked through again and again: a fifth of the processor time. Nothing of a request waits for
the collector (`tests/server/test_garbage.py`), so its rarity costs no memory."""

_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def run(loaded: Loaded, options: RunOptions, environ: Mapping[str, str] = os.environ) -> int:
    """Serves in this process, without a keeper, and gives back the exit code.

    Raises AlreadyRunning and StateDirectoryUnusable.
    """
    logs.configure(loaded.config.logs.level)
    server = loaded.config.server

    def listen_and_serve(guard: Guard) -> int:
        with open_port(server.host, server.port) as listening:
            return serve(loaded, options, environ, lock, listening, guard)

    with instance.acquire(options.state_directory) as lock:
        return to_the_end(listen_and_serve)


def to_the_end(life: Callable[[Guard], int]) -> int:
    """What nobody foresaw becomes an exit code, too. Raises StateDirectoryUnusable."""
    guard = Guard()
    try:
        return life(guard)
    except CannotServe as reason:
        print(f"supervisor: {reason}", file=sys.stderr)
        return reason.code
    except StateDirectoryUnusable:
        raise
    except Exception:
        # Nobody foresaw it, so starting again is worth a try: a code that asks for that.
        log.critical("the program failed", exc_info=True)
        return exit_codes.FAILED
    finally:
        guard.dismiss()


def serve(
    loaded: Loaded,
    options: RunOptions,
    environ: Mapping[str, str],
    lock: InstanceLock,
    listening: socket.socket,
    guard: Guard,
    line: KeeperLine | None = None,
) -> int:
    limit = descriptors.raise_limit()
    tls = server_pair(loaded.config)
    with listening:
        try:
            worker = Worker(loaded, options, environ, lock, listening, tls, guard, line)
        except ConfigInvalid as invalid:
            raise CannotServe(exit_codes.CONFIGURATION, str(invalid)) from invalid
        worker.parts.connections_limit = descriptors.connections_max(limit)
        return trio.run(worker.main, clock=ElapsedClock())


class Worker:
    """The trio side of `run`: signals, the guard of the end, and the program itself."""

    def __init__(
        self,
        loaded: Loaded,
        options: RunOptions,
        environ: Mapping[str, str],
        lock: InstanceLock,
        listening: socket.socket,
        tls: Pair | None,
        guard: Guard,
        line: KeeperLine | None,
    ) -> None:
        self._adopted = adopted_upstream(loaded, options.state_directory, environ)
        self._loaded = loaded = with_upstream(loaded, self._adopted)
        self._line = line
        self._options = options
        self._environ = environ
        self._lock = lock
        self._guard = guard
        self._warned = set(loaded.warnings)
        self.parts = Parts(
            loaded.config,
            self._load,
            options.state_directory,
            listening,
            config_path=lambda: configuration.find_file(options.argument, environ),
            environ=environ,
        )
        if tls is not None:
            self.parts.secure(tls)
        host, port = address_of(listening)
        self._instance = Instance(
            pid=line.letter.pid if line else os.getpid(),
            worker_pid=os.getpid(),
            host=host,
            port=port,
            started_at=utc(self.parts.wall_clock()),
            id=line.letter.id if line else instance.new_id(),
            version=version(),
            scheme="https" if tls else "http",
            config=str(loaded.path or ""),
        )
        self.parts.clients = ClientSide(
            lambda: self.parts.config,
            self._instance,
            options.state_directory,
            environ,
            adopted=self._adopted,
            processes=(line.letter.pid, os.getpid()) if line else (),
            pool=lambda: bool(self.parts.specs()),
        )

    async def main(self) -> int:
        """Runs the program to its end, and gives back the exit code.

        Raises StateDirectoryUnusable.
        """
        async with trio.open_nursery() as nursery:
            program = Program(self.parts, self._instance, nursery)
            await nursery.start(self._signals, program)
            if self._line is not None:
                await self._attend(self._line, program, nursery)
            # With the signals in hand, so that whoever ends us takes this back; and before the
            # actors start, because clients that come now wait in the socket's queue.
            unusable = self._publish()
            if unusable is not None:
                program.stop()
            nursery.start_soon(self._guard_the_drain, program)
            nursery.start_soon(self._run, program)
            # Not the end of `_run`: an actor that shields itself for ever keeps that from ending.
            await program.engine.stopped.wait()
            code = exit_codes.STOPPED_AS_ASKED
            if program.engine.gave_up is not None:
                code = exit_codes.GAVE_UP
                log.critical("%s; the program ends", GaveUp(program.engine.gave_up))
            await self._linger(program, code)
            self._guard.end_after(END_SECONDS, code)
            nursery.cancel_scope.cancel()
        if unusable is not None:
            raise unusable
        return code

    async def _linger(self, program: Program, code: int) -> None:
        """A login that is being renewed is lost with the process: its old token is used up."""
        if not program.engine.lingering:
            return
        seconds = self.parts.config.refresh.timeout + END_SECONDS
        log.info("a login is being renewed; the process ends when its new tokens are written")
        self._guard.end_after(seconds, code)
        await program.engine.linger()

    async def _run(self, program: Program) -> None:
        try:
            async with trio.open_nursery() as running:
                if await running.start(program.run):
                    self._ready()
                    # What the start made lives as long as the process: never to be looked through
                    # again by a collection in the middle of somebody's stream.
                    gc.freeze()
                    gc.set_threshold(*COLLECTIONS)
        except* GaveUp:
            pass  # the engine keeps the reason

    async def _guard_the_drain(self, program: Program) -> None:
        await program.stop_asked.wait()
        config = self.parts.config
        drain = config.server.drain_seconds + min(config.client.release_after, LONGEST_RELEASE)
        if self._line is not None:
            self._line.tell(f"{kept_worker.DRAINING} {drain}")
        self._guard.end_after(drain + GUARD_SECONDS, exit_codes.STOPPED_AS_ASKED)

    async def _attend(self, line: KeeperLine, program: Program, nursery: trio.Nursery) -> None:
        """Before anything starts, so that a keeper that is dead by then is noticed."""

        def keeper_died() -> None:
            log.warning("the keeper is gone; stopping")
            program.stop()
            # From here on it is this process that `supervisor stop` has to reach. In a thread: the
            # client's settings come first.
            self._instance = msgspec.structs.replace(self._instance, pid=os.getpid())
            nursery.start_soon(trio.to_thread.run_sync, self._publish)

        orders = {
            kept_worker.STOP: program.stop,
            kept_worker.STOP_AT_ONCE: lambda: self._stop_at_once(program, nursery),
            kept_worker.RELOAD: lambda: nursery.start_soon(self._reload),
            kept_worker.POINT_AGAIN: self._point_again,
        }
        nursery.start_soon(line.beat, kept_worker.BEAT)
        await nursery.start(line.attend, orders, keeper_died)

    def _point_again(self) -> None:
        self.parts.point_again()  # whoever that is by then

    def _ready(self) -> None:
        clients = self.parts.client_status()
        if self._line is not None:
            lines = [
                banner.listening_line(self._instance),
                *banner.lines(self._loaded, self._instance, self.parts.specs(), clients),
            ]
            self._line.tell(f"{kept_worker.READY} {json.dumps(lines)}")
        else:
            banner.show(
                self._loaded,
                self._instance,
                self.parts.specs(),
                quiet=self._options.quiet,
                clients=clients,
            )

    def _publish(self) -> StateDirectoryUnusable | None:
        """Says in the state directory where this process listens, or why it cannot."""
        try:
            self._lock.publish(self._instance)
        except OSError as error:
            if error.errno in _NOT_WRITABLE:
                return StateDirectoryUnusable(self._options.state_directory, error)
            # A full disk is no reason not to serve.
            log.error("not written, so `stop` and `status` will not find this instance: %s", error)
        return None

    def _load(self) -> Config:
        loaded = configuration.load(
            self._options.argument,
            overrides=self._options.overrides,
            environ=self._environ,
            stored_accounts=self.parts.logins.stored_names(),
        )
        loaded = with_upstream(loaded, self._adopted)
        warnings = set(loaded.warnings)
        for warning in sorted(warnings - self._warned):
            log.warning("%s", warning)
        self._warned = warnings
        return loaded.config

    async def _signals(
        self, program: Program, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        hang_up = getattr(signal, "SIGHUP", None)
        stops_on_hang_up = self._line is None and starting.stops_on_hang_up()
        wanted = [signal.SIGINT, signal.SIGTERM, *([hang_up] if hang_up else [])]
        with trio.open_signal_receiver(*wanted) as received:
            task_status.started()
            async with trio.open_nursery() as nursery:
                async for number in received:
                    if number == hang_up and program.stopping:
                        continue  # a closing terminal says it twice, once by its shell
                    if number == hang_up and not stops_on_hang_up:
                        nursery.start_soon(self._reload)  # beside: a stop must not wait for it
                    elif not program.stopping:
                        log.info("stopping (%s)", signal.Signals(number).name)
                        program.stop()
                    elif self._line is None or self._line.gone:
                        log.warning("stopping at once")
                        self._stop_at_once(program, nursery)
                    # Else it is the keeper who counts: a service manager may signal both of us.

    def _stop_at_once(self, program: Program, nursery: trio.Nursery) -> None:
        self._guard.end_after(AT_ONCE_SECONDS, exit_codes.STOPPED_AS_ASKED)
        nursery.start_soon(program.stop_at_once)

    async def _reload(self) -> None:
        try:
            await self.parts.config_watcher.ask(Reload(), timeout=RELOAD_SECONDS)
        except AskFailed as failure:
            log.error("not reloaded: %s", failure)

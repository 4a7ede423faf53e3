"""One life of the program: from the lock on the state directory to the exit code."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import trio

from actors.mailbox import AskFailed
from actors.messages import Reload
from protocol.client_plan import LONGEST_RELEASE
from protocol.config import Config, ConfigInvalid
from protocol.status_view import utc
from supervisor import banner, configuration, descriptors, exit_codes, instance, logs
from supervisor.client_side import ClientSide, adopted_upstream, with_upstream
from supervisor.configuration import Loaded
from supervisor.engine import GaveUp
from supervisor.guard import Guard
from supervisor.instance import Instance, InstanceLock, StateDirectoryUnusable
from supervisor.listening import address_of, listen
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

_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class CannotServe(Exception):
    """Nothing was started; the message says why, and what to do. `code` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def run(loaded: Loaded, options: RunOptions, environ: Mapping[str, str] = os.environ) -> int:
    """Serves until stopped, and gives back the exit code.

    Raises AlreadyRunning and StateDirectoryUnusable.
    """
    logs.configure(loaded.config.logs.level)
    with instance.acquire(options.state_directory) as lock:
        guard = Guard()
        try:
            return _serve(loaded, options, environ, lock, guard)
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


def _serve(
    loaded: Loaded,
    options: RunOptions,
    environ: Mapping[str, str],
    lock: InstanceLock,
    guard: Guard,
) -> int:
    server = loaded.config.server
    limit = descriptors.raise_limit()
    tls = _server_tls(loaded.config)
    try:
        listening = listen(server.host, server.port)
    except OSError as error:
        raise _cannot_listen(error, server.host, server.port) from error
    with listening:
        try:
            worker = Worker(loaded, options, environ, lock, listening, tls, guard)
        except ConfigInvalid as invalid:
            raise CannotServe(exit_codes.CONFIGURATION, str(invalid)) from invalid
        worker.parts.connections_limit = descriptors.connections_max(limit)
        return trio.run(worker.main)


class Worker:
    """The trio side of `run`: signals, the guard of the end, and the program itself."""

    def __init__(
        self,
        loaded: Loaded,
        options: RunOptions,
        environ: Mapping[str, str],
        lock: InstanceLock,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        guard: Guard,
    ) -> None:
        self._adopted = adopted_upstream(loaded, options.state_directory, environ)
        self._loaded = loaded = with_upstream(loaded, self._adopted)
        self._options = options
        self._environ = environ
        self._lock = lock
        self._tls = tls
        self._guard = guard
        self._warned = {*loaded.warnings, *configuration.not_yet(loaded)}
        self.parts = Parts(
            loaded.config,
            self._load,
            options.state_directory,
            listening,
            config_path=lambda: configuration.find_file(options.argument, environ),
            environ=environ,
        )
        host, port = address_of(listening)
        self._instance = Instance(
            pid=os.getpid(),
            host=host,
            port=port,
            started_at=utc(self.parts.wall_clock()),
            id=instance.new_id(),
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
        )

    async def main(self) -> int:
        """Runs the program to its end, and gives back the exit code.

        Raises StateDirectoryUnusable.
        """
        async with trio.open_nursery() as nursery:
            program = Program(self.parts, self._instance, nursery, self._tls)
            await nursery.start(self._signals, program)
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
            self._guard.end_after(END_SECONDS, code)
            nursery.cancel_scope.cancel()
        if unusable is not None:
            raise unusable
        return code

    async def _run(self, program: Program) -> None:
        try:
            async with trio.open_nursery() as running:
                if await running.start(program.run):
                    banner.show(
                        self._loaded,
                        self._instance,
                        quiet=self._options.quiet,
                        clients=self.parts.client_status(),
                    )
        except* GaveUp:
            pass  # the engine keeps the reason

    async def _guard_the_drain(self, program: Program) -> None:
        await program.stop_asked.wait()
        config = self.parts.config
        drain = config.server.drain_seconds + min(config.client.release_after, LONGEST_RELEASE)
        self._guard.end_after(drain + GUARD_SECONDS, exit_codes.STOPPED_AS_ASKED)

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
            self._options.argument, overrides=self._options.overrides, environ=self._environ
        )
        loaded = with_upstream(loaded, self._adopted)
        warnings = {*loaded.warnings, *configuration.not_yet(loaded)}
        for warning in sorted(warnings - self._warned):
            log.warning("%s", warning)
        self._warned = warnings
        return loaded.config

    async def _signals(
        self, program: Program, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        hang_up = getattr(signal, "SIGHUP", None)
        attached = any(_is_terminal(stream) for stream in (sys.stdin, sys.stdout, sys.stderr))
        wanted = [signal.SIGINT, signal.SIGTERM, *([hang_up] if hang_up else [])]
        with trio.open_signal_receiver(*wanted) as received:
            task_status.started()
            async with trio.open_nursery() as nursery:
                async for number in received:
                    if number == hang_up and program.stopping:
                        continue  # a closing terminal says it twice, once by its shell
                    if number == hang_up and not attached:
                        nursery.start_soon(self._reload)  # beside: a stop must not wait for it
                    elif program.stopping:
                        log.warning("stopping at once")
                        self._guard.end_after(AT_ONCE_SECONDS, exit_codes.STOPPED_AS_ASKED)
                        nursery.start_soon(program.stop_at_once)
                    else:
                        log.info("stopping (%s)", signal.Signals(number).name)
                        program.stop()

    async def _reload(self) -> None:
        try:
            await self.parts.config_watcher.ask(Reload(), timeout=RELOAD_SECONDS)
        except AskFailed as failure:
            log.error("not reloaded: %s", failure)


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and bool(stream.isatty())
    except ValueError:  # closed
        return False


def _server_tls(config: Config) -> ssl.SSLContext | None:
    """Raises CannotServe."""
    if not config.server.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # With a password the key would be asked for on the terminal, where nobody may sit.
        context.load_cert_chain(
            config.server.tls_certificate, config.server.tls_key, password=_no_password
        )
    except (OSError, ssl.SSLError, _NeedsPassword) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise CannotServe(
            exit_codes.CONFIGURATION,
            f"server.tls_certificate and server.tls_key cannot be used: {reason}; "
            "they are a PEM certificate (with its chain) and its PEM key without a password",
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


class _NeedsPassword(Exception):
    def __str__(self) -> str:
        return "the key has a password"


def _no_password() -> NoReturn:
    raise _NeedsPassword


def _cannot_listen(error: OSError, host: str, port: int) -> CannotServe:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return CannotServe(
            exit_codes.TAKEN,
            f"{where} is taken by another program; stop it, or choose another port "
            "with --port (0: any free one)",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return CannotServe(
            exit_codes.PERMISSION,
            f"not permitted to listen on {where}; ports below 1024 are for the administrator, "
            "choose another with --port",
        )
    return CannotServe(
        exit_codes.CONFIGURATION,
        f"cannot listen on {where}: {error.strerror or error}; see server.host and --host",
    )

"""Why nothing is started: the reasons that only this machine can give, each with its exit code."""

from __future__ import annotations

import errno
import socket

from supervisor import exit_codes
from supervisor.listening import listen


class CannotServe(Exception):
    """Nothing was started; the message says why, and what to do. `code` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def open_port(host: str, port: int) -> socket.socket:
    """The listening socket. Raises CannotServe."""
    try:
        return listen(host, port)
    except OSError as error:
        raise _cannot_listen(error, host, port) from error


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

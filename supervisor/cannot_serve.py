"""Why nothing is started: the reasons that only this machine can give, each with its exit code."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import NoReturn

from protocol.config import Config
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


def server_tls(config: Config) -> ssl.SSLContext | None:
    """None where no certificate is configured. Raises CannotServe."""
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

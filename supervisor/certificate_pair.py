"""The front end's certificate and key on disk: read and checked as a pair."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from protocol.config import Config
from protocol.config.model import Server
from protocol.server_certificate import Certificate, certificate_of
from supervisor import exit_codes
from supervisor.cannot_serve import CannotServe

READINGS_MAX = 3
"""Of files that are replaced while they are read."""
NEVER = float("inf")
FORM = "a PEM certificate (with its chain) and its PEM key without a password"


class CertificateUnusable(Exception):
    """No connection could be served with these files; the message says why. `again_at`: when they
    could be used as they are (epoch seconds)."""

    def __init__(self, reason: str, again_at: float = NEVER) -> None:
        super().__init__(reason)
        self.again_at = again_at


class Pair(msgspec.Struct, frozen=True):
    """A certificate with its key. `certificate` is None where this Python cannot read it; `digest`
    is that of both files."""

    context: ssl.SSLContext
    certificate: Certificate | None
    digest: bytes


def server_pair(config: Config) -> Pair | None:
    """For the start; None where no certificate is configured. Raises CannotServe."""
    if not config.server.tls_certificate:
        return None
    try:
        return read_pair(config.server)
    except CertificateUnusable as reason:
        raise CannotServe(
            exit_codes.CONFIGURATION,
            f"server.tls_certificate and server.tls_key cannot be used: {reason}; they are {FORM}",
        ) from reason


def read_pair(server: Server) -> Pair:
    """The pair that the files hold now. Raises CertificateUnusable."""
    for _ in range(READINGS_MAX):
        digest = digest_of(server)
        try:
            context = _context(server)
            pair = Pair(context, read_certificate(server.tls_certificate), digest)
        except CertificateUnusable:
            if digest_of(server) == digest:
                raise
        else:
            if digest_of(server) == digest:
                return pair
    raise CertificateUnusable("the files change while they are read")


def read_certificate(path: str) -> Certificate | None:
    """The first certificate of a PEM file; None where it cannot be read, or not by this Python."""
    try:
        # The only parser that the standard library has, and a private one.
        decoded: dict[str, Any] = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
        begins, ends = (ssl.cert_time_to_seconds(decoded[key]) for key in ("notBefore", "notAfter"))
    except (AttributeError, OSError, ValueError, KeyError):
        return None
    return certificate_of(decoded, begins, ends)


def _context(server: Server) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # With a password the key would be asked for on the terminal, where nobody may sit.
        context.load_cert_chain(server.tls_certificate, server.tls_key, password=_no_password)
    except (OSError, ValueError, _NeedsPassword) as error:
        raise CertificateUnusable(_why(error)) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _why(error: Exception) -> str:
    reason, library = getattr(error, "reason", None), getattr(error, "library", None)
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key is another certificate's ({reason})"
    if library == "PEM" or reason == "PEM_LIB" or (isinstance(error, ssl.SSLError) and not reason):
        return f"one of them is no PEM file, or not a whole one ({reason or 'PEM'})"
    return str(reason or getattr(error, "strerror", None) or error)


def digest_of(server: Server) -> bytes:
    """Of the content of both files. Raises CertificateUnusable."""
    digest = hashlib.sha256()
    for path in (server.tls_certificate, server.tls_key):
        try:
            content = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise CertificateUnusable(f"{path} cannot be read: {why}") from error
        digest.update(b"%d:" % len(content) + content)
    return digest.digest()


class _NeedsPassword(Exception):
    def __str__(self) -> str:
        return "the key has a password"


def _no_password() -> NoReturn:
    raise _NeedsPassword

"""The front end's certificate and key: what is in force, and how that is replaced while running.

A new pair gets a context of its own, which counts for handshakes from then on: connections keep the
one that they began with, and tickets of the old one resume nothing. The old context stays in force
as long as the new files are no pair.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from actors.mailbox import AskFailed
from actors.messages import Reload
from protocol.config import ConfigError, ConfigInvalid
from protocol.config.model import Server
from protocol.server_certificate import certificate_view, renewal
from protocol.status_view import utc
from supervisor.certificate_pair import (
    FORM,
    NEVER,
    CertificateUnusable,
    Pair,
    digest_of,
    read_pair,
)

if TYPE_CHECKING:
    from supervisor.parts import Parts

RELOAD_SECONDS = 10.0

log = logging.getLogger("supervisor")


class ServerTls:
    """The pair in force. `server` gives the configuration in force, `wall_clock` epoch seconds."""

    def __init__(
        self, pair: Pair, server: Callable[[], Server], wall_clock: Callable[[], float]
    ) -> None:
        self._pair = pair
        self._server = server
        self._wall_clock = wall_clock
        self._loaded_at = wall_clock()
        self._refused: bytes | None = pair.digest  # what was read last, whatever came of it
        self._again_at = NEVER
        self._problem = ""
        self._prepared: Pair | None = None
        self._warn_of_its_end()

    def context(self) -> ssl.SSLContext:
        """For the next handshake."""
        return self._pair.context

    def view(self) -> dict[str, Any]:
        """`tls` of `/status`."""
        return certificate_view(self._pair.certificate, self._loaded_at, self._problem)

    # --- as the configuration is read again

    def prepare(self, server: Server) -> None:
        """Reads the files of a new configuration, for `take_prepared`. Raises ConfigInvalid."""
        self._prepared = None
        if not server.tls_certificate:
            return  # a restart is needed for that
        try:
            self._prepared = self._accepted(server)
        except CertificateUnusable as reason:
            found = f"{server.tls_certificate}, which cannot be used ({reason})"
            wrong = ConfigError("server", "server.tls_certificate", found, FORM)
            raise ConfigInvalid((wrong,)) from reason

    def take_prepared(self) -> None:
        """Puts into force what `prepare` has read."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._take(prepared)

    # --- as the files change

    async def look(self) -> bytes | None:
        """A digest of both files; None where one of them cannot be read."""
        return await trio.to_thread.run_sync(_digest_if_any, self._server())

    def is_new(self, digest: bytes | None) -> bool:
        """Whether that is worth reading: it is not in force, and was not refused already."""
        if digest == self._pair.digest:
            return bool(self._problem)  # the old pair is back
        return digest != self._refused or self._wall_clock() >= self._again_at

    async def renew(self, digest: bytes | None) -> bool:
        """Reads the files, of which `digest` was seen last, and takes them if they are a pair."""
        # Before it is read: what fails in a way that nobody foresaw is tried once.
        self._refused, self._again_at = digest, NEVER
        try:
            pair = await trio.to_thread.run_sync(self._accepted, self._server())
        except CertificateUnusable as reason:
            self._problem, self._again_at = str(reason), reason.again_at
            log.error(
                "server.tls_certificate and server.tls_key have changed and cannot be used: %s; "
                "the certificate in force stays%s",
                reason,
                self._until(),
            )
            return False
        self._take(pair)
        return True

    def _accepted(self, server: Server) -> Pair:
        pair = read_pair(server)
        if pair.digest != self._pair.digest:
            refusal = renewal(pair.certificate, self._pair.certificate, self._wall_clock())
            if refusal is not None:
                raise CertificateUnusable(refusal.reason, refusal.again_at)
        return pair

    def _take(self, pair: Pair) -> None:
        if self._problem:
            log.info("server.tls_certificate and server.tls_key can be used again")
        self._problem, self._again_at = "", NEVER
        if pair.digest == self._pair.digest:
            return
        self._pair, self._loaded_at = pair, self._wall_clock()
        shown = pair.certificate.shown if pair.certificate else "unknown names"
        log.info("a new certificate is in force, for %s%s", shown, self._until())
        self._warn_of_its_end()

    def _until(self) -> str:
        known = self._pair.certificate
        return f", until {utc(known.ends)}" if known else ""

    def _warn_of_its_end(self) -> None:
        known, now = self._pair.certificate, self._wall_clock()
        if known is not None and known.ends <= now:
            log.warning(
                "server.tls_certificate expired on %s: clients will refuse it", utc(known.ends)
            )
        elif known is not None and known.begins > now:
            log.warning(
                "server.tls_certificate does not begin before %s: clients will refuse it",
                utc(known.begins),
            )


async def reload_what_was_refused(parts: Parts) -> None:
    """A configuration that was refused for its certificate may be taken now that this is usable."""
    if "server.tls_certificate" in (parts.config_error or ""):
        with contextlib.suppress(AskFailed):  # what is wrong is logged, and shown on `/status`
            await parts.config_watcher.ask(Reload(), timeout=RELOAD_SECONDS)


def _digest_if_any(server: Server) -> bytes | None:
    try:
        return digest_of(server)
    except CertificateUnusable:
        return None

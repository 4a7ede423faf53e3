"""Certificates of the front end, as a renewing program leaves them on the disk."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import trio
import trustme

from tests.kit.wire import Wire

HANDSHAKE_SECONDS = 30.0


def issued(authority: trustme.CA, *, days: float = 90, began: float = -1) -> trustme.LeafCert:
    """A certificate for 127.0.0.1 that ends in so many `days`, and began so many days from now."""
    now = datetime.datetime.now(datetime.UTC)
    return authority.issue_cert(
        "127.0.0.1",
        "localhost",
        common_name="box.test",
        not_before=now + datetime.timedelta(days=began),
        not_after=now + datetime.timedelta(days=days),
    )


class Files:
    """Symbolic links to the newest of several pairs, as ACME clients keep them."""

    def __init__(self, directory: Path, first: trustme.LeafCert) -> None:
        self.certificate, self.key = directory / "fullchain.pem", directory / "privkey.pem"
        self._archive = directory / "archive"
        self._archive.mkdir()
        self._number = 0
        self.replace(first)

    @property
    def configuration(self) -> str:
        """Of `[server]`."""
        return f'tls_certificate = "{self.certificate}"\ntls_key = "{self.key}"\n'

    def replace(self, pair: trustme.LeafCert) -> None:
        """Both, one after the other."""
        self.replace_certificate(b"".join(part.bytes() for part in pair.cert_chain_pems))
        self.replace_key(pair.private_key_pem.bytes())

    def replace_certificate(self, content: bytes) -> None:
        """The link alone."""
        self._swap(self.certificate, content)

    def replace_key(self, content: bytes) -> None:
        """The link alone."""
        self._swap(self.key, content)

    def _swap(self, link: Path, content: bytes) -> None:
        self._number += 1
        target = self._archive / f"{self._number}-{link.name}"
        target.write_bytes(content)
        new = link.with_suffix(".new")
        new.symlink_to(target)
        new.replace(link)


class Client:
    """A client over TLS, that trusts the authority; it keeps no tickets between connections."""

    def __init__(self, authority: trustme.CA, url: str) -> None:
        self.parts = urlsplit(url)
        self._context = ssl.create_default_context()
        authority.configure_trust(self._context)

    async def connect(self) -> Wire:
        """A connection with its handshake done; raises BrokenResourceError where it trusts not."""
        assert self.parts.hostname is not None
        assert self.parts.port is not None
        stream = await trio.open_ssl_over_tcp_stream(
            self.parts.hostname, self.parts.port, ssl_context=self._context, https_compatible=True
        )
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                await stream.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)
            raise
        return Wire(stream, self.parts.netloc)  # type: ignore[arg-type]

    async def served_with(self) -> str:
        """The serial number of the certificate that a new connection is given."""
        async with await self.connect() as wire:
            return serial(wire)


def serial(wire: Wire) -> str:
    """Of the certificate that this connection was given."""
    found = wire.stream.getpeercert()  # type: ignore[attr-defined]
    return str(found["serialNumber"])


def serial_of(pair: trustme.LeafCert) -> str:
    """As `ssl` writes it."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(pair.cert_chain_pems[0].bytes())
    shown = f"{certificate.serial_number:X}"
    return shown.zfill(len(shown) + len(shown) % 2)

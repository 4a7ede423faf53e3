"""Certificate and key as the disk has them, also while somebody replaces them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from protocol.config.model import Server
from supervisor import certificate_pair
from supervisor.certificate_pair import CertificateUnusable, read_pair
from tests.kit.certificates import Files, issued


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    return Files(tmp_path, issued(authority))


def server(files: Files) -> Server:
    return Server(tls_certificate=str(files.certificate), tls_key=str(files.key))


def meanwhile(monkeypatch: pytest.MonkeyPatch, *events: Callable[[], None]) -> None:
    """Each happens once, just before the files are loaded, and after their digest was taken."""
    load, left = certificate_pair._context, list(events)

    def loading(server: Server) -> ssl.SSLContext:
        if left:
            left.pop(0)()
        return load(server)

    monkeypatch.setattr(certificate_pair, "_context", loading)


def test_files_that_are_replaced_while_they_are_read_are_read_again(
    files: Files, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = issued(authority, days=9)
    meanwhile(monkeypatch, lambda: files.replace(second))
    read = read_pair(server(files))
    monkeypatch.undo()
    assert read.digest == read_pair(server(files)).digest
    assert read.certificate == read_pair(server(files)).certificate


def test_half_of_an_exchange_is_not_taken_for_a_mistake(
    files: Files, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = issued(authority)
    certificate, key = second.cert_chain_pems[0].bytes(), second.private_key_pem.bytes()
    meanwhile(
        monkeypatch,
        lambda: files.replace_certificate(certificate),
        lambda: files.replace_key(key),
    )
    assert read_pair(server(files)).certificate is not None


def test_files_that_never_rest_are_refused(
    files: Files, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, *[lambda: files.replace(issued(authority))] * 9)
    with pytest.raises(CertificateUnusable, match="change while they are read"):
        read_pair(server(files))


def test_a_file_without_an_end_is_named_and_quotes_no_key(files: Files) -> None:
    whole = files.key.read_bytes()
    files.replace_key(whole[: len(whole) // 2])
    with pytest.raises(CertificateUnusable) as caught:
        read_pair(server(files))
    assert "not a whole one" in str(caught.value)
    assert whole.split(b"\n")[1].decode() not in str(caught.value)

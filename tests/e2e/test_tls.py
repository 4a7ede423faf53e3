"""The server speaks HTTPS when it has a certificate."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization

from tests.e2e.conftest import Upstream
from tests.kit.certificates import Client, Files, issued, serial_of
from tests.kit.live import accounts
from tests.kit.process import listening, pointed_at, started, write_config


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def with_certificate(text: str, certificate: Path, key: Path) -> str:
    lines = f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    return text.replace("[upstream]", f"{lines}[upstream]")


async def test_with_a_certificate_it_serves_https_and_drains_like_http(
    authority: trustme.CA, upstream: Upstream, config: Path, state: Path
) -> None:
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = config.with_name("chain.pem"), config.with_name("key.pem")
    issued.private_key_pem.write_to_path(str(key))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(certificate), append=True)
    write_config(
        config, with_certificate(pointed_at(upstream.url, accounts("a")), certificate, key)
    )
    async with listening(config, state=state) as process:
        assert process.url == f"https://127.0.0.1:{process.port}"
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", process.port, ssl_context=trusting, https_compatible=True
        )
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        said = b""
        with trio.fail_after(10):
            while not said.endswith(b"}}"):
                said += await stream.receive_some()
        assert said.startswith(b"HTTP/1.1 200")
        async with await trio.open_tcp_stream("127.0.0.1", process.port) as plain:
            await plain.send_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            with trio.fail_after(10):
                assert b"200" not in bytes(await plain.receive_some(1000))
        distrusting = ssl.create_default_context()
        with pytest.raises(trio.BrokenResourceError):
            async with await trio.open_ssl_over_tcp_stream(
                "127.0.0.1", process.port, ssl_context=distrusting
            ) as refused:
                await refused.do_handshake()
        silent = await trio.open_tcp_stream("127.0.0.1", process.port)  # never shakes hands
        began = process.signal(signal.SIGTERM)
        with trio.fail_after(10):
            assert await stream.receive_some() == b"", "an idle connection is closed politely"
        await trio.aclose_forcefully(stream)
        await trio.aclose_forcefully(silent)
        assert await process.ends() == 0
        assert trio.current_time() - began < 10
        assert "Traceback" not in process.stderr


async def test_certificates_that_cannot_be_used_are_78(
    authority: trustme.CA, config: Path, tmp_path: Path
) -> None:
    mine, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    certificate, key, wrong = (tmp_path / name for name in ("c.pem", "k.pem", "wrong.pem"))
    mine.cert_chain_pems[0].write_to_path(str(certificate))
    mine.private_key_pem.write_to_path(str(key))
    other.private_key_pem.write_to_path(str(wrong))
    locked = tmp_path / "locked.pem"
    locked.write_bytes(with_password(mine.private_key_pem.bytes()))
    for used in (wrong, certificate, tmp_path / "missing.pem", tmp_path, locked):
        text = with_certificate(pointed_at("http://127.0.0.1:9"), certificate, used)
        write_config(config, text)
        async with started(config, state=tmp_path / "state") as process:
            assert await process.ends() == 78, (used, process.stderr)
            await process.says(r"server\.tls_key")
            assert "Traceback" not in process.stderr


def with_password(key: bytes) -> bytes:
    encryption = serialization.BestAvailableEncryption(b"secret")
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
async def test_a_hang_up_takes_over_a_renewed_certificate_and_a_bad_one_changes_nothing(
    authority: trustme.CA, upstream: Upstream, config: Path, state: Path, tmp_path: Path
) -> None:
    first, second = issued(authority), issued(authority)
    files = Files(tmp_path, first)
    text = pointed_at(upstream.url, accounts("a"))
    write_config(config, text.replace("[upstream]", f"{files.configuration}[upstream]"))
    async with listening(config, state=state) as process:
        client = Client(authority, process.url)
        assert await client.served_with() == serial_of(first)
        files.replace_key(second.private_key_pem.bytes())
        process.signal(signal.SIGHUP)
        await process.says("another certificate's")
        assert await client.served_with() == serial_of(first)
        files.replace(second)
        process.signal(signal.SIGHUP)
        await process.says("a new certificate is in force")
        assert await client.served_with() == serial_of(second)
        assert "Traceback" not in process.stderr

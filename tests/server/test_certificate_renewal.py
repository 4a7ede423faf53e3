"""The front end's certificate is replaced while it serves, over real sockets."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from actors import certificate_watcher
from server.scripted import ScriptedUpstream, text_stream
from tests.e2e.conversation import GATE, held_stream, question
from tests.kit.certificates import Client, Files, issued, serial, serial_of
from tests.kit.live import PATIENCE_SECONDS, accounts
from tests.kit.program import RunningProgram, program_over_tcp
from tests.kit.wire import Answered

JSON = [("content-type", "application/json"), ("x-api-key", "any")]
QUESTION = question(stream=True)


class Scene:
    """A program with a certificate, its files, and a client who trusts their authority."""

    def __init__(
        self, authority: trustme.CA, files: Files, program: RunningProgram, text: str
    ) -> None:
        self.authority, self.files, self.program = authority, files, program
        self.client = Client(authority, program.url)
        self.text = text

    async def reload(self) -> Answered:
        return await self.ask("POST", "/status/reload", b"")

    async def tls(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.ask("GET", "/status")).body)["tls"]
        return found

    async def ask(self, method: str, target: str, body: bytes | None = None) -> Answered:
        async with await self.client.connect() as wire:
            return await wire.ask(method, target, JSON, body)

    async def until(self, pair: trustme.LeafCert) -> None:
        """The watch has taken it."""
        with trio.fail_after(PATIENCE_SECONDS):
            while await self.serial() != serial_of(pair):  # noqa: ASYNC110 - files
                await trio.sleep(0.05)

    async def serial(self) -> str | None:
        """What a client is served with now; None where it does not trust that."""
        try:
            return await self.client.served_with()
        except trio.BrokenResourceError:
            return None

    async def until_refused(self) -> dict[str, Any]:
        with trio.fail_after(PATIENCE_SECONDS):
            while not (tls := await self.tls())["error"]:  # noqa: ASYNC110 - files
                await trio.sleep(0.05)
        return tls


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The files are looked at ten times as often."""
    monkeypatch.setattr(certificate_watcher, "CHECK_SECONDS", 0.1)
    caplog.set_level(logging.INFO)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def first(authority: trustme.CA, request: pytest.FixtureRequest) -> trustme.LeafCert:
    if getattr(request, "param", "") == "expired":
        return issued(authority, began=-9, days=-2)
    return issued(authority)


@pytest.fixture
def express() -> bool:
    return True


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[ScriptedUpstream, str]]:
    async with trio.open_nursery() as nursery:
        upstream = ScriptedUpstream()
        yield upstream, await nursery.start(upstream.serve_tcp)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def scene(
    authority: trustme.CA,
    first: trustme.LeafCert,
    express: bool,
    upstream: tuple[ScriptedUpstream, str],
    tmp_path: Path,
) -> AsyncIterator[Scene]:
    files = Files(tmp_path, first)
    text = f'[upstream]\nbase_url = "{upstream[1]}"\n{accounts("work")}\n[server]\n'
    text += f"express = {str(express).lower()}\n"
    async with program_over_tcp(text + files.configuration, tmp_path / "state") as program:
        yield Scene(authority, files, program, text)


@pytest.mark.parametrize("express", [True, False])
async def test_a_renewed_certificate_counts_for_new_connections_and_streams_go_on(
    scene: Scene, first: trustme.LeafCert, upstream: tuple[ScriptedUpstream, str], express: bool
) -> None:
    upstream[0].script("key-work", held_stream(), then=text_stream("hello"))
    kept = await scene.client.connect()
    assert serial(kept) == serial_of(first)
    streaming = await scene.client.connect()
    await streaming.send("POST", "/v1/messages", JSON, QUESTION)
    head = await streaming.answer_head()
    assert head.status == 200
    await streaming.read_until(b"content_block_delta")
    second = issued(scene.authority)
    scene.files.replace(second)
    await scene.until(second)
    assert serial(kept) == serial_of(first)
    assert (await kept.ask("POST", "/v1/messages", JSON, QUESTION)).status == 200
    upstream[0].gate(GATE).open()
    rest = await streaming.read_until(b"0\r\n\r\n")
    assert b"message_stop" in rest
    await kept.leave()
    await streaming.leave()


async def test_a_reload_takes_it_at_once_and_status_shows_it(scene: Scene) -> None:
    second = issued(scene.authority, days=30)
    before = await scene.tls()
    assert before["names"] == ["127.0.0.1", "localhost"]
    assert "CN=box.test" in before["subject"]
    scene.files.replace(second)
    assert (await scene.reload()).json() == {"restart_needed": []}
    assert await scene.client.served_with() == serial_of(second)
    after = await scene.tls()
    assert after["not_after"] < before["not_after"]
    assert after["error"] is None


async def test_a_reload_with_files_that_are_no_pair_is_refused_whole(
    scene: Scene, first: trustme.LeafCert
) -> None:
    scene.files.replace_key(issued(scene.authority).private_key_pem.bytes())
    answered = await scene.reload()
    assert answered.status == 422
    (said,) = answered.json()["errors"]
    assert "server.tls_certificate" in said
    assert "another certificate's" in said
    assert await scene.client.served_with() == serial_of(first)
    await scene.until_refused()  # the watch has seen it too
    assert scene.program.parts.config_error is not None
    second = issued(scene.authority)
    scene.files.replace(second)
    await scene.until(second)
    with trio.fail_after(PATIENCE_SECONDS):
        while scene.program.parts.config_error:  # noqa: ASYNC110 - it reloads by itself
            await trio.sleep(0.02)


async def test_a_certificate_without_its_key_is_told_once_and_taken_when_that_follows(
    scene: Scene, first: trustme.LeafCert, caplog: pytest.LogCaptureFixture
) -> None:
    second = issued(scene.authority)
    scene.files.replace_certificate(second.cert_chain_pems[0].bytes())
    tls = await scene.until_refused()
    assert "another certificate's" in tls["error"]
    assert await scene.client.served_with() == serial_of(first)
    await trio.sleep(0.5)  # it is looked at again, and nothing more is said
    said = [record for record in caplog.records if "stays" in record.getMessage()]
    assert len(said) == 1
    assert "until" in said[0].getMessage()
    scene.files.replace_key(second.private_key_pem.bytes())
    await scene.until(second)
    assert (await scene.tls())["error"] is None


@pytest.mark.parametrize("spoil", ["half", "empty", "gone", "directory", "expired", "not yet"])
async def test_what_cannot_be_used_is_refused_and_the_old_one_stays(
    scene: Scene, first: trustme.LeafCert, spoil: str
) -> None:
    files, second = scene.files, issued(scene.authority)
    expected = "no PEM file, or not a whole one"
    match spoil:
        case "half":
            whole = second.cert_chain_pems[0].bytes()
            files.replace_certificate(whole[: len(whole) // 2])
        case "empty":
            files.replace_key(b"")
        case "gone":
            files.key.unlink()
            expected = "cannot be read"
        case "directory":
            files.key.unlink()
            files.key.mkdir()
            expected = "cannot be read"
        case "expired":
            files.replace(issued(scene.authority, began=-9, days=-2))
            expected = "it expired on"
        case "not yet":
            files.replace(issued(scene.authority, began=2))
            expected = "it does not begin before"
    assert expected in (await scene.until_refused())["error"]
    assert await scene.client.served_with() == serial_of(first)
    if spoil == "directory":
        files.key.rmdir()
    files.replace(second)
    await scene.until(second)


async def test_another_path_in_the_configuration_needs_no_restart_but_plain_http_does(
    scene: Scene, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    second = issued(scene.authority)
    scene.program.change(scene.text + Files(other, second).configuration)
    assert (await scene.reload()).json() == {"restart_needed": []}
    assert await scene.client.served_with() == serial_of(second)
    scene.program.change(scene.text)
    keys = ["server.tls_certificate", "server.tls_key"]
    assert (await scene.reload()).json() == {"restart_needed": keys}
    assert await scene.client.served_with() == serial_of(second)


@pytest.mark.parametrize("first", [pytest.param("expired", id="expired")], indirect=True)
async def test_one_that_has_expired_serves_with_a_warning_until_a_new_one_comes(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    assert any("clients will refuse it" in record.getMessage() for record in caplog.records)
    assert await scene.serial() is None
    second = issued(scene.authority)
    scene.files.replace(second)
    await scene.until(second)

"""Who is let in, on every route, and that nothing of the others goes upstream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from server.scripted import Answer, Wait, stall_before_head
from tests.kit.live import Live
from tests.kit.raw_client import crashes, serving
from tests.kit.wire import Answered, Headers

ROUTES = [
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/files"),
    ("POST", "/api/v1/messages"),
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/status"),
    ("GET", "/status/accounts"),
    ("POST", "/status/reload"),
    ("POST", "/status/drain"),
    ("POST", "/status/accounts/work/disable"),
    ("GET", "/nothing"),
    ("OPTIONS", "/v1/messages"),
]

FOREIGN: dict[str, Headers] = {
    "another host": [("Host", "evil.example")],
    "another host with our port": [("Host", "evil.example:4080")],
    "a host that begins like ours": [("Host", "localhost.evil.example")],
    "a host that looks like an address": [("Host", "127.0.0.1.evil.example")],
    "an address that is not ours": [("Host", "192.168.0.1")],
    "an empty host": [("Host", "")],
    "a page's origin": [("Host", "localhost"), ("Origin", "https://evil.example")],
    "the origin null": [("Host", "localhost"), ("Origin", "null")],
    "our own origin": [("Host", "localhost"), ("Origin", "http://localhost:4080")],
    "a cross-site page": [("Host", "localhost"), ("Sec-Fetch-Site", "cross-site")],
}

JSON: Headers = [("Content-Type", "application/json")]
TOKEN = '[access]\ntoken = "sesame"\n'


@pytest.fixture
async def live(tmp_path: Path) -> AsyncGenerator[Live, None]:
    async with serving(tmp_path) as live:
        yield live


async def ask(
    live: Live, method: str, target: str, headers: Headers, body: bytes = b""
) -> Answered:
    """A request with exactly these headers (`Wire` would add its own Host)."""
    sent = [*headers, ("Content-Length", str(len(body)))]
    if not any(name == "Host" for name, _ in headers):
        sent.insert(0, ("Host", "localhost"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent)
    async with await live.connect() as wire:
        head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        await wire.stream.send_all(head + body)
        return await wire.answer(to_head=method == "HEAD")


@pytest.mark.promise("X2")
@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_foreign_host_or_page_is_refused_on_every_route(
    kind: str, live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    for method, target in ROUTES:
        answered = await ask(live, method, target, FOREIGN[kind])
        assert answered.status == 403, (method, target)
        assert not answered.all("access-control-allow-origin")
        if method != "HEAD":
            assert answered.json()["error"]["type"] == "permission_error"
    assert live.upstream.requests == []
    assert not live.program.program.stopping
    assert crashes(caplog) == []


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:1", "localhost.", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:4080"],
)
async def test_a_name_of_this_machine_is_ours(live: Live, host: str) -> None:
    assert (await ask(live, "GET", "/health", [("Host", host)])).status == 200


async def test_hosts_and_origins_of_the_configuration_are_ours(tmp_path: Path) -> None:
    config = (
        '[server]\nallowed_hosts = ["Proxy.Example"]\nallowed_origins = ["http://ok.example"]\n'
    )
    async with serving(tmp_path, config) as live:
        live.upstream.default(Answer(body=b"{}"))
        for headers in (
            [("Host", "proxy.example:80")],
            [("Host", "localhost"), ("Origin", "http://ok.example")],
        ):
            assert (await ask(live, "POST", "/v1/messages", headers, b"{}")).status == 200


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "x-forwarded-host"])
async def test_a_forwarded_request_is_not_of_this_machine(live: Live, name: str) -> None:
    """Management is closed to it; liveness and the relayed routes are not."""
    headers = [(name, "127.0.0.1")]
    for method, target in ROUTES:
        answered = await ask(live, method, target, headers)
        management = target not in ("/health", "/health/live") and "/v1/" not in target
        expected = management and (method, target) != ("HEAD", "/")
        assert (answered.status == 401) == expected, (method, target)


@pytest.mark.promise("X1")
async def test_with_a_token_every_route_but_liveness_asks_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path, TOKEN) as live:
        for method, target in ROUTES:
            for headers in ([], [("x-api-key", "wrong")], [("authorization", "Bearer sesam")]):
                answered = await ask(live, method, target, headers)
                free = method == "HEAD" or target.startswith("/health")
                assert answered.status == (200 if free else 401), (method, target)
                assert free or answered.header("x-should-retry") == "false"
        assert live.upstream.requests == []


@pytest.mark.promise("X1")
@pytest.mark.parametrize(
    "header",
    [("x-api-key", "sesame"), ("Authorization", "bearer sesame"), ("x-supervisor-key", "sesame")],
)
async def test_the_token_opens_management_and_the_relay(
    tmp_path: Path, header: tuple[str, str]
) -> None:
    async with serving(tmp_path, TOKEN) as live:
        live.upstream.default(Answer(body=b"{}"))
        forwarded = [header, ("X-Forwarded-For", "10.0.0.1")]
        assert (await ask(live, "GET", "/status", forwarded)).status == 200
        assert (await ask(live, "POST", "/v1/messages", [header], b"{}")).status == 200
    (seen,) = live.upstream.requests
    assert seen.credential == "key-work"
    assert b"sesame" not in b"".join(value for _, value in seen.headers)


@pytest.mark.promise("X2")
@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_a_management_post_wants_json(live: Live, media_type: str) -> None:
    headers = [("Content-Type", media_type)] if media_type else []
    refused = await ask(live, "POST", "/status/reload", headers, b"{}")
    assert (refused.status, refused.header("connection")) == (415, "close")
    accepted = await ask(live, "POST", "/status/reload", headers)
    assert accepted.status == 200


async def test_a_refusal_is_in_the_journal_and_has_the_dialect_asked(live: Live) -> None:
    headers = [("Host", "evil.example"), ("x-request-id", "mine-1")]
    answered = await ask(live, "POST", "/v1/chat/completions", headers, b"{}")
    assert set(answered.json()) == {"error"}
    assert answered.header("x-supervisor-request-id") == "mine-1"
    (line,) = await live.wait_for_lines()
    assert (line["request_id"], line["status"], line["terminal"]) == ("mine-1", 403, "refused")


async def test_a_question_of_our_own_is_answered_and_no_line_in_the_log(live: Live) -> None:
    """`supervisor doctor` asks it: nobody's traffic, and no error of anybody's."""
    nobody = live.program.parts.door.nobody
    body = b'{"model":"claude-doctor-1","max_tokens":1,"messages":[]}'
    for name in (nobody, "somebody"):
        headers = [("x-account-name", name), ("content-type", "application/json")]
        answered = await live.ask("POST", "/v1/messages", headers, body)
        assert (answered.status, name.encode() in answered.body) == (404, True)
    refused = await live.ask(
        "POST", "/v1/messages", [("x-account-name", nobody), ("origin", "https://a.test")], body
    )
    assert refused.status == 403
    lines = await live.wait_for_lines(2)
    assert [line["status"] for line in lines] == [403, 404]
    assert "somebody" in lines[1]["reason"]
    assert live.upstream.requests == []


async def test_the_absolute_form_is_told_what_to_set_instead(live: Live) -> None:
    answered = await ask(live, "POST", "http://localhost/v1/messages", JSON, b"{}")
    assert answered.status == 400
    assert "HTTP_PROXY" in answered.json()["error"]["message"]
    assert live.upstream.requests == []


@pytest.mark.promise("C4")
async def test_a_declared_body_past_the_limit_is_refused_in_the_dialect_asked(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, "[server]\nmax_body_bytes = 10\n") as live:
        answered = await ask(live, "POST", "/v1/chat/completions", [], b"x" * 11)
        assert (answered.status, answered.json()["error"]["type"]) == (413, "request_too_large")
        (line,) = await live.wait_for_lines()
        assert line["status"] == 413


async def test_a_restart_of_the_acceptor_cuts_nobody_and_refuses_nobody(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream goes on, an idle connection stays, and who comes meanwhile waits."""
    live.upstream.default(Answer(parts=(Wait("go"),)))
    accept = trio.SocketListener.accept
    port = int(live.url.rpartition(":")[2])
    crashes_left = 3

    async def crashing(self: trio.SocketListener) -> trio.SocketStream:
        nonlocal crashes_left
        if crashes_left and self.socket.getsockname()[1] == port:
            crashes_left -= 1
            raise RuntimeError("injected")
        return await accept(self)

    async with await live.connect() as idle, await live.connect() as busy:
        assert (await idle.ask("GET", "/health/live")).status == 200
        await busy.send("POST", "/v1/messages", body=b"{}")
        await live.upstream.wait_for_requests(1)
        monkeypatch.setattr(trio.SocketListener, "accept", crashing)
        assert (await live.ask("GET", "/health/live")).status == 200  # ends the pending accept
        began = trio.current_time()
        newcomers: list[int] = []

        async def newcomer() -> None:
            newcomers.append((await live.ask("GET", "/health/live")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(newcomer)
        assert newcomers == [200] * 10
        assert crashes_left == 0
        assert trio.current_time() - began < 5
        assert (await idle.ask("GET", "/health/live")).status == 200
        live.upstream.gate("go").open()
        assert (await busy.answer()).status == 200
        actors = (await idle.ask("GET", "/status/actors")).json()["actors"]
        (front_end,) = [actor for actor in actors if actor["name"] == "front-end"]
        assert front_end["restarts"] == 3


async def test_a_client_that_is_refused_in_its_body_holds_nothing(live: Live) -> None:
    live.upstream.default(stall_before_head())
    for _ in range(5):
        await ask(live, "POST", "/v1/messages", FOREIGN["another host"], b"x" * 100_000)
    assert live.program.parts.door.ports.budget.held == 0

"""`auth login --pkce`: a browser, an address of this machine to come back to, and the exchange."""

from __future__ import annotations

import http.server
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import trio

from protocol.config import Config
from protocol.login import Login, Pair
from protocol.oauth import SCOPES, EndpointUnreachable, Refused, read_answer
from protocol.pkce import Attempt, LoginRefused
from server.token_endpoint import TokenEndpoint
from supervisor.version import version

PATH = "/callback"
PATIENCE_SECONDS = 600.0
"""For a person to log in."""
_LOOK_SECONDS = 0.2

_PAGE = b"<!doctype html><title>llm-supervisor</title><p>You can close this page."


class CallbackServer:
    """Waits on loopback for the browser to come back. One answer, then it closes."""

    def __init__(self) -> None:
        waiting = self
        self.answer: str | None = None

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                right = urlsplit(self.path).path == PATH
                self.send_response(200 if right else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(_PAGE)))
                self.end_headers()
                self.wfile.write(_PAGE)
                if right:
                    waiting.answer = self.path

            def log_message(self, format: str, *arguments: Any) -> None:
                """The path has the code in it: nothing is logged."""

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_SECONDS,))
        self._thread.daemon = True
        self._thread.start()

    @property
    def redirect_uri(self) -> str:
        """Where the browser is sent after the login."""
        return f"http://localhost:{self._server.server_port}{PATH}"

    def wait(self, seconds: float = PATIENCE_SECONDS) -> str:
        """The target that the browser came with. Raises LoginRefused after `seconds`."""
        until = time.monotonic() + seconds
        while self.answer is None:
            if time.monotonic() > until:
                raise LoginRefused(f"nobody logged in within {seconds / 60:g} minutes")
            time.sleep(_LOOK_SECONDS)
        return self.answer

    def close(self) -> None:
        """Lets the port go."""
        self._server.shutdown()
        self._server.server_close()


def attempt(config: Config, redirect_uri: str) -> Attempt:
    """A new login at the configured endpoints. Raises LoginRefused where one is missing."""
    oauth = config.oauth
    wanted = {
        "oauth.client_id": oauth.client_id,
        "oauth.authorize_url": oauth.authorize_url,
        "oauth.token_url": oauth.token_url,
    }
    missing = [key for key, value in wanted.items() if not value]
    if missing:
        raise LoginRefused(f"--pkce needs {', '.join(missing)} in the configuration")
    return Attempt(
        oauth.authorize_url,
        oauth.client_id,
        redirect_uri,
        SCOPES,
        secrets.token_urlsafe(48),
        secrets.token_urlsafe(32),
    )


def exchange(
    config: Config, begun: Attempt, code: str, endpoint: Callable[[], TokenEndpoint]
) -> Login:
    """The login that the code is good for. Raises LoginRefused."""

    async def post() -> tuple[int, bytes]:
        return await endpoint().post(config.oauth.token_url, begun.exchange_body(code))

    try:
        status, body = trio.run(post)
    except EndpointUnreachable as reason:
        raise LoginRefused(f"{config.oauth.token_url}: {reason}") from reason
    pair = read_answer(status, body, time.time())
    if isinstance(pair, Refused):
        raise LoginRefused(
            f"{config.oauth.token_url} gave no tokens: {pair.status} {pair.error}".strip()
        )
    return login_of(pair, begun.client_id)


def login_of(pair: Pair, client_id: str) -> Login:
    """What the store keeps of it."""
    return Login(
        pair.access_token,
        pair.refresh_token,
        pair.expires_at,
        pair.scopes or (),
        pair.email,
        pair.owner or "",
        client_id,
    )


def endpoint_of(config: Config) -> TokenEndpoint:
    """The way to the token endpoint, with the configuration's trust anchors and time limit."""
    from server.upstream import DirectUpstream
    from server.upstream_port import Limits
    from supervisor.parts import trust_anchors

    seconds = config.refresh.timeout
    limits = Limits(seconds, seconds, seconds, 1)
    tls = trust_anchors(config)
    return TokenEndpoint(
        lambda origin: DirectUpstream(origin, limits, tls), lambda: seconds, version()
    )

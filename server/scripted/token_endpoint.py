"""A token endpoint with single-use refresh tokens, and the API that honours its access tokens.

logins = ScriptedLogins(now=clock)
upstream = ScriptedUpstream(default=logins.serve)
pair = logins.grant("work")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from server.scripted.answers import Answer
from server.scripted.errors import unauthorized
from server.scripted.replies import reply_to
from server.scripted.requests import SeenRequest

TOKEN_PATH = "/v1/oauth/token"  # noqa: S105 - a path
LIFETIME = 28800.0
"""Seconds; what the real one gives."""

Serve: TypeAlias = "Callable[[SeenRequest], Answer]"


class Granted(msgspec.Struct, frozen=True):
    """A pair of tokens; `expires_at` in epoch seconds."""

    access_token: str
    refresh_token: str
    expires_at: float


class ScriptedLogins:
    """`calls` are the refresh tokens that were sent, in order, and `reused` those among them that
    had been used before. `failures` are answered first, one by one, and use no token up.
    `lose_answers`: so many answers are not sent, though their tokens are used up.
    """

    def __init__(
        self, now: Callable[[], float], *, lifetime: float = LIFETIME, serve: Serve = reply_to
    ) -> None:
        self.calls: list[str] = []
        self.reused: list[str] = []
        self.agents: list[str | None] = []
        self.bodies: list[dict[str, object]] = []
        self.failures: list[Answer] = []
        self.lose_answers = 0
        self.delay = 0.0
        self.lifetime = lifetime
        self._now = now
        self._serve = serve
        self._current: dict[str, str] = {}
        self._used: set[str] = set()
        self._access: dict[str, float] = {}
        self._count = 0

    def grant(self, family: str, *, lifetime: float | None = None) -> Granted:
        """A new pair; the family's refresh token before it is good for nothing from here on."""
        self._count += 1
        lasts = self.lifetime if lifetime is None else lifetime
        granted = Granted(
            f"sk-ant-oat01-{family}-{self._count}",
            f"sk-ant-ort01-{family}-{self._count}",
            self._now() + lasts,
        )
        self.revoke_family(family)
        self._current[granted.refresh_token] = family
        self._access[granted.access_token] = granted.expires_at
        return granted

    def revoke_access(self, access_token: str) -> None:
        """The API refuses it from here on."""
        self._access.pop(access_token, None)

    def revoke_family(self, family: str) -> None:
        """None of its refresh tokens is good for anything from here on."""
        for token in [token for token, name in self._current.items() if name == family]:
            del self._current[token]
            self._used.add(token)

    def is_current(self, refresh_token: str) -> bool:
        """Whether a refresh with it would be answered with tokens."""
        return refresh_token in self._current

    def serve(self, seen: SeenRequest) -> Answer:
        """The token endpoint at its path; elsewhere the API, for tokens that are good."""
        if seen.path == TOKEN_PATH:
            return self.refresh(seen)
        good = self._access.get(seen.bearer or "", 0.0) > self._now()
        return self._serve(seen) if good else unauthorized("OAuth token has expired")

    def refresh(self, seen: SeenRequest) -> Answer:
        """One request at the token endpoint."""
        body = seen.json()
        self.bodies.append(body)
        self.agents.append(seen.header("user-agent"))
        sent = str(body.get("refresh_token", ""))
        self.calls.append(sent)
        if self.failures:
            return self.failures.pop(0)
        family = self._current.get(sent)
        if family is None:
            if sent in self._used:
                self.reused.append(sent)
            return oauth_error("invalid_grant")
        granted = self.grant(family)
        if self.lose_answers:
            self.lose_answers -= 1
            return Answer(instead_of_head="reset")
        return Answer(
            headers=(("content-type", "application/json"),),
            delay=self.delay,
            body=msgspec.json.encode(
                {
                    "token_type": "Bearer",
                    "access_token": granted.access_token,
                    "refresh_token": granted.refresh_token,
                    "expires_in": self.lifetime,
                    "scope": "user:inference user:profile",
                    "account": {"uuid": f"uuid-{family}", "email_address": f"{family}@x.example"},
                }
            ),
        )


def oauth_error(error: str, status: int = 400) -> Answer:
    """A refusal of the token endpoint (RFC 6749 section 5.2)."""
    body = msgspec.json.encode({"error": error, "error_description": "as scripted"})
    return Answer(status=status, headers=(("content-type", "application/json"),), body=body)

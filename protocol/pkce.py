"""The OAuth 2.0 code flow with PKCE (RFC 6749 section 4.1, RFC 7636), for `auth login --pkce`: pure.

Nothing here is anybody's in particular: whose endpoints and which client id is configuration.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec


class LoginRefused(Exception):
    """The flow did not end with a code; the message says why and carries no secret."""


class Attempt(msgspec.Struct, frozen=True):
    """One login. `verifier` and `state` are random, 43 to 128 characters each, never used twice."""

    authorize_url: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    verifier: str
    state: str

    def __repr__(self) -> str:
        return f"Attempt({self.redirect_uri})"

    @property
    def challenge(self) -> str:
        """The hash of the verifier, as RFC 7636 section 4.2 (S256) has it."""
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")

    def url(self) -> str:
        """Where the person logs in."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.scopes),
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "state": self.state,
        }
        separator = "&" if urlsplit(self.authorize_url).query else "?"
        return f"{self.authorize_url}{separator}{urlencode(query)}"

    def code_of(self, answer: str) -> str:
        """The code in what came back: the whole redirect URL, its target, or `code#state` as pasted.

        Raises LoginRefused when the provider refused, or when the answer is to another question.
        """
        answer = answer.strip()
        parts = urlsplit(answer)
        if parts.query:
            given = parse_qs(parts.query)
            if "error" in given:
                raise LoginRefused(f"the provider refused the login: {_plain(given['error'][0])}")
            code, state = given.get("code", [""])[0], given.get("state", [""])[0]
        else:
            code, _, state = answer.partition("#")
        if not code:
            raise LoginRefused("there is no code in that; paste the whole address you were sent to")
        if not hmac.compare_digest(state.encode(), self.state.encode()):
            raise LoginRefused("that answer belongs to another login; begin again")
        return code

    def exchange_body(self, code: str) -> bytes:
        """The JSON that asks the token endpoint for the tokens (`wire.md` A15)."""
        return msgspec.json.encode(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self.redirect_uri,
                "client_id": self.client_id,
                "code_verifier": self.verifier,
                "state": self.state,
            }
        )


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:120]

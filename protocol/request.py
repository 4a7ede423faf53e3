"""The head of a client's request, and what its path means to us."""

from __future__ import annotations

import enum
import functools
from typing import Any
from urllib.parse import unquote

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]
"""Name and value pairs in the order and case of the wire."""

ALIAS_PREFIX = "/api"
"""Clients configured with `<base>/api` find the same routes below it."""


class Peer(msgspec.Struct, frozen=True):
    """The other end of a client's connection; `address` is "" where there is none (in memory)."""

    address: str = ""
    loopback: bool = True


class RequestHead(msgspec.Struct, frozen=True, dict=True):
    """Method, target and headers as the client sent them.

    What is asked for again and again is worked out once (`dict` holds it; it is no field).
    """

    method: str
    target: bytes
    headers: Headers
    peer: Peer = Peer()

    @functools.cached_property
    def path(self) -> str:
        """The decoded path, without the query.

        A target that does not begin with a slash (`%2Fv1/messages`, `*`) stays as it is: decoded it
        would look like a path of ours, while the upstream is asked for something else.
        """
        text = self.target.partition(b"?")[0].decode("ascii", "replace")
        return unquote(text) if text.startswith("/") else text

    @functools.cached_property
    def route(self) -> Route:
        """The route that serves it."""
        return route_of(self.method, self.path)

    @functools.cached_property
    def remembered(self) -> dict[str, Any]:
        """Room for what others work out of this head, each under a name of its own.

        Heads that differ in their Content-Length alone share it: nothing in it depends on that.
        """
        return {}

    def with_length(self, place: int, digits: bytes) -> RequestHead:
        """The same head with another Content-Length, which is its header number `place`."""
        name, _ = self.headers[place]
        headers = (*self.headers[:place], (name, digits), *self.headers[place + 1 :])
        head = RequestHead(self.method, self.target, headers, self.peer)
        head.__dict__.update(path=self.path, route=self.route, remembered=self.remembered)
        return head

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header `name` (lower case), or None."""
        return self._first.get(name)

    @functools.cached_property
    def _first(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for name, value in self.headers:
            found.setdefault(name.lower(), value)
        return found

    def text(self, name: bytes) -> str | None:
        """The first value of the header `name` as text, or None."""
        value = self.header(name)
        return None if value is None else value.decode("latin-1")

    def texts(self, name: bytes) -> list[str]:
        """Every value of the header `name` as text."""
        if name not in self._first:
            return []
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name]


class Route(enum.Enum):
    """Who answers a path: the relay for the first five, ourselves for OWN."""

    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    MODELS = "models"
    CHAT_COMPLETIONS = "chat_completions"
    OTHER = "other"
    OWN = "own"

    @property
    def repeatable(self) -> bool:
        """May a failed attempt be repeated with another account? (`interface.md` rule 16)"""
        return self not in (Route.OTHER, Route.CHAT_COMPLETIONS, Route.OWN)


_POST_ROUTES = {
    "/v1/messages": Route.MESSAGES,
    "/v1/messages/count_tokens": Route.COUNT_TOKENS,
    "/v1/chat/completions": Route.CHAT_COMPLETIONS,
}


def without_alias(path: str) -> str:
    """`path` below the root: `/api/v1/messages` is `/v1/messages`."""
    return path.removeprefix(ALIAS_PREFIX) if path.startswith(ALIAS_PREFIX + "/v1/") else path


def route_of(method: str, path: str) -> Route:
    """The route that serves `path` (decoded, without its query)."""
    path = without_alias(path)
    if not path.startswith("/v1/"):
        return Route.OWN
    if any(part in ("..", ".") for part in path.replace("\\", "/").split("/")):
        return Route.OWN  # never let an upstream resolve a path that we judged by its prefix
    if method == "POST" and path in _POST_ROUTES:
        return _POST_ROUTES[path]
    if method in ("GET", "HEAD") and (path == "/v1/models" or path.startswith("/v1/models/")):
        return Route.MODELS
    return Route.OTHER


_OF_OPENAI = frozenset(
    [
        "assistants",
        "audio",
        "batches",
        "chat",
        "chatkit",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "fine_tuning",
        "images",
        "moderations",
        "realtime",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    ]
)
"""What OpenAI's API alone has; Anthropic's batches are below its messages."""

_OF_BOTH = frozenset({"models", "files"})


def of_openai(head: RequestHead, route: Route) -> bool:
    """Whether the caller speaks OpenAI's dialect (`interface.md` rule 16)."""
    if route is Route.MESSAGES:
        return False
    return is_openais(head.path, versioned=head.header(b"anthropic-version") is not None)


def is_openais(path: str, *, versioned: bool) -> bool:
    """Whether a client of OpenAI's asks for `path` (decoded), be it below `/v1` or not.

    `versioned`: it names an `anthropic-version`, as Anthropic's clients do.
    """
    first, _, rest = path.removeprefix("/").partition("/")
    while first in ("api", "v1"):
        first, _, rest = rest.partition("/")
    return first in _OF_OPENAI or (first in _OF_BOTH and not versioned)


def upstream_target(target: bytes) -> bytes:
    """The target to ask upstream for: the client's own bytes, less the alias prefix."""
    if target.startswith(b"/v1/"):
        return target
    if not RequestHead("", target, ()).path.startswith(ALIAS_PREFIX + "/v1/"):
        return target
    place = 0
    for _ in ALIAS_PREFIX:  # each of its characters may be percent-encoded, as in `/%61pi/v1/...`
        place += 3 if target[place : place + 1] == b"%" else 1
    # A slash after it that was written as %2F would leave a target without its first slash.
    return target[place:] if target[place : place + 1] == b"/" else b"/" + target[place + 3 :]

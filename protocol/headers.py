"""Which headers go on, in both directions.

Everything that is not named here passes unchanged, in its order and case: an upstream's contract
asks a gateway to treat headers and betas as open lists (`anthropic-beta`, `anthropic-version` and
unknown `anthropic-*` verbatim; official gateway protocol page).
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.accounts import Credential
from protocol.limits_evidence import read_seconds
from protocol.request import Headers

# RFC 9110 section 7.6.1, and the two names of older clients and proxies.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"cookie"})
"""What a client may prove itself with. With accounts none of it goes upstream."""

OURS = frozenset({b"x-account-name", b"x-request-id", b"x-supervisor-key"})
"""Meant for this program; never sent upstream."""

# Made anew by the connection to the upstream, or already answered by us (Expect).
_FRAMING = frozenset({b"host", b"content-length", b"expect"})

_NOT_UPSTREAM = HOP_BY_HOP | _FRAMING | OURS | {b"accept-encoding"}
_NOT_UPSTREAM_WITH_OUR_CREDENTIAL = _NOT_UPSTREAM | CREDENTIALS

OAUTH_BETA = b"oauth-2025-04-20"
"""What the upstream asks for beside a bearer token (`wire.md` A5)."""


def _dropped_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    names: set[bytes] = set()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return frozenset(names)


def to_upstream(headers: Headers, credential: Credential | None) -> list[tuple[bytes, bytes]]:
    """The client's headers as they go upstream, with `credential` in place of the client's.

    None leaves the client's own credential alone. The caller adds Host and Content-Length.
    """
    dropped = _NOT_UPSTREAM if credential is None else _NOT_UPSTREAM_WITH_OUR_CREDENTIAL
    named = _dropped_by_connection(headers)
    if named:
        dropped |= named
    kept = [(name, value) for name, value in headers if name.lower() not in dropped]
    # An answer we cannot read could not be judged, nor its early events be held (rule 4).
    kept.append((b"accept-encoding", b"identity"))
    if credential is not None:
        kept.append(credential.header())
        if credential.bearer:
            kept = _with_beta(kept, OAUTH_BETA)
    return kept


def _with_beta(headers: list[tuple[bytes, bytes]], beta: bytes) -> list[tuple[bytes, bytes]]:
    """`beta` among the betas: appended to the last `anthropic-beta` header, or in a new one."""
    places = [i for i, (name, _) in enumerate(headers) if name.lower() == b"anthropic-beta"]
    for place in places:
        if beta in (token.strip() for token in headers[place][1].split(b",")):
            return headers
    if not places:
        return [*headers, (b"anthropic-beta", beta)]
    name, value = headers[places[-1]]
    joined = value + b"," + beta if value.strip() else beta
    return [*headers[: places[-1]], (name, joined), *headers[places[-1] + 1 :]]


def to_client(headers: Headers, added: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An upstream's response headers as they go to the client, and ours after them."""
    kept: list[tuple[bytes, bytes]] = []
    also: set[bytes] = set()
    for pair in headers:
        name = pair[0].lower()
        if name not in HOP_BY_HOP:
            kept.append(pair)
        elif name == b"connection":
            also.update(token.strip().lower() for token in pair[1].split(b","))
        elif name == b"transfer-encoding":
            also.add(b"content-length")  # RFC 9112 section 6.3: the coding overrides the length
    if also:
        kept = [pair for pair in kept if pair[0].lower() not in also]
    kept.extend(added)
    return kept


def with_retry_after(headers: list[tuple[bytes, bytes]], seconds: int) -> list[tuple[bytes, bytes]]:
    """`headers` whose retry-after says at most `seconds`; one that cannot be read is replaced."""
    changed: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        given = read_seconds(value) if name.lower() == b"retry-after" else 0.0
        keep = given is not None and given <= seconds
        changed.append((name, value if keep else str(seconds).encode()))
    return changed

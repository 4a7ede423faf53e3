"""Who is let in: Host, Origin, token and media type, judged from a request's head alone.

A page in a browser can reach a loopback port: by a name that it rebinds to 127.0.0.1, or by a
"simple" cross-site POST. So every route wants a Host that is ours and no foreign Origin, and
management routes want a media type that no simple request can have.
"""

from __future__ import annotations

import functools
import hmac
import ipaddress
import re

import msgspec

from protocol.errors import Problem
from protocol.inbound_keys import InboundKey, Keyring
from protocol.request import RequestHead, Route, of_openai
from protocol.secrets import Secret

HEADER_COUNT_MAX = 100
HEADER_BYTES_MAX = 64 * 1024
TARGET_BYTES_MAX = 8 * 1024

# Open to everybody that names the right host: liveness, and the client's own start-up probes.
_OPEN = frozenset({("GET", "/health"), ("GET", "/health/live"), ("HEAD", "/health")} | {
    ("HEAD", "/health/live"), ("HEAD", "/"), ("HEAD", "/api/hello"), ("GET", "/api/hello"),
})  # fmt: skip


class Rules(msgspec.Struct, frozen=True):
    """`hosts` beside the loopback names, lower case; `origins` as browsers write them.

    With `pool` false a token or key travels in `x-supervisor-key` alone, because the usual headers
    carry the client's own credential upstream. `keyring`: the inbound keys, None where none are
    asked for.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    token: Secret | None = None
    pool: bool = True
    own_key: Secret | None = None
    """What clients without a login are given beside the base URL: worthless to any upstream. Where
    keys are asked for it is one more, of this machine's owner, who alone can read it."""
    keyring: Keyring | None = None


def check(head: RequestHead, route: Route, rules: Rules, now: float = 0.0) -> Problem | None:
    """Why `head` is turned away, or None. `now` is in epoch seconds: keys expire."""
    return (
        _check_host(head, rules)
        or _check_origin(head, rules)
        or _check_access(head, route, rules, now)
        or _check_media_type(head, route)
    )


# RFC 9112 section 3.2: a name or an address, and a port. Strict, because what is cut off here is
# not judged: "localhost:80@evil.example" and "[::1].evil.example" begin like names of ours.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/?#\s]+))(?::[0-9]*)?")


def host_name(value: str) -> str:
    """The name in a Host header: lower case, without port and brackets; "" for what is none."""
    found = _HOST.fullmatch(value.strip(" \t").lower())
    if found is None:
        return ""
    address, name = found.groups()
    return address or name.removesuffix(".")


@functools.lru_cache(maxsize=256)  # each request names the host anew, and hardly any another one
def is_loopback_name(name: str) -> bool:
    """`localhost`, and every loopback address."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _check_host(head: RequestHead, rules: Rules) -> Problem | None:
    values = head.texts(b"host")
    names = [host_name(value) for value in values]
    ours = [bool(name) and (is_loopback_name(name) or name in rules.hosts) for name in names]
    if ours and all(ours):
        return None
    said = f"the host name {', '.join(values)[:80]!r} is not one of ours"
    if not head.target.startswith(b"/"):  # the upstream's name, for a proxy of the other kind
        advice = "this is not a forward proxy: set the client's base URL to it, not HTTP_PROXY"
    else:
        advice = "use the address the proxy prints, or add the name to server.allowed_hosts"
    return Problem(403, f"{said}; {advice}")


# Of what no origin is sent with: images, scripts, links, reads that show the page nothing. Another
# port of this machine is the same site.
_OTHER_PAGES = ("cross-site", "same-site")


def _check_origin(head: RequestHead, rules: Rules) -> Problem | None:
    origins = head.texts(b"origin")
    for origin in origins:
        if origin.strip().lower() not in rules.origins:
            return Problem(
                403,
                f"the browser origin {origin[:80]!r} is not allowed; add it to "
                "server.allowed_origins",
            )
    if not origins and (head.text(b"sec-fetch-site") or "").strip().lower() in _OTHER_PAGES:
        return Problem(403, "requests of other pages are not allowed")
    return None


def _check_access(head: RequestHead, route: Route, rules: Rules, now: float) -> Problem | None:
    own = rules.own_key
    if own and not rules.pool and route is not Route.OWN and _is_among(_credentials(head), own):
        return Problem(
            401,
            "this client sends the key that the proxy gave it while accounts were configured; now "
            "none is: log in, or restart the client",
        )
    if (head.method, head.path) in _OPEN or _shows_token(head, route, rules):
        return None
    if rules.keyring is not None:
        if own and is_local(head) and _is_among(_offered(head, route, rules), own):
            return None
        key = shown_key(head, route, rules)
        return _check_key(key, head, route, rules, now)
    if rules.token is not None:
        return Problem(401, f"send the proxy's access token {_where_for(head, route, rules)}")
    if route is Route.OWN and not is_local(head):
        return Problem(401, "management is for this machine alone, or for a configured token")
    return None


def _check_key(
    key: InboundKey | None, head: RequestHead, route: Route, rules: Rules, now: float
) -> Problem | None:
    if key is None:
        return Problem(
            401,
            f"send a key of this proxy {_where_for(head, route, rules)}; whoever runs it makes one "
            "with `supervisor keys create`",
        )
    state = key.state(now)
    if state != "valid":
        said = "has expired" if state == "expired" else "is revoked"
        return Problem(401, f"this key of the proxy {said}; ask for another one")
    if route is Route.OWN and not key.owner:
        return Problem(403, "management is for an owner's key, and this one is not")
    return None


def _where_for(head: RequestHead, route: Route, rules: Rules) -> str:
    """In words; clients of OpenAI's dialect can send no `x-api-key`."""
    if not (route is Route.OWN or rules.pool):
        return "in the x-supervisor-key header"
    if of_openai(head, route):
        return "as Authorization: Bearer, which is your client's own API key"
    return "in the x-api-key header"


def is_local(head: RequestHead) -> bool:
    """From this machine, and not forwarded: behind a reverse proxy every peer is loopback."""
    if not head.peer.loopback:
        return False
    for name, _ in head.headers:
        if len(name) >= 9 and name[:1] in b"fFxX":
            lowered = name.lower()
            if lowered == b"forwarded" or lowered.startswith(b"x-forwarded-"):
                return False
    return True


def shown_key(head: RequestHead, route: Route, rules: Rules) -> InboundKey | None:
    """The inbound key that `head` carries, valid or not; None where keys are not asked for."""
    if rules.keyring is None:
        return None
    for offered in _offered(head, route, rules):
        key = rules.keyring.find(offered)
        if key is not None:
            return key
    return None


def _shows_token(head: RequestHead, route: Route, rules: Rules) -> bool:
    return rules.token is not None and _is_among(_offered(head, route, rules), rules.token)


def _offered(head: RequestHead, route: Route, rules: Rules) -> list[bytes | None]:
    """What could be meant for us."""
    offered = [head.header(b"x-supervisor-key")]
    if rules.pool or route is Route.OWN:
        offered += _credentials(head)
    return offered


def _credentials(head: RequestHead) -> list[bytes | None]:
    scheme, _, value = (head.header(b"authorization") or b"").partition(b" ")
    return [head.header(b"x-api-key"), value.strip(b" \t") if scheme.lower() == b"bearer" else None]


def _is_among(offered: list[bytes | None], expected: Secret) -> bool:
    wanted = expected.reveal().encode()
    matches = [hmac.compare_digest(value.strip(), wanted) for value in offered if value]
    return any(matches)


def _check_media_type(head: RequestHead, route: Route) -> Problem | None:
    if route is not Route.OWN or head.method != "POST":
        return None
    if head.header(b"transfer-encoding") is None and head.text(b"content-length") in (None, "0"):
        return None
    media_type = (head.text(b"content-type") or "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return None
    return Problem(415, "send content-type: application/json, or an empty body")


def check_size(target: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> Problem | None:
    """The bounds of a request head; checked by a lane as soon as the head is complete."""
    if len(target) > TARGET_BYTES_MAX:
        return Problem(414, f"the URL is longer than {TARGET_BYTES_MAX} bytes")
    if len(headers) > HEADER_COUNT_MAX:
        return Problem(431, f"there are more than {HEADER_COUNT_MAX} headers")
    if sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES_MAX:
        return Problem(431, f"the headers are larger than {HEADER_BYTES_MAX} bytes")
    return None

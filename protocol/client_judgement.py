"""What to do about the base URL that a client's settings have already (`interface.md` rule 14).
Standard library only."""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Answer = Literal["nobody", "supervisor", "somebody"]
"""Who answers at a loopback URL: no one, a supervisor (`/health/live` with an id), another server."""


class Verdict(Enum):
    """`ADOPT`: point here, and relay to where the client pointed."""

    POINT = "point"
    ADOPT = "adopt"
    STAND_BACK = "stand back"


class Judgement(NamedTuple):
    """`reason` is for the user: what was found, and what to do."""

    verdict: Verdict
    reason: str = ""


class Circumstances(NamedTuple):
    """`url`: ours. `passthrough`: no accounts and no configured upstream. `upstream`: where we relay
    to already."""

    url: str
    replace: bool = False
    passthrough: bool = False
    upstream: str = ""


def judge(found: str | None, answer: Answer, here: Circumstances) -> Judgement:
    """`found` is what would stand there without us; `answer` counts for a loopback URL only.

    What we left there ourselves in an earlier life was taken out by the lease before.
    """
    if found is None or not found.strip():
        return Judgement(Verdict.POINT)
    if same_place(found, here.url):
        return _stand_back(
            f"it points at {_shown(found)} already, and there is no record that we did that",
            "leave it, or remove the key and start again to have it put back at the end",
        )
    if is_loopback(found):
        if answer == "supervisor":
            return _stand_back(
                f"another running supervisor has it ({_shown(found)})", "stop that one first"
            )
        if answer == "nobody" and not here.replace:
            return _stand_back(
                f"it points at {_shown(found)}, where nobody answers, and not by us",
                f"start what belongs there, remove the key, or {_REPLACE}",
            )
    if here.replace:
        return Judgement(Verdict.POINT, f"takes the place of {_shown(found)} (client.replace)")
    free = here.passthrough and (not here.upstream or same_place(found, here.upstream))
    if free and _usable(found):
        return Judgement(Verdict.ADOPT, f"requests go on to {_shown(found)}, as before")
    return _stand_back(
        f"it points at {_shown(found)}", f"remove the key, make that the upstream, or {_REPLACE}"
    )


_REPLACE = "set client.replace = true"


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def same_place(one: str, other: str) -> bool:
    """Whether two URLs lead to the same server and path; loopback names count as one."""
    return _place(one) == _place(other)


def _place(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url.strip())
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return ("", url, 0, "")
    host = "loopback" if is_loopback(url) else (parts.hostname or "")
    return (parts.scheme, host, port, parts.path.rstrip("/"))


def _usable(url: str) -> bool:
    """Whether it can be an upstream: as strict as `upstream.base_url` is."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \\@?#")
    return named and plain


def _shown(url: str) -> str:
    """A URL for a message: what could be a password or a key in it is left out."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "something that is no URL"
    host = (parts.netloc or "").rpartition("@")[2]
    shown = f"{parts.scheme}://{host}{parts.path}" if parts.scheme and host else ""
    return shown[:200] if shown.isprintable() and shown else "something that is no URL"


def _stand_back(what: str, remedy: str) -> Judgement:
    return Judgement(Verdict.STAND_BACK, f"{what}; {remedy}")

"""The front end's own certificate, as far as it is told of and judged: whose it is, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.request_line import plain
from protocol.status_view import utc

_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
}
NAMES_MAX = 20
"""Shown of a certificate for very many."""


class Certificate(msgspec.Struct, frozen=True):
    """`names` are those that clients may connect to; `begins` and `ends` in epoch seconds."""

    subject: str
    names: tuple[str, ...]
    begins: float
    ends: float

    @property
    def shown(self) -> str:
        """Whose it is, in a few words."""
        return ", ".join(self.names) or self.subject or "nobody"


class Refusal(msgspec.Struct, frozen=True):
    """Why a new certificate is not taken, and when it could be (epoch seconds)."""

    reason: str
    again_at: float = float("inf")


def certificate_of(decoded: Mapping[str, Any], begins: float, ends: float) -> Certificate:
    """Of what `ssl` reads in a certificate (the form of `getpeercert`)."""
    parts = [pair for group in decoded.get("subject", ()) for pair in group]
    subject = ", ".join(f"{_SHORT.get(name, name)}={value}" for name, value in parts)
    names = [value for kind, value in decoded.get("subjectAltName", ()) if kind in _NAMED]
    shown = tuple(plain(str(name)) or "" for name in names[:NAMES_MAX])
    return Certificate(plain(subject) or "", shown, begins, ends)


_NAMED = ("DNS", "IP Address")


def renewal(new: Certificate | None, in_force: Certificate | None, now: float) -> Refusal | None:
    """Why `new` may not replace what is in force; None is a certificate that could not be read.

    One that no client accepts replaces none that they do; where both are over, or not yet, the new
    one is what its owner wants.
    """
    if new is None or in_force is None or not in_force.begins <= now < in_force.ends:
        return None
    if new.ends <= now:
        return Refusal(f"it expired on {utc(new.ends)}")
    if new.begins > now:
        return Refusal(f"it does not begin before {utc(new.begins)}", new.begins)
    return None


def certificate_view(
    certificate: Certificate | None, loaded_at: float, problem: str
) -> dict[str, Any]:
    """`tls` of `/status`. Null is what could not be read of it."""
    known = certificate
    return {
        "subject": known.subject if known else None,
        "names": list(known.names) if known else [],
        "not_before": utc(known.begins) if known else None,
        "not_after": utc(known.ends) if known else None,
        "loaded_at": utc(loaded_at),
        "error": problem or None,
    }

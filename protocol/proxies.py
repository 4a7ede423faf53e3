"""Which forward proxy an upstream is reached through: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.

The variables have no standard. What is read here is what curl, Python and Go agree on: lower case
before upper case; NO_PROXY is a list of names (with their subdomains), addresses, networks
(`10.0.0.0/8`), each perhaps with a port, or `*`.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from protocol.secrets import Secret


class Proxy(msgspec.Struct, frozen=True):
    """A forward proxy; `authorization` is the value of Proxy-Authorization."""

    scheme: str
    host: str
    port: int
    authorization: Secret | None = None


class ProxyInvalid(Exception):
    """The variable does not name a proxy that can be used; the message says which and why."""


def proxy_for(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy on the way to `host`, or None. Raises ProxyInvalid.

    This machine itself is never asked through a proxy.
    """
    if _is_loopback(host):
        return None
    for name in (f"{scheme}_proxy", "all_proxy"):
        value = environment.get(name) or environment.get(name.upper()) or ""
        if value.strip():
            excepted = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
            return None if _is_excepted(host, port, excepted) else _parsed(name, value.strip())
    return None


def _parsed(name: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ProxyInvalid(f"{name.upper()} is not a URL of a proxy") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ProxyInvalid(f"{name.upper()} must be an http:// or https:// URL of a proxy")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = Secret("Basic " + base64.b64encode(pair.encode()).decode())
    return Proxy(
        parts.scheme, host, port or (443 if parts.scheme == "https" else 80), authorization
    )


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_excepted(host: str, port: int, listed: str) -> bool:
    return any(
        _fits(entry, host.lower().rstrip("."), port)
        for entry in listed.lower().replace(",", " ").split()
    )


def _fits(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass  # a name, or an address with a port
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isdecimal():
        if int(digits) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").removeprefix(".")
    return bool(entry) and (host == entry or (address is None and host.endswith("." + entry)))

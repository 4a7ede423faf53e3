"""The forms a text may have to have: a name, a URL, a host, a path, a credential, ...

A form is a check and the words that say what it wants. The check gives the text as the rest of the
program uses it (a URL without its last slash, a host in lower case), or None to refuse it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from protocol.secrets import scrub


class Form(NamedTuple):
    """A check, and what it allows in words."""

    check: Callable[[str], str | None]
    allowed: str


_NAME = re.compile(r"[a-z0-9._-]+")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_DOTTED_NUMBERS = re.compile(r"[0-9.]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?")
_CREDENTIAL = re.compile(r"[!-~]+")

FRAMING_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They belong to one connection; a configured one would break it."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`. Other names are not looked up."""
    if host.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_utf8(text: str) -> bool:
    """False for text with lone surrogates (bytes of the environment that were no UTF-8)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda text: text if pattern.fullmatch(text) else None


def _name(text: str) -> str | None:
    # A key in the wrong place; and such a name would be masked wherever it is printed.
    return text if _NAME.fullmatch(text) and scrub(text) == text else None


def _text(text: str) -> str | None:
    return text if text and text.isprintable() else None


def _printable(text: str) -> str | None:
    return text if text.isprintable() else None


def _free_text(text: str) -> str | None:
    return text if "\0" not in text and is_utf8(text) else None


def _path(text: str) -> str | None:
    return text if text.isprintable() and text.strip() else None


def _host(text: str) -> str | None:
    text = text.lower()
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        named = _HOST.fullmatch(text) and not _DOTTED_NUMBERS.fullmatch(text)
        return text if named else None


def _split(text: str) -> SplitResult | None:
    """The parts of a URL with a host, a possible port, and nothing that could be a secret."""
    if not text.isprintable() or not text.isascii() or re.search(r"[\s\\@?#]", text):
        return None
    try:
        parts = urlsplit(text)
        usable = bool(parts.scheme and _host(parts.hostname or "")) and parts.port != 0
    except ValueError:  # a port past 65535, a bracket without its partner
        return None
    return parts if usable and not parts.netloc.endswith(":") else None


def _url(text: str) -> str | None:
    parts = _split(text)
    return text.rstrip("/") if parts and parts.scheme in ("http", "https") else None


def _origin(text: str) -> str | None:
    parts = _split(text)
    return text.lower() if parts and not parts.path else None


def _header(text: str) -> str | None:
    return text if _HEADER.fullmatch(text) and text.lower() not in FRAMING_HEADERS else None


FORMS: Mapping[str, Form] = {
    "printable": Form(_printable, "a text without control characters"),
    "text": Form(_text, "a text that is not empty and has no control characters"),
    "free text": Form(_free_text, "a text without NUL characters"),
    "name": Form(_name, "a name of the characters a-z 0-9 . _ - that looks like no credential"),
    "host": Form(_host, "an IP address or host name, without brackets, scheme or port"),
    "origin": Form(_origin, "an origin such as https://example.com, without a path"),
    "url": Form(
        _url, "a URL with http or https and a host, without user, password, query or fragment"
    ),
    "path": Form(_path, "a path that is not empty"),
    "variable": Form(_matching(_VARIABLE), "the name of an environment variable"),
    "header": Form(_header, "a header name, none of " + ", ".join(sorted(FRAMING_HEADERS))),
    "header value": Form(_matching(_HEADER_VALUE), "a text of visible ASCII characters and spaces"),
    "credential": Form(_matching(_CREDENTIAL), "a text of visible ASCII characters, no spaces"),
}

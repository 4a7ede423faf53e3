"""The recorded exchanges of real clients, kept under `tests/corpus`.

A fixture is a dictionary with `client`, `version`, `scenario`, `note` and `exchanges`; an exchange
has a `request` (method, target, headers, body) and a `response` (status, headers, and a body or the
events of a stream; None when the connection was closed instead).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

Fixture: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parent.parent / "corpus"


@cache
def _text(name: str) -> str:
    return (ROOT / f"{name}.json").read_text(encoding="utf-8")


def load(name: str) -> Fixture:
    """The fixture of that name, for example "claude-code/basic_api_key"; a fresh copy each time."""
    fixture: Fixture = json.loads(_text(name))
    return fixture


def names(client: str = "*") -> list[str]:
    """The names of all fixtures, or of one client's."""
    found = ROOT.glob(f"{client}/*.json")
    return sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in found)


def request_body(fixture: Fixture, exchange: int = 0) -> bytes:
    """The body that was sent in that exchange; a fixture keeps a repeated one only once."""
    request = fixture["exchanges"][exchange]["request"]
    if "body_same_as_exchange" in request:
        return request_body(fixture, request["body_same_as_exchange"])
    body = request.get("body")
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def request_headers(fixture: Fixture, exchange: int = 0) -> list[tuple[str, str]]:
    """The headers of that exchange in their order, without those that name host and length."""
    headers = fixture["exchanges"][exchange]["request"]["headers"]
    dropped = {"host", "content-length", "transfer-encoding"}
    return [(name, value) for name, value in headers if name.lower() not in dropped]

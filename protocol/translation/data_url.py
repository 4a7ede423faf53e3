"""`data:` URLs (RFC 2397), as far as they are in base64: the form in which clients send images."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from protocol.translation.refusal import unfit

_SCHEME = "data:"
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")

_KNOWN_AS = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
"""Anthropic takes images by their registered names alone."""


class Data(msgspec.Struct, frozen=True):
    """`base64` without spaces and percent signs, `media_type` in lower case without parameters."""

    media_type: str
    base64: str


def is_data_url(url: str) -> bool:
    """Whether `url` holds what it names. A scheme is written in any case."""
    return url[: len(_SCHEME)].lower() == _SCHEME


def read_data_url(url: str, where: str) -> Data:
    """What `url` holds. Raises Untranslatable for what is not in base64, or has no media type."""
    head, comma, data = url[len(_SCHEME) :].partition(",")
    media_type, *parameters = (part.strip().lower() for part in unquote(head).split(";"))
    if not comma or not parameters or parameters[-1] != "base64":
        raise unfit(where, "a data URL must be in base64 (data:image/png;base64,...)")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise unfit(where, "a data URL must have a media type (data:image/png;base64,...)")
    return Data(_KNOWN_AS.get(media_type, media_type), read_base64(data, where))


def read_base64(data: str, where: str) -> str:
    """The bare digits of `data`, which a URL may have escaped and wrapped. Raises Untranslatable."""
    plain = "".join((unquote(data) if "%" in data else data).split())
    if not _BASE64.fullmatch(plain):
        raise unfit(where, "the data is no base64")
    if not plain:
        raise unfit(where, "the data is empty")
    return plain

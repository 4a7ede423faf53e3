"""A provider's refusal in Anthropic's shape, in the provider's own words.

The words matter: Claude Code recognises the context-length wording of a dozen servers and compacts
the conversation then (`wire.md` A10).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

Json = dict[str, Any]

_DELAY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")

MESSAGE_MAX = 4_000
"""Characters kept of a provider's words."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_OF_ANSWERS = ("choices", "candidates", "usage", "usageMetadata")

_STATUS_OF_WORD = {
    # Gemini's (`wire.md` D1), OpenAI's and Anthropic's own, which come without a status in a stream.
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "context_length_exceeded": 400,
    "string_above_max_length": 400,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "request_too_large": 413,
    "insufficient_quota": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "api_error": 500,
    "overloaded_error": 529,
}


class ProviderError(Exception):
    """`status` and `type` are Anthropic's for it; `message` is the provider's own."""

    def __init__(self, status: int, type_: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message

    def body(self, request_id: str) -> bytes:
        """As an Anthropic error body."""
        error = {"type": self.type, "message": self.message}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def read_failure(status: int, body: bytes) -> ProviderError:
    """Of a whole answer with a status that is not 2xx. Total: no bytes make it raise."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ProviderError(status, _type(status), _plain(status, body))
    return failure(status, document)


def is_error(chunk: Json) -> bool:
    """Whether a chunk, or an answer with a good status, is an error in one of its many shapes."""
    if chunk.get("error") or chunk.get("object") == "error":
        return True
    if any(field in chunk for field in _OF_ANSWERS):
        return False
    return any(isinstance(chunk.get(field), str) for field in ("message", "detail"))


def failure(status: int | None, document: object) -> ProviderError:
    """Of a decoded answer, or of a chunk, which has no status of its own."""
    if isinstance(document, list):  # Gemini's compatible endpoint (`wire.md` D2)
        document = document[0] if document else {}
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = document if isinstance(document, dict) else {}
    message = error.get("message")
    if not isinstance(message, str) or not message:
        message = _detail(error.get("detail")) or "the provider gave no reason"
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and raw.strip():  # OpenRouter's: the words of whom it asked itself
        message = f"{message}: {raw}"
    found = status or _status(error) or 502
    return ProviderError(found, _type(found), message[:MESSAGE_MAX])


def _detail(detail: object) -> str:
    """FastAPI's word for a message, or for a list of what is wrong."""
    if isinstance(detail, str):
        return detail
    return msgspec.json.encode(detail).decode() if isinstance(detail, list) and detail else ""


def _status(error: Json) -> int | None:
    for field in ("code", "status", "type"):
        value = error.get(field)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
        if isinstance(value, str):
            if value.isdecimal() and 400 <= int(value[:4]) < 600:
                return int(value[:4])
            if value in _STATUS_OF_WORD:
                return _STATUS_OF_WORD[value]
    return None


def _type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def _plain(status: int, body: bytes) -> str:
    """A page of HTML says nothing that a person wants to read in a terminal."""
    text = body[:MESSAGE_MAX].decode("utf-8", "replace").strip()
    if not text or text.startswith("<"):
        return f"the provider answered {status} without a reason"
    return text


def retry_delay(body: bytes) -> float | None:
    """Gemini's word on when to come back, in seconds (`wire.md` D1); None where there is none."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if isinstance(document, list):
        document = document[0] if document else None
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        found = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
        if found is not None:
            return float(found[1])
    return None

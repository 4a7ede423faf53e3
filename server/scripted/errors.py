"""Builders for the error answers of the Anthropic API, rate-limit headers included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from server.scripted.answers import Answer, Headers

REQUEST_ID = "req_scripted"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
WindowStatus: TypeAlias = Literal["allowed", "allowed_warning", "rejected"]
_SEVERITY: dict[WindowStatus, int] = {"allowed": 0, "allowed_warning": 1, "rejected": 2}
_CLAIMS = {"5h": "five_hour", "7d": "seven_day", "7d_oi": "seven_day_overage_included"}
"""The name of a window in `representative-claim`, where it differs from the header's."""


def error_body(kind: str, message: str, request_id: str = REQUEST_ID) -> bytes:
    """The JSON body of an error, as Anthropic writes it."""
    body = {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": request_id,
    }
    return json.dumps(body).encode()


def error(
    status: int,
    kind: str | None = None,
    message: str = "scripted error",
    headers: Mapping[str, str] | Headers = (),
    *,
    request_id: str = REQUEST_ID,
) -> Answer:
    """An error answer; without `kind`, the type that belongs to the status."""
    own = (("content-type", "application/json"), ("request-id", request_id))
    body = error_body(kind or ERROR_TYPES.get(status, "api_error"), message, request_id)
    return Answer(status=status, headers=own, body=body).with_headers(headers)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One quota window of a subscription; `resets_at` in seconds since the epoch."""

    utilization: float
    resets_at: int
    status: WindowStatus = "allowed"
    surpassed_threshold: float | None = None


class KeyLimit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of an API key; `resets_at` in RFC 3339, UTC."""

    limit: int
    remaining: int
    resets_at: str


def unified_headers(
    windows: Mapping[str, Window],
    *,
    status: WindowStatus | None = None,
    representative: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> Headers:
    """The `anthropic-ratelimit-unified-*` headers for windows named `5h`, `7d`, `7d_oi`, `overage`.

    The overall status and the representative window default to the worst window (rejected before
    warned, then the fuller one). `extra` adds further headers by what follows the common prefix,
    for example `{"fallback": "available", "overage-disabled-reason": "out_of_credits"}`.
    """
    prefix = "anthropic-ratelimit-unified-"
    worst = representative or max(
        windows, key=lambda n: (_SEVERITY[windows[n].status], windows[n].utilization)
    )
    headers = [
        (prefix + "status", status or windows[worst].status),
        (prefix + "reset", str(windows[worst].resets_at)),
        (prefix + "representative-claim", _CLAIMS.get(worst, worst)),
    ]
    for name, window in windows.items():
        headers += [
            (f"{prefix}{name}-status", window.status),
            (f"{prefix}{name}-reset", str(window.resets_at)),
            (f"{prefix}{name}-utilization", str(window.utilization)),
        ]
        if window.surpassed_threshold is not None:
            headers.append((f"{prefix}{name}-surpassed-threshold", str(window.surpassed_threshold)))
    headers += [(prefix + name, value) for name, value in (extra or {}).items()]
    return tuple(headers)


def key_limit_headers(limits: Mapping[str, KeyLimit]) -> Headers:
    """The headers of an API key's limits: `requests`, `tokens`, `input-tokens`, `output-tokens`."""
    headers: list[tuple[str, str]] = []
    for name, limit in limits.items():
        prefix = f"anthropic-ratelimit-{name}-"
        headers += [
            (prefix + "limit", str(limit.limit)),
            (prefix + "remaining", str(limit.remaining)),
            (prefix + "reset", limit.resets_at),
        ]
    return tuple(headers)


def rate_limited(
    *,
    retry_after: float | str | None = None,
    windows: Mapping[str, Window] | None = None,
    limits: Mapping[str, KeyLimit] | None = None,
    should_retry: bool | None = None,
    message: str = "This request would exceed your account's rate limit.",
    headers: Mapping[str, str] | Headers = (),
) -> Answer:
    """429, with whatever evidence is given: seconds to wait, subscription windows, key limits."""
    answer = error(429, message=message)
    if retry_after is not None:
        answer = answer.with_headers({"retry-after": str(retry_after)})
    if should_retry is not None:
        answer = answer.with_headers({"x-should-retry": str(should_retry).lower()})
    if windows:
        answer = answer.with_headers(unified_headers(windows))
    if limits:
        answer = answer.with_headers(key_limit_headers(limits))
    return answer.with_headers(headers)


def window_spent(window: str = "5h", *, resets_at: int, retry_after: float) -> Answer:
    """429 of a subscription whose window is used up until `resets_at` (seconds since the epoch)."""
    spent = Window(utilization=1.0, resets_at=resets_at, status="rejected")
    return rate_limited(retry_after=retry_after, windows={window: spent})


def overloaded(*, retry_after: float | None = None) -> Answer:
    """529: Anthropic has no capacity, whoever asks."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return error(529, message="Overloaded", headers=headers)


def unauthorized(message: str = "invalid x-api-key") -> Answer:
    """401: the credential is not known, or no longer good."""
    return error(401, message=message)


def forbidden(message: str = "Your account does not have access to this resource.") -> Answer:
    """403: the credential is good, but not for this."""
    return error(403, message=message)


def server_error(status: int = 500, message: str = "Internal server error") -> Answer:
    """500, or another status of that class."""
    return error(status, message=message)


def gateway_page(status: int = 503, text: str = "Service Unavailable") -> Answer:
    """The HTML page that a load balancer writes when nothing behind it answers."""
    page = f"<html><head><title>{status} {text}</title></head><body>{text}</body></html>"
    return Answer(status=status, headers=(("content-type", "text/html"),), body=page.encode())

"""The answers that we author, in the shape of the dialect that was asked.

An upstream's own error is never replaced by one of these (`interface.md` rule 2).
"""

from __future__ import annotations

import msgspec

from protocol.request import Headers
from protocol.request_line import escaped

# Statuses with which a client would only repeat itself for minutes (rule 3; `wire.md` A10).
_NOT_WORTH_REPEATING = frozenset({401, 404, 413})

_TYPE_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    414: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    505: "invalid_request_error",
    529: "overloaded_error",
}


class Answer(msgspec.Struct, frozen=True):
    """A whole response of ours."""

    status: int
    headers: Headers
    body: bytes


class Problem(msgspec.Struct, frozen=True):
    """Why a request is not served: a status, and a message that says what to do.

    `type` is needed only where it is not the usual one of the status. `final` adds
    `x-should-retry: false`. `retry_after` is in whole seconds.
    """

    status: int
    message: str
    type: str = ""
    retry_after: int | None = None
    final: bool = False

    @property
    def error_type(self) -> str:
        return self.type or _TYPE_OF_STATUS.get(self.status, "api_error")


def answer(problem: Problem, request_id: str, *, openai: bool = False) -> Answer:
    """`problem` as a response body; `openai` for callers of chat completions.

    A message may quote what the client sent; the body can be shown on a terminal all the same.
    """
    error: dict[str, object] = {"type": problem.error_type, "message": problem.message}
    if openai:
        document: dict[str, object] = {"error": {**error, "param": None, "code": None}}
    else:
        document = {"type": "error", "error": error, "request_id": request_id}
    body = escaped(msgspec.json.encode(document).decode()).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if problem.retry_after is not None:
        headers.append((b"retry-after", str(problem.retry_after).encode()))
    if problem.final or problem.status in _NOT_WORTH_REPEATING:
        headers.append((b"x-should-retry", b"false"))
    return Answer(problem.status, tuple(headers), body)

"""What an upstream's answer means: one table from evidence to (action, scope, reason).

The table covers what the first pool needs: rate limits with their retry-after, credentials that
are refused, overload, server faults and network faults. A row that wants more evidence (windows,
model families, account-level 400s) is added here, nowhere else.
"""

from __future__ import annotations

import enum

import msgspec

from protocol.accounts import Scope
from protocol.peek import ErrorInfo
from protocol.request import Headers

OVERLOADED = 529
"""Anthropic's status for an overloaded service (`wire.md` B4)."""


class Action(enum.Enum):
    """What the relay does next."""

    DELIVER = "deliver"  # the answer is the client's, good or bad
    NEXT = "next"  # try another account, unseen by the client
    AGAIN = (
        "again"  # the same account once more after a short wait; nobody else, it is the provider's
    )
    STOP = "stop"  # no account could do better: answer with what we have


class Verdict(msgspec.Struct, frozen=True):
    """`retry_after` in seconds, when upstream gave one that can be read."""

    action: Action
    scope: Scope
    reason: str
    retry_after: float | None = None
    success: bool = False

    @property
    def benches(self) -> bool:
        """Whether the account rests after this."""
        return self.scope is Scope.ACCOUNT and not self.success


SUCCESS = Verdict(Action.DELIVER, Scope.REQUEST, "ok", success=True)


class FaultKind(enum.Enum):
    """How an attempt can fail below HTTP."""

    CONNECT = "connect"
    NAME = "dns"
    CERTIFICATE = "certificate"
    TIMEOUT = "timeout"
    DISCONNECT = "disconnect"
    PROTOCOL = "protocol"
    NO_CONNECTION = "no_connection"


def judge_fault(kind: FaultKind) -> Verdict:
    """A fault before any answer: never the account's, so another account is tried at once.

    A certificate that does not verify is the same for every account of the host: stop.
    """
    if kind is FaultKind.CERTIFICATE:
        return Verdict(Action.STOP, Scope.PROVIDER, "certificate")
    if kind is FaultKind.NO_CONNECTION:
        return Verdict(Action.STOP, Scope.PROVIDER, "no_connection")
    return Verdict(Action.NEXT, Scope.PROVIDER, kind.value)


def judge(status: int, headers: Headers, error: ErrorInfo = ErrorInfo()) -> Verdict:
    """The verdict on an answer's head; `error` is its body's type and message, if it has any."""
    if status < 400:
        return SUCCESS
    retry_after = read_retry_after(headers)
    if error.type == "overloaded_error" or status == OVERLOADED:
        return Verdict(Action.AGAIN, Scope.PROVIDER, "overloaded", retry_after)
    if status == 429:
        return _judge_limit(headers, error, retry_after)
    if status in (401, 402, 403) or (status == 400 and _is_about_the_account(error)):
        return Verdict(Action.NEXT, Scope.ACCOUNT, "auth")
    if status >= 500:
        return Verdict(Action.NEXT, Scope.PROVIDER, "server_error", retry_after)
    return Verdict(Action.DELIVER, Scope.REQUEST, "request_error")


def _judge_limit(headers: Headers, error: ErrorInfo, retry_after: float | None) -> Verdict:
    """A 429: of the account, unless it says that it is about this one request."""
    if _NEEDS_ENTITLEMENT in error.message.lower():
        return Verdict(Action.NEXT, Scope.REQUEST, "long_context")
    if retry_after is None and _asks_to_repeat(headers):
        return Verdict(Action.NEXT, Scope.REQUEST, "windowless")
    return Verdict(Action.NEXT, Scope.ACCOUNT, "rate_limited", retry_after)


# "Extra usage is required for long context requests": other requests are served (`peers.md` P7).
_NEEDS_ENTITLEMENT = "required for long context"

# What a 400 says when the account, not the request, is what upstream objects to (`peers.md` P10).
_ACCOUNT_OBJECTIONS = ("organization has been disabled", "credit balance is too low")


def _is_about_the_account(error: ErrorInfo) -> bool:
    message = error.message.lower()
    return any(words in message for words in _ACCOUNT_OBJECTIONS)


def _asks_to_repeat(headers: Headers) -> bool:
    """`x-should-retry: true` and no word of any limit: the same account serves the next request
    (`interface.md` rule 1 d, `peers.md` P6)."""
    names = {name.lower() for name, _ in headers}
    if any(name.startswith(b"anthropic-ratelimit-") for name in names):
        return False
    values = [value.strip().lower() for name, value in headers if name.lower() == b"x-should-retry"]
    return values == [b"true"]


# Error types of the Messages API and the status each would have had as a head (`wire.md` B4).
_STATUS_OF_EVENT = {
    "rate_limit_error": 429,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "overloaded_error": OVERLOADED,
    "api_error": 500,
    "timeout_error": 504,
}


def judge_early_error(error: ErrorInfo) -> Verdict:
    """The verdict on an `error` event that came before any content, inside a 200."""
    return judge(_STATUS_OF_EVENT.get(error.type, 400), (), error)


def read_retry_after(headers: Headers) -> float | None:
    """Whole or decimal seconds of `retry-after`; None for a date, nonsense or no header.

    Anthropic sends integers (`wire.md` C); a date would need the wall clock of two machines to
    agree, and clients ignore it as well.
    """
    values = (read_seconds(value) for name, value in headers if name.lower() == b"retry-after")
    return next((seconds for seconds in values if seconds is not None), None)


def read_seconds(value: bytes) -> float | None:
    """One value of `retry-after`, as `read_retry_after` reads it; infinite when it has hundreds of
    digits."""
    text = value.strip()
    return float(text) if text.replace(b".", b"", 1).isdigit() else None

"""What an upstream's answer means: one table from evidence to (action, scope, target, reason).

`docs/routing.md` has the table in words, with the reason for every row. A new row is added here,
nowhere else; how long a bench lasts is in `protocol.benches`.
"""

from __future__ import annotations

import enum

import msgspec

from protocol.accounts import Scope
from protocol.asked import FAMILIES, Asked, model_family, wants_beta
from protocol.asked import LONG_CONTEXT as LONG_CONTEXT_BETA
from protocol.limits_evidence import Evidence, Window, read_evidence, read_retry_after
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
    """`retry_after` in seconds, when upstream gave one that can be read.

    `target` is the model family or the beta that the scope names; `windows` are the spent ones, the
    evidence for how long, and `answered_at` is when by the upstream's own clock (epoch seconds),
    where it said so. How long a bench lasts in the end is the account's to say
    (`protocol.benches`).
    """

    action: Action
    scope: Scope
    reason: str
    retry_after: float | None = None
    success: bool = False
    target: str = ""
    windows: tuple[Window, ...] = ()
    answered_at: float | None = None

    @property
    def benches(self) -> bool:
        """Whether the account rests after this, for all that it serves or for a part."""
        return self.scope in BENCHED_BY_ACCOUNT and not self.success


BENCHED_BY_ACCOUNT = (Scope.ACCOUNT, Scope.MODEL_FAMILY, Scope.BETA)

BURST = "burst"
WINDOWLESS = "windowless"
FORBIDDEN = "forbidden"
LONG_CONTEXT = "long_context"
AUTH = "auth"


def window_reason(name: str) -> str:
    """The reason of a bench for a spent window."""
    return f"window_{name}"


BURST_SECONDS_MAX = 60.0
"""A longer retry-after is no burst (`interface.md` rule 1 c)."""

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


def judge(
    status: int, headers: Headers, error: ErrorInfo = ErrorInfo(), asked: Asked = Asked()
) -> Verdict:
    """The verdict on an answer's head; `error` is its body's type and message, if it has any."""
    if status < 400:
        return SUCCESS
    retry_after = read_retry_after(headers)
    if error.type == "overloaded_error" or status == OVERLOADED:
        return Verdict(Action.AGAIN, Scope.PROVIDER, "overloaded", retry_after)
    if status in (400, 403, 429) and _lacks_long_context(error):
        return _judge_long_context(asked)
    if status == 429:
        return _judge_limit(read_evidence(headers), asked)
    if status == 403 and not _is_about_the_credential(error):
        return Verdict(Action.NEXT, Scope.REQUEST, FORBIDDEN)
    if status in (401, 402, 403) or (status == 400 and _is_about_the_account(error)):
        return Verdict(Action.NEXT, Scope.ACCOUNT, AUTH)
    if status >= 500:
        return Verdict(Action.NEXT, Scope.PROVIDER, "server_error", retry_after)
    return Verdict(Action.DELIVER, Scope.REQUEST, "request_error")


def _judge_limit(evidence: Evidence, asked: Asked) -> Verdict:
    """A 429 (`interface.md` rule 1, row by row)."""
    seconds = evidence.retry_after
    spent = tuple(window for window in evidence.spent if _explains(window, evidence, asked))
    if spent:  # (a)
        verdict = _judge_windows(spent, seconds, asked)
        return msgspec.structs.replace(verdict, answered_at=evidence.answered_at)
    if seconds is not None:
        burst = evidence.told and seconds <= BURST_SECONDS_MAX
        return Verdict(Action.NEXT, Scope.ACCOUNT, BURST if burst else "rate_limited", seconds)
    if evidence.repeat and not evidence.told:  # (d)
        return Verdict(Action.NEXT, Scope.REQUEST, WINDOWLESS)
    return Verdict(Action.NEXT, Scope.ACCOUNT, "rate_limited")  # (e)


def _judge_windows(spent: tuple[Window, ...], retry_after: float | None, asked: Asked) -> Verdict:
    """One window of the whole account is enough for the account; else only a family is limited."""
    general = tuple(window for window in spent if not window.families)
    if general:
        reason = window_reason(general[-1].name)
        return Verdict(Action.NEXT, Scope.ACCOUNT, reason, retry_after, windows=general)
    reason = window_reason(spent[-1].name)
    named = spent[-1].families[0]
    family = named if asked.model is None else model_family(asked.model)
    return Verdict(
        Action.NEXT, Scope.MODEL_FAMILY, reason, retry_after, target=family, windows=spent
    )


def _explains(window: Window, evidence: Evidence, asked: Asked) -> bool:
    """Whether a spent window can be why this request was refused: not that of another family,
    unless the upstream itself says so."""
    if not window.families or asked.model is None or window.name == evidence.claimed:
        return True
    family = model_family(asked.model)
    return family in window.families or family not in FAMILIES


def _judge_long_context(asked: Asked) -> Verdict:
    """Other requests are served (`peers.md` P7); with the beta named, we know which ones."""
    if wants_beta(asked.betas, LONG_CONTEXT_BETA):
        return Verdict(Action.NEXT, Scope.BETA, LONG_CONTEXT, target=LONG_CONTEXT_BETA)
    return Verdict(Action.NEXT, Scope.REQUEST, LONG_CONTEXT)


def _lacks_long_context(error: ErrorInfo) -> bool:
    message = error.message.lower()
    return any(all(words in message for words in wording) for wording in _LONG_CONTEXT_WORDINGS)


_LONG_CONTEXT_WORDINGS = (
    ("required for long context",),
    ("extra usage", "long context"),
    ("extra usage", "1m context"),
    ("long context beta is not",),
)

# What a 400 says when the account, not the request, is what upstream objects to (`peers.md` P10).
_ACCOUNT_OBJECTIONS = ("organization has been disabled", "credit balance is too low")

_CREDENTIAL_ERRORS = ("permission_error", "authentication_error", "billing_error")
_CREDENTIAL_OBJECTIONS = ("oauth", "organization", "token has been revoked")


def _is_about_the_account(error: ErrorInfo) -> bool:
    message = error.message.lower()
    return any(words in message for words in _ACCOUNT_OBJECTIONS)


def _is_about_the_credential(error: ErrorInfo) -> bool:
    """Of a 403: an upstream's own word on the account. A gateway's page, or a model that is not for
    everybody, says nothing against the account's other requests."""
    text = f"{error.type} {error.message}".lower()
    if any(words in text for words in _CREDENTIAL_OBJECTIONS):
        return True
    return error.type in _CREDENTIAL_ERRORS and "model" not in text


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


def judge_early_error(error: ErrorInfo, headers: Headers = (), asked: Asked = Asked()) -> Verdict:
    """The verdict on an `error` event that came before any content, inside a 200 with `headers`."""
    return judge(_STATUS_OF_EVENT.get(error.type, 400), headers, error, asked)

"""Why nobody serves a request, in words that say what to do."""

from __future__ import annotations

import math

from protocol.accounts import AccountState
from protocol.leases import Acquire, Refusal
from protocol.routing import Considered

SHOWN_CHARACTERS = 80
"""Of what a client wrote, in a message: a model's name may be as long as a body."""

INELIGIBLE = {
    "disabled": "is disabled",
    "needs_login": "has lost its login: log in again (`supervisor auth status` says how)",
    "model": "may not serve this model",
    "owner": "is a subscription, which serves only its owner's own Claude Code",
}


def nobody(ask: Acquire, passed: dict[str, str]) -> Refusal:
    """No account may serve `ask` at all; `passed` says why, by account."""
    reasons = set(passed.values())
    if reasons == {"disabled"}:
        message = "every account is disabled; enable one or add another"
    elif reasons and reasons <= {"disabled", "needs_login"}:
        names = ", ".join(name for name, why in passed.items() if why == "needs_login")
        message = f"these accounts have lost their login: {names}; log in again"
    elif "owner" in reasons:
        message = (
            "only subscription accounts are left, and they serve their owner's Claude Code alone; "
            "add an account with an API key"
        )
    else:
        message = f"no account may serve the model {shown(ask.model)}"
    return Refusal("no_credential", message, considered=all_passed(passed))


def shown(text: str | None) -> str:
    """A client's word in a message, quoted and bounded."""
    return repr(text if text is None else text[:SHOWN_CHARACTERS])


def exhausted(
    eligible: list[AccountState], ends: list[float], now: float, passed: dict[str, str]
) -> Refusal:
    """Everybody rests or was tried: limits are the cause as soon as one account rests for one.

    `ends`: when those that rest are back (monotonic seconds).
    """
    if not ends:
        return Refusal("limited", "every account was tried", considered=all_passed(passed))
    available_in = min(ends) - now
    earliest = max(math.ceil(available_in), 1)
    refused = [s for s in eligible if any(c.reason == "auth" for c in s.active_cooldowns(now))]
    cause = "limited"
    if len(refused) == len(eligible):
        cause = "no_credential"
        message = (
            "the upstream refuses the credential of every account; check them with "
            "`supervisor status`"
        )
    elif len(eligible) > 1:
        message = f"every account is at its limit; the first is back in {earliest} s"
    else:
        message = f"account {eligible[0].name!r} is at its limit; it is back in {earliest} s"
    waitable = available_in if cause == "limited" else None
    return Refusal(cause, message, float(earliest), waitable, all_passed(passed))


def all_passed(passed: dict[str, str]) -> tuple[Considered, ...]:
    """Every account was passed over, each for its reason."""
    return tuple(Considered(name, "passed", why) for name, why in passed.items())

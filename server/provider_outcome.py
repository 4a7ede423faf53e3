"""What a failure means for where a request goes next."""

from __future__ import annotations

import msgspec

from protocol.errors import Problem
from protocol.headers import to_client
from protocol.leases import Refusal
from protocol.limits_evidence import read_retry_after
from protocol.providers import Fault, Rest, back_in, fault_of
from protocol.verdict import AUTH, Action
from server.attempt import Failed
from server.provider_attempt import verdict_of


def dry(last: Failed | None, first: Failed | None, refusal: Refusal | None, *, pool: bool) -> bool:
    """Whether the accounts failed for a reason of theirs, and not of the request's.

    `pool` false: the client pays with its own credential. It must hear that this was refused, for
    it renews it then.
    """
    failure = last or first
    if not pool and failure is not None and failure.verdict.reason == AUTH:
        return False
    if last is not None:
        return last.verdict.action is not Action.DELIVER
    return refusal is not None and refusal.cause in ("limited", "no_credential")


def judged(result: Failed) -> Failed:
    """An answer in the client's own dialect stays as it is; what it means is a provider's."""
    if result.status is None:
        verdict = verdict_of("server")
    elif result.status < 400:  # an error event before any content, inside a 200
        fault: Fault = "limited" if "rate_limit" in result.error.type else "server"
        verdict = verdict_of(fault, result.verdict.retry_after)
    else:
        told = read_retry_after(result.headers)
        verdict = verdict_of(fault_of(result.status, result.error.message), told)
    return msgspec.structs.replace(result, verdict=verdict)


def as_headers(refusal: Failed, added: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Of a refusal that the client gets as its answer, its body as a whole."""
    headers = to_client(refusal.headers, added)
    headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
    headers.append((b"content-length", str(len(refusal.body)).encode()))
    seconds = refusal.verdict.retry_after
    if seconds is not None and read_retry_after(refusal.headers) is None:
        headers.append((b"retry-after", str(max(int(seconds), 1)).encode()))
    return headers


def resting(provider: str, rest: Rest, now: float) -> Problem:
    seconds = back_in(rest, now)
    if rest.reason == "auth":
        message = f"provider {provider!r} refuses its api_key; it is asked again in {seconds} s"
        return Problem(503, message, "authentication_error", final=True)
    message = f"provider {provider!r} is at its limit; it is back in {seconds} s"
    return Problem(429, message, retry_after=seconds)

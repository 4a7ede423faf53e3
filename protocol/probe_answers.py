"""What a probe asks, and what its answer means for the account (`protocol.probing` says when)."""

from __future__ import annotations

import msgspec

from protocol.accounts import AccountState, Cooldown, Scope
from protocol.asked import Asked
from protocol.benches import LADDER, Benches, CooldownPolicy, benched, told_rest
from protocol.headers import to_upstream
from protocol.peek import ErrorInfo
from protocol.probing import Pace, Probe
from protocol.quota import Quota, merged, read
from protocol.request import Headers
from protocol.verdict import FaultKind, Verdict, judge, judge_fault

REST_MAX = 7 * 86400.0
"""Seconds: no retry-after keeps the probe away for longer than the longest window."""


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What came back; `fault` where there was no answer at all."""

    status: int = 0
    headers: Headers = ()
    error: ErrorInfo = ErrorInfo()
    fault: FaultKind | None = None


class Probed(msgspec.Struct, frozen=True):
    """An answer on its way to its account. `at` is epoch, `began` monotonic seconds."""

    probe: Probe
    verdict: Verdict
    quota: Quota
    at: float
    began: float

    @property
    def failed(self) -> bool:
        """Nothing was learnt, or not what was hoped for: it is asked less often."""
        return not self.verdict.success or not self.quota.windows


def request_headers(probe: Probe, user_agent: str) -> list[tuple[bytes, bytes]]:
    """Ours, under our own name; the credential is added as for any request."""
    ours = (
        (b"user-agent", user_agent.encode("ascii", "replace")),
        (b"accept", b"application/json"),
        (b"content-type", b"application/json"),
        (b"anthropic-version", b"2023-06-01"),
    )
    return to_upstream(ours, probe.key)


def request_body(probe: Probe) -> bytes:
    """The smallest message there is; counting tokens would bring no utilization (`peers.md` 2)."""
    message = {"role": "user", "content": "quota"}
    return msgspec.json.encode({"model": probe.model, "max_tokens": 1, "messages": [message]})


def judged(probe: Probe, answer: ProbeAnswer, at: float, began: float) -> Probed:
    """What `answer`, which came at `at` (epoch seconds), means for the account."""
    if answer.fault is not None:
        return Probed(probe, judge_fault(answer.fault), Quota(), at, began)
    verdict = judge(answer.status, answer.headers, answer.error, Asked(probe.model))
    return Probed(probe, verdict, read(answer.headers, at, "probe"), at, began)


def followed(pace: Pace, event: Probed, now: float, spread: float) -> Pace:
    """The pace after an answer; a retry-after is kept to."""
    rest = min(event.verdict.retry_after or 0.0, REST_MAX)
    failures = pace.failures + 1 if event.failed else 0
    return Pace(pace.credential, now, spread, failures, now + rest)


def probed(state: AccountState, event: Probed, policy: CooldownPolicy, now: float) -> AccountState:
    """The account after a probe; its counters are of requests, so they stay.

    A success ends a guess, never a refusal. A failure counts as a limit does for a request, for as
    long as the upstream says: by a spent window or a `retry-after`. Nothing is guessed, and a refused
    credential is for a request to find, which renews it first.
    """
    if event.probe.credential != state.spec.credential:
        return state  # replaced meanwhile
    state = msgspec.structs.replace(state, quota=merged(state.quota, event.quota))
    verdict = event.verdict
    if not event.probe.own:
        return state  # whatever became of that key, this account's is another
    if verdict.success:
        kept = tuple(c for c in state.cooldowns if not _ended(c, event.began))
        if len(kept) == len(state.cooldowns):
            return state
        return msgspec.structs.replace(state, cooldowns=kept, level=0)
    told = bool(verdict.windows) or verdict.retry_after is not None
    if verdict.benches and told and told_rest(verdict, policy, event.at) is not None:
        known = Benches(state.cooldowns, state.level)
        after = benched(known, verdict, policy, now=now, at=event.at)
        return msgspec.structs.replace(state, cooldowns=after.cooldowns, level=after.level)
    return state


def _ended(cooldown: Cooldown, began: float) -> bool:
    """Only a guess about the whole account, and only one that the probe could have met."""
    guess = cooldown.source == LADDER and cooldown.limits
    return guess and cooldown.scope is Scope.ACCOUNT and cooldown.since <= began

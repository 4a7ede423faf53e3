"""What must hold of every run, told from its history alone.

This knows nothing of the program's code: only what clients sent and got, what upstreams saw and
answered, what the token endpoint granted, what was on the disk, and which faults were injected.
Each rule is a function over `Cases` and yields what breaks it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.cases import HELD_UP, Case, Cases, Found, Try, ends_in_error, text_of
from tests.sim.credential_rules import (
    credentials_are_at_home,
    keys_open_what_they_should,
    the_disabled_rest,
    tokens_are_durable_and_current,
    told_rests_are_kept,
)
from tests.sim.excuses import CLOCK, DISK, PAUSE, epoch, excused, held_and_refused, relayed
from tests.sim.history import Guarded, History, Left, Line, Logged, Status

OTHER = "other.test"

SLACK = 1.5
"""Seconds until everybody knows what one of them has met."""


DOWN_SECONDS = 15.0
"""For so long an actor may be down after a crash."""

ITS_OWN = ("5xx", "529", "early error")
"""Faults of an upstream itself, told by itself."""

CALM_AT_LEAST = 15.0
"""Seconds without any, with room for slow answers."""


@dataclass(frozen=True)
class Violation:
    """`rule` is the name of the function that found it."""

    rule: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.at:9.3f} {self.rule}: {self.text}"


def every_request_has_one_end(cases: Cases) -> Found:
    """Exactly one answer, never silence, and nothing after it."""
    for case in cases.cases.values():
        if len(case.ends) != 1:
            yield case.sent.at, f"request {case.sent.request} ended {len(case.ends)} times"
            continue
        end = case.end
        if end.how == "silence":
            yield end.at, f"request {end.request} was never answered"
        if end.unasked:
            yield end.at, f"request {end.request}: {end.unasked[:60]!r} after its answer"
        if end.how == "complete" and case.head is None:
            yield end.at, f"request {end.request} is complete without a head"


def bytes_are_the_upstreams(cases: Cases) -> Found:
    """A good answer is one attempt's, in order, none invented; whole only if that was whole."""
    for case in relayed(cases):
        if not 200 <= case.status < 300 or held_and_refused(case):
            continue
        number, source = case.sent.request, case.source()
        elsewhere = _translating(case)
        if case.header("x-supervisor-fallback") or (source is None and elsewhere):
            if not any(_is_translated(case, one) for one in elsewhere):
                yield case.end.at, f"request {number}: {case.content[:80]!r} was never said"
            continue
        if not case.content and (case.body or case.end.how == "left"):
            continue  # it was held, and its client left
        if source is None or source.planned is None:
            yield (
                case.end.at,
                f"request {number}: got bytes that no attempt sent: {case.body[:80]!r}",
            )
        elif case.end.how == "complete":
            planned = source.planned
            if planned.ending != "complete" or planned.body not in (case.body, case.content):
                yield case.end.at, f"request {number}: a part was shown as the whole answer"


def _translating(case: Case) -> list[Try]:
    """The attempts whose answers its client gets in another dialect."""
    if case.sent.dialect == "openai":
        return case.tries
    return [one for one in case.tries if one.attempt.host == OTHER]


def _said_by(case: Case, status: int) -> bool:
    """Whether an upstream answered with this status, for us to translate."""
    return any(one.planned and one.planned.status == status for one in _translating(case))


def _is_translated(case: Case, one: Try) -> bool:
    """Whether the client got the words of this attempt in another dialect; all, or an error's end."""
    said, planned = text_of(case.content), one.planned
    if planned is None or not planned.text.startswith(said):
        return False
    whole = case.end.how == "complete" and not ends_in_error(case.content)
    return said == planned.text or not whole


def breaks_have_reasons(cases: Cases) -> Found:
    """An answer ends early because its upstream did, its client stalled, or the program ended."""
    for case in cases.cases.values():
        if len(case.ends) != 1 or case.end.how != "broken" or case.end.stalled:
            continue
        if cases.ending(case.sent.life, case.sent.at, case.end.at):
            continue
        source = case.source()
        planned = source.planned if source is not None and case.head is not None else None
        if planned is not None and planned.ending in ("cut", "reset", "stall"):
            continue
        if any(one.planned and one.planned.ending != "complete" for one in _translating(case)):
            continue
        if cases.faulted(PAUSE, case.sent.at - SLACK, case.end.at):
            continue  # after it every limit of time is over, that of an idle connection too
        yield case.end.at, f"request {case.sent.request} broke off without a reason"


def refusals_have_reasons(cases: Cases) -> Found:
    """An error is an upstream's own, unmodified, or ours for a cause that was recorded."""
    for case in relayed(cases):
        if case.status < 400 or case.end.how != "complete":
            continue
        if cases.ending(case.sent.life, case.sent.at, case.end.at):
            continue
        number, at = case.sent.request, case.end.at
        source = case.source()
        if any(one.whole for one in case.tries):
            yield at, f"request {number} was answered {case.status} although an attempt went well"
        if source is not None and case.body:
            if source.planned is not None and not source.failed:
                yield at, f"request {number}: {case.status} from an attempt that went well"
        elif case.status == 500 and not _said_by(case, 500):
            yield at, f"request {number}: an unforeseen {case.body[:120]!r}"
        elif case.status == 404 and case.sent.pinned:
            continue
        elif case.status == 401 and cases.made_keys and not case.tries:
            continue  # `keys_open_what_they_should` judges that
        elif case.status == 429 and _is_limited(cases, case):
            continue
        elif not excused(cases, case):
            yield at, f"request {number}: {case.status} without a cause: {case.body[:160]!r}"


def _is_limited(cases: Cases, case: Case) -> bool:
    """Whether its key had sent as much as it may before."""
    made = cases.made_keys.get(case.sent.own)
    if made is None or case.tries or not made.per_minute:
        return False
    at = case.sent.at
    others = (one for one in cases.by_key[made.shown] if one is not case)
    return sum(at - 60 - SLACK < one.sent.at <= at for one in others) >= made.per_minute


def nothing_is_replayed(cases: Cases) -> Found:
    """After the first byte to the client no upstream hears of the request again."""
    for case in cases.cases.values():
        if not case.pieces or case.status >= 400:
            continue
        first = case.pieces[0].at if case.content == case.body else case.end.at
        for one in case.tries:
            if one.attempt.at > first:
                late = one.attempt.at - first
                yield one.attempt.at, f"request {case.sent.request} tried again {late:.3f} s late"


def attempts_stay_in_budget(cases: Cases) -> Found:
    """`max_attempts`, or each account once; two more for overload; one more per renewed token."""
    limits = cases.configured[0].limits if cases.configured else {}
    most = int(limits.get("max_attempts", 0))
    patient = limits.get("max_wait", 0) or limits.get("max_hold", 0)
    for case in cases.cases.values():
        heard = [one for one in case.tries if one.planned and one.planned.ending != "none"]
        pool = [one for one in heard if one.attempt.host != OTHER]
        accounts = len(cases.configured[0].accounts) or 1
        bound = most or (2 * accounts + 2) * (4 if patient else 1)
        if len(pool) > bound:
            yield (
                pool[-1].attempt.at,
                f"request {case.sent.request}: {len(pool)} attempts, not {bound}",
            )
        overloads = [one for one in pool if one.planned and one.planned.fault == "529"]
        if len(overloads) > 3 and not patient:
            yield pool[-1].attempt.at, f"request {case.sent.request}: {len(overloads)} overloads"


def repeats_stay_in_budget(cases: Cases) -> Found:
    """After faults of the upstream itself, no more than a fifth of the requests and ten are sent
    there again in vain; ten more for each calm, each life and each reset by the owner."""
    limits = cases.configured[0].limits if cases.configured else {}
    if limits.get("max_wait", 0) or limits.get("max_hold", 0):
        return  # who waited begins anew
    firsts, vain, calms, last = 0, 0, len(cases.lives) + len(cases.owner) + 1, 0.0
    for one in sorted(cases.tries.values(), key=lambda one: one.attempt.at):
        if one.attempt.host != OTHER and one.planned and one.planned.fault in ITS_OWN:
            calms += one.attempt.at - last > CALM_AT_LEAST
            last = one.attempt.at
    for case in cases.cases.values():
        tries = [one for one in case.tries if one.attempt.host != OTHER and one.planned]
        firsts += bool(tries)
        faults = [one.planned.fault if one.planned else "" for one in tries]
        vain += sum(
            before in ITS_OWN and after in ITS_OWN for before, after in itertools.pairwise(faults)
        )
    if vain > firsts / 5 + 10 * calms:
        yield last, f"{vain} repeats in vain of {firsts} requests, {calms} times calm"


def benches_end(cases: Cases) -> Found:
    """No bench is longer than what was said or configured; at the end nobody rests."""
    limits = cases.configured[0].limits if cases.configured else {}
    rests = [one.planned.rest for one in cases.tries.values() if one.planned]
    longest = max([*rests, limits.get("maximum", 0), limits.get("auth", 0)]) + SLACK
    if cases.faulted(CLOCK, 0, float("inf")):
        return
    for status in cases.history.of(Status):
        for account in status.document["accounts"]:
            for bench in account["cooldowns"]:
                left = epoch(bench["until"]) - status.wall
                if left > longest:
                    yield (
                        status.at,
                        f"{account['name']} rests {left:.0f} s more ({bench['reason']})",
                    )


def quiet_is_perfect(cases: Cases) -> Found:
    """After quiet every request succeeds, and the program says that all is well."""
    for case in cases.cases.values():
        if not case.sent.calm or len(case.ends) != 1:
            continue
        source = case.source()
        asked_for = source is not None and source.planned and source.planned.fault in ("404", "400")
        if case.status == 429 and _is_limited(cases, case):
            continue
        if case.end.how != "complete" or not (200 <= case.status < 300 or asked_for):
            yield (
                case.end.at,
                f"request {case.sent.request}: {case.end.how} {case.status} after quiet",
            )
    for status in cases.history.of(Status):
        if not status.calm:
            continue
        document = status.document
        if document["in_flight"]:
            yield status.at, f"{document['in_flight']} requests are in flight after quiet"
        for actor in document["actors"]:
            age = actor["oldest_message_age"]
            if actor["state"] != "running" or age > SLACK:
                yield status.at, f"{actor['name']} is {actor['state']}, {age:.1f} s behind"


def nothing_is_left(cases: Cases) -> Found:
    """No task, connection or byte outlives its life; the client's settings are put back."""
    for left in cases.history.of(Left):
        if left.count:
            yield left.at, f"{left.count} {left.what} left"
    for guarded in cases.history.of(Guarded):
        life = [life for life in cases.lives if life.number == guarded.life]
        cut = any(one.what == "cut" for one in life)
        # Who crashes while it stops, or is down then, has no other life: it is the keeper, which is
        # none of this, who puts them back.
        stop = min((one.at for one in life if one.what == "draining"), default=guarded.at)
        crashed = cases.crashes("settings-guard", stop - DOWN_SECONDS, guarded.at)
        if guarded.pointed and not (cut or crashed):
            yield guarded.at, "the client's settings still point here"


def the_log_knows_no_surprise(cases: Cases) -> Found:
    """Nobody crashes but who was made to, and nothing fails in a way that nobody foresaw."""
    for logged in cases.history.of(Logged):
        injected = "InjectedCrash" in logged.text or (
            "Stuck" in logged.text and cases.faulted(HELD_UP, 0, logged.at)
        )
        if logged.raised or (" crashed" in logged.text and not injected):
            yield logged.at, f"{logged.text[:200]} {logged.raised[:200]}"


def every_request_has_one_line(cases: Cases) -> Found:
    """In the request log; none is written twice, and none is missing unless its writer was hindered."""
    written = Counter(line.id for line in cases.history.of(Line))
    end = max((case.sent.at for case in cases.cases.values()), default=0.0)
    for name, count in written.items():
        if count > 1:
            yield end, f"request {name} has {count} lines"
    hindered = cases.crashes("journal", 0, end) or cases.faulted(DISK, 0, end)
    if hindered or any(life.what in ("cut", "gave up") for life in cases.lives):
        return
    for case in relayed(cases):
        name = case.header("x-supervisor-request-id")
        if name and name not in written and case.status != 503:
            yield case.end.at, f"request {case.sent.request} has no line"


RULES: tuple[Callable[[Cases], Found], ...] = (
    every_request_has_one_end,
    bytes_are_the_upstreams,
    breaks_have_reasons,
    refusals_have_reasons,
    nothing_is_replayed,
    attempts_stay_in_budget,
    repeats_stay_in_budget,
    credentials_are_at_home,
    tokens_are_durable_and_current,
    the_disabled_rest,
    told_rests_are_kept,
    keys_open_what_they_should,
    benches_end,
    quiet_is_perfect,
    nothing_is_left,
    the_log_knows_no_surprise,
    every_request_has_one_line,
)


def check(history: History) -> list[Violation]:
    """Everything that is wrong with a run, in order of time."""
    cases = Cases(history)
    found = [Violation(rule.__name__, at, text) for rule in RULES for at, text in rule(cases)]
    return sorted(found, key=lambda violation: violation.at)

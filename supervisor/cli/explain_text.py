"""A request's explanation in words.

Built from the answer of `GET /status/requests/ID`, whose names and texts come from strangers: all of
it is made printable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from supervisor.cli.log_line import AttemptView, LineView, length, tokens, when
from supervisor.cli.wording import counted, dollars, duration, printable

_WHY = {
    "session": "its session's home",
    "stand_in": "stands in for its session's home",
    "pinned": "the request named it",
    "priority": "by priority",
    "again": "once more",
    "client": "the client's own credential",
    "order": "in this order",
    "switch_at": "nearly used up (routing.switch_at)",
    "tried": "had been tried",
    "cooling": "rests after a limit or a failure",
    "egress": "all that goes out from this machine rests",
    "provider": "its upstream fails, and is not asked again by one request",
    "requests_per_minute": "its requests_per_minute are used up",
    "disabled": "disabled, or needs a login",
    "model": "does not serve this model",
    "owner": "a subscription, kept for its owner's Claude Code",
    "ramp": "is given its requests bit by bit after a rest",
}
_OUTCOMES = {"taken": "took", "next": "next", "passed": "passed over", "waited": "waited for"}
_THEN = {
    "deliver": "the client got this answer",
    "next": "on to the next account",
    "again": "the same once more",
    "stop": "no other could do better",
}
_PAUSES = {
    "max_wait": "everybody rested, and the first was to be back soon",
    "max_hold": "everybody rested; the stream was held open",
    "overload": "the upstream was overloaded",
}
_SPENT = {
    "body": "reading the request",
    "choosing": "choosing an account",
    "waiting": "waiting",
    "upstream": "upstream, until its first byte",
    "delivering": "delivering the answer",
    "other": "all else",
}


def explanation(answer: object) -> list[str]:
    """The whole text, of an answer of `/status/requests/ID`."""
    document: dict[str, Any] = answer if isinstance(answer, dict) else {}
    try:
        line = msgspec.convert(document, LineView, strict=False)
    except msgspec.ValidationError as error:
        return [f"the running instance answers in a form unknown here: {printable(error)}"]
    told = document.get("explanation")
    told = told if isinstance(told, dict) else {}
    lines = [*summary(line), "", "Step by step, from its arrival"]
    steps = told.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict):
            lines += _step(step)
    left_out = _number(told.get("left_out"))
    if left_out:
        lines.append(f"  left out in the middle: {counted(int(left_out), 'step')}")
    spent = told.get("spent")
    if isinstance(spent, dict):
        lines += ["", "Where the time went", *_spent(spent)]
    return [printable(text) for text in lines]


def summary(line: LineView) -> list[str]:
    """What became of it, in a few lines."""
    served = line.provider or line.account
    model = line.served_model or line.model or "a model that it does not name"
    instead = f", asked for as {line.model}" if line.model not in (None, model) else ""
    how = "streamed" if line.stream else "in one piece"
    kind = "provider" if line.provider else "account"
    if served and line.terminal != "upstream_error":
        who = f"served by {kind} {served}: {model}{instead}"
    else:
        last = f"; {kind} {served} was tried last" if served else ""
        who = f"nobody served it: {model}{instead}{last}"
    status = "no answer" if line.status is None else f"status {line.status}"
    ended = [status, line.terminal or "", line.error_type or ""]
    lines = [
        f"{line.method or ''} {line.path or ''}, {how}, {when(line.at)}",
        who,
        *([f"why: {line.reason}"] if line.reason else []),
        ", ".join(part for part in ended if part),
        _times(line),
        f"{tokens(line) or 'tokens not known'}; cost {_cost(line)}",
    ]
    about = [f"client {line.client}" if line.client else ""]
    about += [f"session {line.session}" if line.session else ""]
    if any(about):
        lines.append(", ".join(part for part in about if part))
    return [printable(text) for text in (f"request {line.request_id}", *lines)]


def _times(line: LineView) -> str:
    first = f"first byte after {length(line.ms_first_byte)}" if line.ms_first_byte else ""
    tries = counted(line.attempts or 0, "attempt")
    return ", ".join(part for part in (f"{length(line.ms_total)} in all", first, tries) if part)


def _cost(line: LineView) -> str:
    if line.cost_usd is not None:
        return dollars(line.cost_usd)
    model = line.served_model or line.model
    return f"not known: {model} has no known price" if tokens(line) and model else "not known"


def attempt_in_words(attempt: AttemptView) -> str:
    """A line of the debug log."""
    parts = [
        f"{attempt.attempt or '?'}.",
        f"at {attempt.account}" if attempt.account else "",
        "no answer" if attempt.status is None else f"status {attempt.status}",
        f"head after {length(attempt.ms_head)}" if attempt.ms_head is not None else "",
        f"{length(attempt.ms_total)} in all" if attempt.ms_total is not None else "",
        attempt.ended or "",
        attempt.detail or "",
    ]
    return printable(" ".join(parts[:2]) + ": " + ", ".join(part for part in parts[2:] if part))


def _step(step: dict[str, Any]) -> Iterator[str]:
    at = f"  {length(_number(step.get('at'))) or '?':>8}  "
    took = length(_number(step.get("ms")))
    kind = step.get("step")
    if kind == "choice":
        if step.get("account"):
            reasons = ", ".join(str(reason) for reason in step.get("reasons") or ())
            yield f"{at}chose {step['account']}" + (f": {reasons}" if reasons else "")
        else:
            message = str(step.get("message") or "no reason given")
            after = _number(step.get("retry_after"))
            told = "is back in" in message  # our own words for the client
            back = f"; the first is back in {duration(after)}" if after and not told else ""
            yield f"{at}nobody could serve: {message}{back}"
        yield from _considered(step.get("considered"))
    elif kind == "attempt":
        yield f"{at}{_attempt(step, took)}"
    elif kind == "pause":
        why = str(step.get("why"))
        yield f"{at}waited {took}: {_PAUSES.get(why, why)}"


def _considered(entries: object) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            outcome, why = str(entry.get("outcome")), str(entry.get("why"))
            said = _WHY.get(why, why)
            yield f"{'':12}{_OUTCOMES.get(outcome, outcome):<12}{entry.get('account')}: {said}"


def _attempt(step: dict[str, Any], took: str) -> str:
    account, outcome = step.get("account"), step.get("outcome")
    if outcome == "served":
        first = length(_number(step.get("ms_first_byte")))
        began = f", first byte {first} after its arrival" if first else ""
        return f"{account} served it in {took}: {step.get('terminal')}, status {step.get('status')}{began}"
    if outcome == "left":
        return f"{account} was asked; the client left after {took}"
    status, kind = step.get("status"), str(step.get("error_type") or "")
    # The upstream's words begin with what is said already.
    detail = str(step.get("detail") or "").removeprefix(f"{status} {kind} ").rstrip(".")
    said = [f"status {status}" if status else "no answer", kind, detail]
    return f"{account} failed after {took}: {', '.join(filter(None, said))}{_verdict(step)}"


def _verdict(step: dict[str, Any]) -> str:
    scope, target = step.get("scope"), step.get("target")
    about = f"{scope} {target}" if target else str(scope)
    after = _number(step.get("retry_after"))
    parts = [
        f"{step['reason']} (evidence about the {about})" if step.get("reason") else "",
        f"retry after {duration(after)}" if after else "",
        _THEN.get(str(step.get("action")), str(step.get("action") or "")),
    ]
    return "".join(f"; {part}" for part in parts if part)


def _spent(spent: dict[str, Any]) -> Iterator[str]:
    for name, words in _SPENT.items():
        ms = _number(spent.get(name))
        if ms:
            yield f"  {length(ms):>8}  {words}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

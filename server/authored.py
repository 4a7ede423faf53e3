"""The answers that the relay gives itself, because no upstream gave one."""

from __future__ import annotations

from protocol.dispatch import Refusal
from protocol.errors import Problem, answer
from protocol.request import of_openai
from protocol.verdict import FaultKind
from server.attempt import Failed
from server.exchange import Exchange, send_answer
from server.record import Record


def request_id_header(record: Record) -> list[tuple[bytes, bytes]]:
    """What every answer carries, the upstream's and ours."""
    return [(b"x-supervisor-request-id", record.request_id.encode())]


async def author(exchange: Exchange, record: Record, problem: Problem) -> None:
    """Answers with `problem`, and writes down that it was ours."""
    record.error_type = problem.error_type
    record.reason = problem.message
    record.ended("refused", problem.status)
    record.delivered = True
    made = answer(problem, record.request_id, openai=of_openai(record.head, record.route))
    await send_answer(exchange, made, request_id_header(record))
    record.bytes_out = len(made.body)


def unreachable(failed: Failed) -> Problem:
    """No upstream answered at all."""
    reason = failed.verdict.reason
    if reason == FaultKind.TIMEOUT.value:
        return Problem(504, f"the upstream did not answer: {failed.detail}")
    if reason == FaultKind.NO_CONNECTION.value:
        return Problem(529, f"the upstream is busy: {failed.detail}", retry_after=1)
    return Problem(502, f"the upstream could not be reached ({reason}): {failed.detail}")


_STATUS_OF_CAUSE = {
    "limited": 429,
    "no_credential": 503,
    "unknown_account": 404,
    "wrong_model": 404,
}


def refused(refusal: Refusal | None) -> Problem:
    """Nobody could serve, and nothing was attempted (`interface.md` rule 2)."""
    if refusal is None:
        return Problem(500, "the proxy found nobody to serve this request")
    status = _STATUS_OF_CAUSE.get(refusal.cause, 503)
    seconds = refusal.retry_after
    return Problem(
        status,
        refusal.message,
        type="authentication_error" if status == 503 else "",
        retry_after=None if seconds is None else max(int(seconds), 1),
        final=refusal.cause == "no_credential",
    )

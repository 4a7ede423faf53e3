"""Lines of the request log and the debug log, in words."""

from __future__ import annotations

import msgspec

from supervisor.cli.wording import amount, dollars, moment, printable

FIRST_ERROR_STATUS = 400
SECOND = 1000.0


class LineView(msgspec.Struct, frozen=True):
    """What is shown of a request's line; one of another version is shown as well as it can be."""

    at: str
    request_id: str
    method: str | None = None
    path: str | None = None
    dialect: str | None = None
    model: str | None = None
    served_model: str | None = None
    account: str | None = None
    provider: str | None = None
    client: str | None = None
    session: str | None = None
    status: int | None = None
    attempts: int | None = None
    stream: bool | None = None
    terminal: str | None = None
    ms_total: float | None = None
    ms_first_byte: float | None = None
    ms_queue: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: float | None = None
    reason: str | None = None
    error_type: str | None = None


class AttemptView(msgspec.Struct, frozen=True):
    """What is shown of a line of the debug log."""

    at: str
    request_id: str
    attempt: int | None = None
    account: str | None = None
    method: str | None = None
    url: str | None = None
    status: int | None = None
    ms_head: float | None = None
    ms_total: float | None = None
    ended: str | None = None
    detail: str | None = None


_request = msgspec.json.Decoder(LineView)
_attempt = msgspec.json.Decoder(AttemptView)


def request_line(line: bytes) -> LineView | None:
    """None for a line that is torn, or somebody else's."""
    try:
        return _request.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def attempt_line(line: bytes) -> AttemptView | None:
    """None for a line that is torn, or somebody else's."""
    try:
        return _attempt.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def in_words(line: LineView) -> str:
    """One line for a person, on this machine's clock; the id last, to be copied."""
    tries = line.attempts or 0
    how = line.terminal if line.terminal not in (None, "complete") else ""
    parts = [
        when(line.at),
        "---" if line.status is None else str(line.status),
        f"{line.method or ''} {line.path or ''}".strip(),
        line.served_model or line.model or "",
        line.provider or line.account or "nobody",
        length(line.ms_total),
        f"{tries} attempts" if tries > 1 else "",
        tokens(line),
        dollars(line.cost_usd) if line.cost_usd is not None else "",
        how or "",
        line.error_type or "",
        line.request_id,
    ]
    return printable("  ".join(part for part in parts if part))


def when(at: str) -> str:
    """`2026-11-21 14:02:11` on this machine's clock; what is no time stays as it is."""
    then = moment(at)
    return at if then is None else then.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def length(ms: float | None) -> str:
    """`0.3 ms`, `812 ms`, `4.3 s`; "" where it is not known."""
    if ms is None:
        return ""
    if ms >= SECOND:
        return f"{ms / SECOND:.1f} s"
    return f"{ms:.0f} ms" if ms >= 10 or ms == int(ms) else f"{ms:.1f} ms"


def tokens(line: LineView) -> str:
    """`120k in (91% cached), 402 out`; "" where none are known."""
    counts = (line.input_tokens, line.cache_read_tokens, line.cache_write_tokens)
    if all(count is None for count in (*counts, line.output_tokens)):
        return ""
    everything, cached = sum(count or 0 for count in counts), line.cache_read_tokens or 0
    share = f" ({cached / everything:.0%} cached)" if cached else ""
    return f"{amount(everything)} in{share}, {amount(line.output_tokens or 0)} out"

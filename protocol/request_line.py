"""The journal's line: one per request, with the fields of `interface.md` "Files"."""

from __future__ import annotations

import datetime
import functools

import msgspec

# Controls, the line ends of Unicode, and halves of characters, which no encoder takes.
CONTROL_CHARACTERS = dict.fromkeys(
    [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)], "\ufffd"
)
TEXT_MAX = 300
"""Characters kept of a field that a client or an upstream wrote."""


_encoder = msgspec.json.Encoder()


class RequestLine(msgspec.Struct, frozen=True):
    """What became of one request. Durations are milliseconds, sizes bytes; unknown is null."""

    at: str
    request_id: str
    method: str
    path: str
    dialect: str | None = None
    model: str | None = None
    served_model: str | None = None
    account: str | None = None
    provider: str | None = None
    client: str | None = None
    session: str | None = None
    agent: str | None = None
    status: int | None = None
    attempts: int = 0
    stream: bool = False
    terminal: str = "complete"
    ms_total: float = 0.0
    ms_first_byte: float | None = None
    ms_queue: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: float | None = None
    reason: str | None = None
    error_type: str | None = None


_decoder = msgspec.json.Decoder(RequestLine)


def plain(text: str | None) -> str | None:
    """`text` fit for one line of a log: no control characters, bounded (`reliability.md` X4)."""
    if text is None or (text.isascii() and text.isprintable() and len(text) <= TEXT_MAX):
        return text
    return text[:TEXT_MAX].translate(CONTROL_CHARACTERS)


def decode_line(encoded: bytes) -> RequestLine:
    """The line again, as it was written."""
    return _decoder.decode(encoded)


def timestamp(at: float) -> str:
    """Epoch seconds as RFC 3339 UTC, to the millisecond."""
    seconds, rest = divmod(round(at * 1_000_000), 1_000_000)
    return f"{_second(seconds)}{rest // 1000:03d}Z"


@functools.lru_cache(maxsize=4)  # the requests of one second share it
def _second(seconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="seconds").removesuffix("+00:00") + "."


def encode_line(line: RequestLine) -> bytes:
    """The line with its newline: one line for every reader, whatever its fields hold.

    JSON escapes what lies below 0x20; the line ends above it are masked here.
    """
    try:
        encoded = _encoder.encode(line)
    except UnicodeEncodeError:  # half a character: a line is never lost for it
        fields = msgspec.structs.asdict(line).items()
        texts = {name: plain(value) for name, value in fields if isinstance(value, str)}
        encoded = msgspec.json.encode(msgspec.structs.replace(line, **texts))
    if not encoded.isascii() or b"\x7f" in encoded:
        encoded = encoded.decode().translate(CONTROL_CHARACTERS).encode()
    return encoded + b"\n"

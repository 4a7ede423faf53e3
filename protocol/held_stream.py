"""The bytes of a stream that we open ourselves, while every account rests.

A client that asked for a stream waits on any byte, but gives up at once on a long `retry-after`
(`wire.md` A10, A17). Once the stream is open there is no status left to answer with: what fails
after that is told by an `error` event, which is how the Messages API itself does it.
"""

from __future__ import annotations

import msgspec

PING_SECONDS = 15.0
"""Between two signs of life; the shortest idle limit on the way is about a minute."""

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))

MESSAGE_CHARACTERS_MAX = 500


def error_event(status: int, body: bytes) -> bytes:
    """The event that stands for an answer with `status` and `body`.

    An error in the dialect's shape is passed on as it is, put on one line; anything else is quoted.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if not (isinstance(document, dict) and isinstance(document.get("error"), dict)):
        text = body.decode("utf-8", "replace")[:MESSAGE_CHARACTERS_MAX]
        message = f"the upstream answered {status}: {text}".strip()
        document = {"type": "error", "error": {"type": "api_error", "message": message}}
    return b"event: error\ndata: " + msgspec.json.encode(document) + b"\n\n"

"""Answers as they were recorded in a fixture of the corpus.

A fixture keeps the answers of the upstream that the client was recorded against: status, headers
and body, or the events of a stream. How a connection ended is not in the record itself but in the
fixture's note ("TCP cut ..."), and two kinds of answers were recorded without their body: those
whose line ends are CRLF, and those that end with the connection. Both sent the greeting that all
the others have, so it is put back here in the form that the note describes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from server.scripted.answers import Answer, Cut, Headers, Send, no_answer, reset_before_head
from server.scripted.messages import message_events, stream, text_block

GREETING = "hi there"
PIECE_BYTES = 7
"""What the CRLF fixture was sent in."""
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})


def corpus_answers(fixture: Mapping[str, Any]) -> list[Answer]:
    """The answers of a fixture in the order of its exchanges, to be used as a script."""
    note = str(fixture.get("note", ""))
    return [_answer(exchange["response"], note) for exchange in fixture["exchanges"]]


def _answer(response: Mapping[str, Any] | None, note: str) -> Answer:
    if response is None:
        return reset_before_head() if "reset" in note else no_answer()
    recorded = cast("Sequence[Sequence[str]]", response.get("headers", ()))
    headers: Headers = tuple(
        (name, value) for name, value in recorded if name.lower() not in _FRAMING_HEADERS
    )
    status = int(response["status"])
    if "sse" in response:
        return _stream(status, headers, response["sse"], note)
    if "body" in response:
        return Answer(status=status, headers=headers, body=_body(response["body"]))
    whole = stream(message_events([text_block(GREETING)]))
    return Answer(
        status=status, headers=headers or whole.headers, parts=whole.parts, framing="close"
    )


def _body(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _stream(status: int, headers: Headers, events: Sequence[str], note: str) -> Answer:
    if not events and "CRLF" in note:
        text = b"".join(message_events([text_block(GREETING)])).replace(b"\n", b"\r\n")
        return Answer(status=status, headers=headers, parts=(Send(text),), piece_bytes=PIECE_BYTES)
    sends = tuple(Send(event.encode()) for event in events)
    finished = any("message_stop" in event or "[DONE]" in event for event in events)
    cut = (Cut(),) if "cut" in note.lower() and not finished else ()
    return Answer(status=status, headers=headers, parts=(*sends, *cut))

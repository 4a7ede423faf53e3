"""Targets that read a stream: however it is cut, the same comes of it, and nothing is raised."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.chunked import ChunkedBody, MalformedChunks
from protocol.early_events import EarlyEvents
from protocol.event_picker import EventPicker
from protocol.sse import EVENT_BYTES_MAX, Event, EventScanner
from protocol.translation.answer_openai import AnswerStream, encode_chunk, error_body, whole
from protocol.translation.collect import collect
from protocol.translation.from_gemini import GeminiStream
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.grammar import Grammar
from protocol.translation.provider_error import ProviderError, read_failure, retry_delay
from protocol.translation.provider_stream import ProviderStream
from protocol.translation.tool_names import ToolNames
from protocol.translation.writer import encode_event
from protocol.usage import UsageMeter
from tests.fuzz.pieces import cut, document

NAMES = ToolNames(["Bash", "Read", "mcp__x__" + "y" * 80])
KNOWN = frozenset({b"message_start", b"message_delta", b"message_stop", b"error"})


def events(data: bytes) -> None:
    """Server-sent events: scanner, picker, meter and the look at the first ones."""
    rest, pieces = cut(data)
    scanned = EventScanner().feed(rest)
    assert sum(len(event.data) for event in scanned) <= len(rest)
    assert all(len(event.data) <= EVENT_BYTES_MAX for event in scanned)
    scanner = EventScanner()
    assert [event for piece in pieces for event in scanner.feed(piece)] == scanned
    picked, picker = EventPicker(KNOWN).feed(rest), EventPicker(KNOWN)
    assert [event for piece in pieces for event in picker.feed(piece)] == picked
    assert all(event.name.encode() in KNOWN or not event.name for event in picked)
    for streamed in (True, False):
        metered, in_pieces = UsageMeter(events=streamed), UsageMeter(events=streamed)
        metered.feed(rest)
        for piece in pieces:
            in_pieces.feed(piece)
        assert (metered.usage(), metered.model, metered.ended) == (
            in_pieces.usage(),
            in_pieces.model,
            in_pieces.ended,
        )
    early, cut_early = EarlyEvents(), EarlyEvents()
    early.feed(rest)
    for piece in pieces:
        cut_early.feed(piece)
    assert (early.settled, early.error) == (cut_early.settled, cut_early.error)


def chunks(data: bytes) -> None:
    """The chunked coding: the same body or the same refusal, however it is cut."""
    rest, pieces = cut(data)
    assert _unchunked([rest]) == _unchunked(pieces)


def _unchunked(pieces: list[bytes]) -> tuple[bytes, bytes] | str:
    body, found, behind = ChunkedBody(), b"", b""
    try:
        for piece in pieces:
            if body.ended:
                behind += piece
            else:
                found += body.feed(piece)
    except MalformedChunks:
        return "malformed"
    return (found, body.rest + behind) if body.ended else ("unended")


def from_openai(data: bytes) -> None:
    """OpenAI's stream as Anthropic's."""
    rest, _ = cut(data)
    _translated(OpenAIStream(NAMES, "msg_1", "asked"), rest)
    _answered(OpenAIStream(NAMES, "msg_1", "asked"), rest)


def from_gemini(data: bytes) -> None:
    """Gemini's stream as Anthropic's."""
    rest, _ = cut(data)
    _translated(GeminiStream(NAMES, "msg_1", "asked"), rest)
    _answered(GeminiStream(NAMES, "msg_1", "asked"), rest)


def _events(data: bytes) -> list[Event]:
    """A JSON array is a stream with each of its values as an event; all else is a stream itself."""
    values = document(data)
    if not isinstance(values, list):
        return EventScanner().feed(data + b"\n\n")
    return [Event("", _json(value)) for value in values]


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError):
        return b"{}"


def _translated(stream: ProviderStream, data: bytes) -> None:
    """What comes out obeys Anthropic's grammar, can be written down, and ends exactly once."""
    said: list[dict[str, Any]] = []
    try:
        for event in _events(data):
            said += stream.feed(event)
        said += stream.finish()
    except ProviderError as error:
        assert not said, "an error is raised only while nothing was said"
        error.body("req_1")
        return
    grammar = Grammar()
    for out in said:
        grammar.feed(out)
        encode_event(out)
    grammar.finish()
    if said[-1]["type"] != "error":
        msgspec.json.encode(whole(collect(said), 1))
    answered = AnswerStream(1, include_usage=True)
    for out in said:
        for chunk in answered.event(out):
            encode_chunk(chunk)


def _answered(stream: ProviderStream, data: bytes) -> None:
    """The same as one whole answer, or as an error's body."""
    error = read_failure(502, data)
    assert error.status >= 400
    retry_delay(data)
    error_body(400, data)
    answer = document(data)
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if isinstance(answer, dict):
        try:
            msgspec.json.encode(stream.whole(msgspec.json.decode(_json(answer))))
        except ProviderError as error:
            error.body("req_1")


def to_openai_clients(data: bytes) -> None:
    """Anthropic's own stream, or what claims to be one, as chunks for a client of OpenAI's."""
    rest, _ = cut(data)
    stream = AnswerStream(1, include_usage=True)
    for event in _events(rest):
        for chunk in stream.feed(event):
            encode_chunk(chunk)
    message = document(rest)
    if isinstance(message, dict):
        message = msgspec.json.decode(_json(message))
        msgspec.json.encode(whole(message, 1))

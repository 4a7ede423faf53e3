"""OpenAI's dialect in front: the client's exchange, seen from inside as one of Anthropic's."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.peek import read_json
from protocol.request import Headers, RequestHead
from protocol.sse import Event, EventScanner
from protocol.translation.answer_openai import (
    DONE,
    AnswerStream,
    encode_chunk,
    error_body,
    error_view,
    whole,
)
from protocol.translation.read_openai import read_request
from server.exchange import Exchange
from server.provider_request import ANTHROPIC_VERSION
from server.wrapped_exchange import WrappedExchange

KEEP_ALIVE = b": ping\n\n"
"""A comment: this dialect has no event for it."""

EVENT_BYTES_MAX = 64 * 1024 * 1024
"""Of one event: a tool's whole input may be in it."""

_document = msgspec.json.Decoder(dict[str, Any])

_LENGTH = frozenset({b"content-length", b"content-type"})

CUT = {"type": "api_error", "message": "the upstream's stream ended before its answer did"}


def translated_body(body: bytes) -> bytes:
    """The body for Anthropic. Raises Untranslatable.

    A body that is no JSON object stays: the upstream's error is the one that tells the client.
    """
    request = read_json(_document, body)
    return body if request is None else msgspec.json.encode(read_request(request))


def wants_usage(body: bytes) -> bool:
    """Whether the stream is to tell its usage."""
    options = (read_json(_document, body) or {}).get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


class OpenAIFront(WrappedExchange):
    """Wraps the exchange of a chat completion; what is sent through it are Anthropic's answers.

    `created` in epoch seconds.
    """

    def __init__(self, exchange: Exchange, created: int, *, include_usage: bool) -> None:
        super().__init__(exchange)
        self._created = created
        self._head = _as_messages(exchange.head)
        self._scanner = EventScanner(EVENT_BYTES_MAX)
        self._answer = AnswerStream(created, include_usage=include_usage)
        self._status = 200
        self._headers: list[tuple[bytes, bytes]] = []
        self._streams = False
        self._body = bytearray()
        self.withheld = False

    @property
    def head(self) -> RequestHead:
        """As a client of Anthropic's would have written it."""
        return self._head

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """A whole answer waits until it is there: its length is another one in this dialect."""
        self._status = status
        self._headers = [(name, value) for name, value in headers if name.lower() not in _LENGTH]
        self._streams = status < 400 and _is_event_stream(headers)
        self.withheld = not self._streams
        self._body.clear()
        if self._streams:
            kind = (b"content-type", b"text/event-stream; charset=utf-8")
            await self._exchange.start(status, [kind, *self._headers])

    async def send(self, chunk: bytes) -> None:
        if not self._streams:
            self._body += chunk
            return
        await self._say(self._scanner.feed(chunk))

    async def finish(self) -> None:
        self.withheld = False
        if self._streams:
            await self._say(self._scanner.feed(b"\n\n"))
            if not self._answer.ended:
                await self._exchange.send(encode_chunk(error_view(CUT)))
        else:
            body = self._translated()
            length = (b"content-length", str(len(body)).encode())
            kind = (b"content-type", b"application/json")
            await self._exchange.start(self._status, [kind, *self._headers, length])
            if body:
                await self._exchange.send(body)
        await self._exchange.finish()

    async def _say(self, events: list[Event]) -> None:
        pieces: list[bytes] = []
        for event in events:
            over = self._answer.ended
            if event.name == "ping" and not over:
                pieces.append(KEEP_ALIVE)
            pieces += [encode_chunk(chunk) for chunk in self._answer.feed(event)]
            if self._answer.ended and not over and event.name != "error":
                pieces.append(DONE)
        if pieces:
            await self._exchange.send(b"".join(pieces))

    def _translated(self) -> bytes:
        body = bytes(self._body)
        if self._status >= 400:
            return error_body(self._status, body)
        message = read_json(_document, body)
        if message is None or message.get("type") != "message":
            return body
        return msgspec.json.encode(whole(message, self._created))


def _as_messages(head: RequestHead) -> RequestHead:
    headers: Headers = tuple(
        (name, value)
        for name, value in head.headers
        if name.lower() not in (b"anthropic-version", b"content-length")
        and not name.lower().startswith((b"openai-", b"x-stainless-"))
    )
    version = (b"anthropic-version", ANTHROPIC_VERSION)
    return RequestHead("POST", b"/v1/messages", (*headers, version), head.peer)


def _is_event_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in headers
    )

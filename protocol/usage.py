"""What a response cost in tokens, read beside its relaying: the bytes pass on unchanged.

Anthropic tells it in `message_start` and again, cumulatively, in each `message_delta` (`wire.md`
B4): a later number replaces an earlier one and is never added to it. OpenAI tells it in one of the
last chunks before `[DONE]`, and its `prompt_tokens` include what came from a cache.

Whatever cannot be read (compressed, malformed, too large) is unknown, never an error.
"""

from __future__ import annotations

import re

import msgspec

from protocol.event_picker import EventPicker
from protocol.peek import read_json
from protocol.request import Headers, Route
from protocol.sse import Event

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Kept of a JSON body until its end; the usage of a larger one stays unknown."""
TOKENS_MAX = 10**12
"""A larger number means nothing; sums of smaller ones fit everywhere."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one response; None: not told. `input_tokens` does not include the cached ones.

    `partial`: the response was cut, so these are the last numbers seen, not the final ones.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    partial: bool = False


_NOTHING = Usage()

_NAMES = frozenset({b"message_start", b"message_delta", b"message_stop"})

# Looked for in the chunks of nameless streams, so that only those that matter are decoded. Inside
# of a text these quotes would be escaped.
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')


class _Data(msgspec.Struct):
    """A whole message, an event's data or a chunk; what is not named here is skipped unread."""

    type: object = None
    message: object = None
    delta: object = None
    model: object = None
    usage: object = None


_decoder = msgspec.json.Decoder(_Data)


class UsageMeter:
    """Feed it the body of one response as it passes; total: no bytes make it raise.

    `events`: the body is an event stream, else one JSON document. `ended` turns true with the
    event after which a stream has nothing more to say; `model` is the model that the response
    names, None as long as it has named none.
    """

    def __init__(self, *, events: bool) -> None:
        self.ended = False
        self._model: str | None = None
        self._picker = EventPicker(_NAMES) if events else None
        self._usage = _NOTHING
        self._stopped = False
        self._looked_for_model = False
        self._body: list[bytes] = []
        self._room = BODY_BYTES_MAX

    def feed(self, chunk: bytes) -> None:
        """Looks at one more piece."""
        if self._picker is not None:
            for event in self._picker.feed(chunk):
                self._look(event)
        elif len(chunk) <= self._room:
            self._room -= len(chunk)
            self._body.append(chunk)
        else:
            self._room = -1
            self._body.clear()

    @property
    def model(self) -> str | None:
        """The model that the response names, as far as it was fed."""
        self._read_body()
        return self._model

    def usage(self) -> Usage | None:
        """The last numbers seen; None when there were none."""
        self._read_body()
        if self._usage == _NOTHING:
            return None
        cut = self._picker is not None and not (self.ended or self._stopped)
        return msgspec.structs.replace(self._usage, partial=cut)

    def _read_body(self) -> None:
        """A JSON body is decoded once, at its end."""
        if not self._body:
            return
        data = read_json(_decoder, b"".join(self._body))
        self._body.clear()
        self._room = -1
        if data is not None:
            self._take(data)

    def _look(self, event: Event) -> None:
        if not event.name:
            self._look_at_nameless(event.data)
        elif event.name == "message_stop":
            self.ended = True
        else:
            data = read_json(_decoder, event.data)
            if data is not None:
                self._take_event(event.name, data)

    def _take_event(self, name: str, data: _Data) -> None:
        if name == "message_start" and isinstance(data.message, dict):
            self._take(_Data(model=data.message.get("model"), usage=data.message.get("usage")))
        elif name == "message_delta":
            self._take(_Data(usage=data.usage))
            if isinstance(data.delta, dict) and data.delta.get("stop_reason") is not None:
                self._stopped = True

    def _look_at_nameless(self, data: bytes) -> None:
        """The OpenAI dialect has no names, and its chunks are many: only few are decoded."""
        if data == b"[DONE]":
            self.ended = True
            return
        self._stopped = self._stopped or _FINISHED.search(data) is not None
        if self._looked_for_model and _USAGE.search(data) is None:
            return
        self._looked_for_model = True
        chunk = read_json(_decoder, data)
        if chunk is not None and isinstance(chunk.type, str):
            self._take_event(chunk.type, chunk)  # Anthropic's events, their names left out
        elif chunk is not None:
            self._take(chunk)

    def _take(self, data: _Data) -> None:
        if self._model is None and isinstance(data.model, str) and data.model:
            self._model = data.model
        if isinstance(data.usage, dict):
            seen = _openai(data.usage) if _is_openai(data.usage) else _anthropic(data.usage)
            told = {name: tokens for name, tokens in seen.items() if tokens is not None}
            self._usage = msgspec.structs.replace(self._usage, **told)


def meter_for(route: Route, headers: Headers, *, stream: bool) -> UsageMeter | None:
    """The meter of an answer with `headers`; None where nothing is counted or can be read.

    `stream`: the client asked for events, which counts where the answer's type leaves it open.
    """
    if route not in (Route.MESSAGES, Route.CHAT_COMPLETIONS):
        return None
    kind = _value(headers, b"content-type")
    if _value(headers, b"content-encoding") not in (b"", b"identity"):
        return None
    events = kind.startswith(b"text/event-stream") or (stream and b"json" not in kind)
    return UsageMeter(events=events)


def _value(headers: Headers, wanted: bytes) -> bytes:
    size = len(wanted)
    for name, value in headers:
        if len(name) == size and name.lower() == wanted:
            return value.strip().lower()
    return b""


def _tokens(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOKENS_MAX:
        return value
    return None


def _anthropic(usage: dict[str, object]) -> dict[str, int | None]:
    return {
        "input_tokens": _tokens(usage.get("input_tokens")),
        "output_tokens": _tokens(usage.get("output_tokens")),
        "cache_read_tokens": _tokens(usage.get("cache_read_input_tokens")),
        "cache_write_tokens": _tokens(usage.get("cache_creation_input_tokens")),
    }


def _is_openai(usage: dict[str, object]) -> bool:
    return "prompt_tokens" in usage or "completion_tokens" in usage


def _openai(usage: dict[str, object]) -> dict[str, int | None]:
    found = usage.get("prompt_tokens_details")
    details = found if isinstance(found, dict) else {}
    read = _tokens(details.get("cached_tokens"))
    if read is None:
        read = _tokens(usage.get("prompt_cache_hit_tokens"))  # DeepSeek (`wire.md` D3)
    written = _tokens(details.get("cache_write_tokens"))
    prompt = _tokens(usage.get("prompt_tokens"))
    if prompt is not None:
        prompt = max(prompt - (read or 0) - (written or 0), 0)
    return {
        "input_tokens": prompt,
        "output_tokens": _tokens(usage.get("completion_tokens")),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
    }

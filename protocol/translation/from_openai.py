"""OpenAI Chat Completions answers as Anthropic's: streams, whole answers, errors (`wire.md` B5, D)."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.sse import Event
from protocol.translation.collect import collect
from protocol.translation.provider_error import ProviderError, failure
from protocol.translation.tool_names import ToolNames
from protocol.translation.writer import Json, MessageWriter
from protocol.usage import Usage

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""An unknown reason ends the turn, as clients take unknown ones of Anthropic's (`wire.md` A17)."""

_DONE = b"[DONE]"


class OpenAIStream:
    """Chunks in, Anthropic events out. `usage` is the last that was told; it is never added up."""

    def __init__(self, names: ToolNames, message_id: str, model: str) -> None:
        self._names = names
        self._message_id = message_id
        self._model = model
        self._writer: MessageWriter | None = None
        self._calls: dict[object, _Call] = {}
        self._finish: str | None = None
        self._refused = False
        self.usage = Usage()

    @property
    def ended(self) -> bool:
        """Whether the message, or its failure, was told to its end."""
        return self._writer is not None and self._writer.ended

    def feed(self, event: Event) -> list[Json]:
        """Raises ProviderError when the stream begins with an error: nothing was said yet."""
        if self.ended or not event.data:
            return []
        if event.data.strip() == _DONE:
            return self.finish()
        try:
            chunk = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, RecursionError):
            return self._fail(
                ProviderError(502, "api_error", "the provider sent a chunk that is no JSON")
            )
        if not isinstance(chunk, dict):
            return self._fail(
                ProviderError(502, "api_error", "the provider sent a chunk that is no object")
            )
        return self.chunk(chunk)

    def chunk(self, chunk: Json) -> list[Json]:
        """One decoded chunk. Raises ProviderError as `feed` does."""
        if chunk.get("error"):
            return self._fail(failure(None, chunk))
        writer = self._begun(chunk)
        events = writer.begin()
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = read_usage(usage)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return events
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            events += self._delta(writer, delta)
        finish = choice.get("finish_reason")
        if isinstance(finish, str):
            if finish == "error":  # OpenRouter, inside a 200 (`wire.md` D3)
                return events + self._fail(failure(None, choice))
            self._finish = finish
        return events

    def finish(self) -> list[Json]:
        """The upstream has ended: the message's end, or the error that it lacks one."""
        if self.ended:
            return []
        if self._writer is None or self._finish is None:
            cut = "the provider's stream ended before its answer did"
            return self._fail(ProviderError(502, "api_error", cut))
        events: list[Json] = []
        for call in self._calls.values():
            events += call.open(self._writer, self._names, self._message_id, last=True)
        return events + self._writer.end(self._stop_reason(), self.usage)

    def fail(self, error: ProviderError) -> list[Json]:
        """The stream broke: an error event for a client that has seen some of it, else it raises."""
        return self._fail(error)

    def _begun(self, chunk: Json) -> MessageWriter:
        if self._writer is None:
            model = chunk.get("model")
            named = model if isinstance(model, str) and model else self._model
            self._writer = MessageWriter(self._message_id, named)
        return self._writer

    def _delta(self, writer: MessageWriter, delta: Json) -> list[Json]:
        events: list[Json] = []
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            events += writer.thinking(thought)
        for words in (_words(delta.get("content")), _words(delta.get("refusal"))):
            events += writer.text(words) if words else []
        self._refused = self._refused or bool(_words(delta.get("refusal")))
        calls = delta.get("tool_calls")
        for place, piece in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(piece, dict):
                events += self._call(writer, piece, place, delta.get("reasoning_details"))
        return events

    def _call(self, writer: MessageWriter, piece: Json, place: int, details: object) -> list[Json]:
        # Some providers number nothing: then a new id is a new call.
        key = piece.get("index")
        if key is None:
            key = piece.get("id") or (list(self._calls)[-1] if self._calls else place)
        call = self._calls.setdefault(key, _Call(key, len(self._calls)))
        call.take(piece, details)
        return call.open(writer, self._names, self._message_id)

    def _stop_reason(self) -> str:
        if self._refused:
            return "refusal"
        reason = STOP_REASONS.get(self._finish or "", "end_turn")
        # Several servers say "stop" after a call; a client that goes by the reason would not run it.
        return "tool_use" if self._calls and reason == "end_turn" else reason

    def _fail(self, error: ProviderError) -> list[Json]:
        if self._writer is None:
            raise error
        return self._writer.fail(error.type, error.message)


class _Call:
    """One tool call: its pieces are kept until its id and its name are known."""

    def __init__(self, key: object, place: int) -> None:
        self._key = key
        self._place = place
        self._id = ""
        self._name = ""
        self._foreign: Json = {}
        self._arguments: list[str] = []
        self._opened = False

    def take(self, piece: Json, details: object) -> None:
        self._id = self._id or _words(piece.get("id"))
        function = piece.get("function")
        if isinstance(function, dict):
            if not self._opened:
                self._name += _words(function.get("name"))
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # Ollama's older servers
                arguments = msgspec.json.encode(arguments).decode()
            self._arguments.append(_words(arguments))
        state = piece.get("extra_content")
        if isinstance(state, dict):
            self._foreign.update(state)
        if isinstance(details, list):
            self._foreign["reasoning_details"] = details

    def open(
        self, writer: MessageWriter, names: ToolNames, message_id: str, *, last: bool = False
    ) -> list[Json]:
        """What can be told by now; `last`: an id that never came is not waited for. One of ours has
        to be unique in the whole conversation, or the client drops the call (`wire.md` A17)."""
        events: list[Json] = []
        if not self._opened:
            # A name comes whole, in one piece with the id or before the first argument.
            if not self._name or not (self._id or last):
                return []
            self._opened = True
            call_id = self._id or f"{message_id}_{self._place}"
            events += writer.tool(self._key, call_id, names.back(self._name), self._foreign)
        pending, self._arguments = "".join(self._arguments), []
        return events + (writer.arguments(self._key, pending) if pending else [])


def whole(answer: Json, names: ToolNames, message_id: str, model: str) -> Json:
    """A complete answer as a message. Raises ProviderError for an error or an unreadable answer.

    It is the collected stream of one chunk, so both ways agree by construction.
    """
    stream = OpenAIStream(names, message_id, model)
    events = [*stream.chunk(answer), *stream.finish()]
    broken = next((event for event in events if event["type"] == "error"), None)
    if broken is not None:
        error = broken["error"]
        raise ProviderError(502, error["type"], error["message"])
    return collect(events)


def read_usage(usage: Json) -> Usage:
    """OpenAI's prompt includes what came from a cache; Anthropic's input does not (`wire.md` B5)."""
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    cached = _count(details.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens"))
    written = _count(details.get("cache_write_tokens"))
    prompt = _count(usage.get("prompt_tokens"))
    return Usage(
        input_tokens=max(prompt - cached - written, 0),
        output_tokens=_count(usage.get("completion_tokens")),
        cache_read_tokens=cached,
        cache_write_tokens=written,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _words(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # content parts
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""

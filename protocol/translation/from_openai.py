"""OpenAI Chat Completions answers as Anthropic's: streams, whole answers, errors (`wire.md` B5, D)."""

from __future__ import annotations

import msgspec

from protocol.sse import Event
from protocol.translation.provider_error import failure
from protocol.translation.provider_stream import ProviderStream, count
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


class OpenAIStream(ProviderStream):
    """Of `chat.completion.chunk` objects, ended by `[DONE]`."""

    model_field = "model"

    def __init__(self, names: ToolNames, message_id: str, model: str) -> None:
        super().__init__(names, message_id, model)
        self._calls: dict[object, _Call] = {}
        self._refused = False

    def feed(self, event: Event) -> list[Json]:
        """Raises ProviderError when the stream begins with an error: nothing was said yet."""
        if event.data.strip() == _DONE:
            return self.finish()
        return super().feed(event)

    def _said(self, writer: MessageWriter, chunk: Json) -> list[Json]:
        events: list[Json] = []
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
                return events + self.fail(failure(None, choice))
            self._finish = finish
        return events

    def _rest(self, writer: MessageWriter) -> list[Json]:
        events: list[Json] = []
        for call in self._calls.values():
            events += call.open(writer, self._names, self._message_id, last=True)
        return events

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
        if not isinstance(key, int | float | str):
            key = _words(piece.get("id")) or (list(self._calls)[-1] if self._calls else place)
        call = self._calls.setdefault(key, _Call(key, len(self._calls)))
        call.take(piece, details)
        return call.open(writer, self._names, self._message_id)

    def _stop_reason(self, finish: str) -> str:
        if self._refused:
            return "refusal"
        reason = STOP_REASONS.get(finish, "end_turn")
        # Several servers say "stop" after a call; a client that goes by the reason would not run it.
        return "tool_use" if self._calls and reason == "end_turn" else reason


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


def read_usage(usage: Json) -> Usage:
    """OpenAI's prompt includes what came from a cache; Anthropic's input does not (`wire.md` B5)."""
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    cached = count(details.get("cached_tokens")) or count(usage.get("prompt_cache_hit_tokens"))
    written = count(details.get("cache_write_tokens"))
    prompt = count(usage.get("prompt_tokens"))
    return Usage(
        input_tokens=max(prompt - cached - written, 0),
        output_tokens=count(usage.get("completion_tokens")),
        cache_read_tokens=cached,
        cache_write_tokens=written,
    )


def _words(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # content parts
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""

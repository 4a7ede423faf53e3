"""OpenAI Chat Completions answers as Anthropic's: streams, whole answers, errors (`wire.md` B5, D)."""

from __future__ import annotations

import msgspec

from protocol.sse import Event
from protocol.translation.provider_error import ProviderError, failure
from protocol.translation.provider_stream import NAMELESS, ProviderStream, count
from protocol.translation.tool_names import ToolNames
from protocol.translation.whole_object import WholeObject
from protocol.translation.writer import Json, MessageWriter
from protocol.usage import Usage

STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
"""Every other reason, an unknown one too, ends the turn (`wire.md` A17): several servers say "stop"
after a call, and a client that goes by the reason would not run it."""

_DONE = b"[DONE]"


class OpenAIStream(ProviderStream):
    """Of `chat.completion.chunk` objects, ended by `[DONE]`."""

    model_field = "model"

    def __init__(self, names: ToolNames, message_id: str, model: str, origin: str = "") -> None:
        super().__init__(names, message_id, model, origin)
        self._calls: list[_Call] = []
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
        for call in self._calls:
            if call.nameless:
                return self.fail(ProviderError(502, "api_error", NAMELESS))
            events += self._told(writer, call, last=True)
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
        for piece in calls if isinstance(calls, list) else ():
            if isinstance(piece, dict):
                call = self._call(piece)
                call.take(piece, delta.get("reasoning_details"))
                events += self._told(writer, call)
        return events

    def _call(self, piece: Json) -> _Call:
        """The call that a piece belongs to. Some servers number nothing, some number every call 0,
        some give no id; a new id or, after a whole call, a name again is a new call all the same."""
        index, call_id = piece.get("index"), _words(piece.get("id"))
        if isinstance(index, int) and not isinstance(index, bool):
            known = [call for call in self._calls if call.index == index]
        else:
            index = None
            known = [call for call in self._calls if not call_id or call.id in ("", call_id)]
        found = known[-1] if known else None
        if found is None or found.another(piece, call_id):
            found = _Call(index, len(self._calls))
            self._calls.append(found)
        return found

    def _told(self, writer: MessageWriter, call: _Call, *, last: bool = False) -> list[Json]:
        """What can be told by now; `last`: an id that never came is not waited for.

        One of ours has to be unique in the whole conversation, and no two calls of an answer may
        share one: the client would drop the second (`wire.md` A17).
        """
        events: list[Json] = []
        if not call.opened:
            # A name comes whole, in one piece with the id or before the first argument.
            if not call.name or not (call.id or last):
                return []
            call.opened = True
            told = call.id
            if not told or any(other.told == told for other in self._calls):
                told = f"{self._message_id}_{call.place}"
            call.told = told
            name = self._names.back(call.name)
            events += writer.tool(call.place, told, name, call.foreign)
        pending = "".join(call.pending)
        call.pending.clear()
        return events + (writer.arguments(call.place, pending) if pending else [])

    def _stop_reason(self, finish: str) -> str:
        if self._refused:
            return "refusal"
        return STOP_REASONS.get(finish) or ("tool_use" if self._calls else "end_turn")


class _Call:
    """One tool call: its pieces are kept until its id and its name are known.

    `told` is the id under which the client has it.
    """

    def __init__(self, index: int | None, place: int) -> None:
        self.index = index
        self.place = place
        self.id = ""
        self.name = ""
        self.told = ""
        self.foreign: Json = {}
        self.pending: list[str] = []
        self.opened = False
        self._arguments = WholeObject()

    @property
    def nameless(self) -> bool:
        """Whether the name never came: nobody could run it, and it must not vanish unseen."""
        return not self.name

    def another(self, piece: Json, call_id: str) -> bool:
        """Whether `piece` begins another call, although it has the number of this one."""
        if call_id and self.id and call_id != self.id:
            return True
        function = piece.get("function")
        if not isinstance(function, dict) or not function.get("arguments"):
            return False
        named = bool(_words(function.get("name")))
        return named and bool(self.name) and self._arguments.whole

    def take(self, piece: Json, details: object) -> None:
        """One more piece of it."""
        self.id = self.id or _words(piece.get("id"))
        function = piece.get("function")
        if isinstance(function, dict):
            if not self.opened:
                self.name += _words(function.get("name"))
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # Ollama's older servers
                arguments = msgspec.json.encode(arguments).decode()
            words = _words(arguments)
            self.pending.append(words)
            self._arguments.feed(words)
        state = piece.get("extra_content")
        if isinstance(state, dict):
            self.foreign.update(state)
        if isinstance(details, list):
            self.foreign["reasoning_details"] = details


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

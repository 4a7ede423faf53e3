"""OpenAI Chat Completions answers as Anthropic's: streams, whole answers, errors (`wire.md` B5, D)."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from protocol.sse import Event
from protocol.translation.openai_call import Call, text_of
from protocol.translation.openai_reasoning import DETAILS, joined_details, thought_of
from protocol.translation.openai_usage import usage_of
from protocol.translation.provider_error import ProviderError, failure
from protocol.translation.provider_stream import NAMELESS, ProviderStream
from protocol.translation.stop_words import StopWords
from protocol.translation.tool_names import ToolNames
from protocol.translation.writer import Json, MessageWriter

STOP_REASONS = {
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",  # Mistral
    "model_context_window_exceeded": "max_tokens",  # GLM
    "content_filter": "refusal",
    "safety": "refusal",
    "sensitive": "refusal",  # GLM
}
"""In lower case. Every other reason, an unknown one too, ends the turn (`wire.md` A17): several
servers say "stop" after a call, and a client that goes by the reason would not run it."""

_GIVEN_UP = {
    "error": 502,  # OpenRouter, inside a 200 (`wire.md` D3)
    "insufficient_system_resource": 529,  # DeepSeek
    "abort": 502,  # vLLM, SGLang
    "network_error": 502,  # GLM
}
"""The server broke off: what was said is no whole answer. With the status that stands for it."""

_DONE = b"[DONE]"


class OpenAIStream(ProviderStream):
    """Of `chat.completion.chunk` objects, ended by `[DONE]`.

    `stops`: sequences that the model was not told of, at which the answer ends all the same.
    """

    model_field = "model"

    def __init__(
        self,
        names: ToolNames,
        message_id: str,
        model: str,
        origin: str = "",
        taken: Container[str] = frozenset(),
        stops: tuple[str, ...] = (),
    ) -> None:
        super().__init__(names, message_id, model, origin, taken)
        self._calls: list[Call] = []
        self._refused = False
        self._details: list[Any] = []
        self._stops = StopWords(stops)

    def feed(self, event: Event) -> list[Json]:
        """Raises ProviderError when the stream begins with an error: nothing was said yet."""
        if event.data.strip() == _DONE:
            said = self._writer is not None and (self._calls or not self._writer.empty)
            if said and self._finish is None:
                self._finish = "stop"  # the server's own word that nothing is missing
            return self.finish()
        return super().feed(event)

    def _said(self, writer: MessageWriter, chunk: Json) -> list[Json]:
        choice = self._first(chunk.get("choices"))
        self.usage = usage_of(chunk, choice) or self.usage
        if choice is None:
            return []
        finish = choice.get("finish_reason")
        finish = finish if isinstance(finish, str) else ""
        delta = choice.get("delta") or choice.get("message")
        events = self._delta(writer, delta) if isinstance(delta, dict) else []
        if choice.get("error") or finish in _GIVEN_UP:
            return events + self.fail(_given_up(choice, finish))
        if isinstance(choice.get("message"), dict):
            finish = finish or "stop"  # a whole answer, and no part of one
        self._finish = finish or self._finish
        return events

    def _rest(self, writer: MessageWriter) -> list[Json]:
        events = writer.text(self._stops.rest())
        for call in self._calls:
            if call.nameless:
                return self.fail(ProviderError(502, "api_error", NAMELESS))
            events += self._told(writer, call, last=True)
        return events

    def _delta(self, writer: MessageWriter, delta: Json) -> list[Json]:
        if self._stopped_by is not None:
            return []
        details = delta.get(DETAILS)
        self._details += details if isinstance(details, list) else []
        events = writer.thinking(thought_of(delta))
        refusal = text_of(delta.get("refusal"))
        words = text_of(delta.get("content"))
        # Behind a call nothing is stopped: it would be cut in its middle.
        said = words if self._calls else self._stops.feed(words)
        self._stopped_by = self._stops.found
        for words in (said, refusal):
            events += writer.text(words) if words else []
        self._refused = self._refused or bool(refusal)
        calls = delta.get("tool_calls")
        pieces = list(calls) if isinstance(calls, list) else []
        if isinstance(delta.get("function_call"), dict):  # as it was before there were several
            pieces.append({"index": 0, "function": delta["function_call"]})
        if pieces and self._stopped_by is None:
            events += writer.text(self._stops.rest())
        for piece in pieces:
            if isinstance(piece, dict) and self._stopped_by is None:
                call = self._call(piece)
                call.take(piece)
                events += self._told(writer, call)
        return events

    def _call(self, piece: Json) -> Call:
        """The call that a piece belongs to. Some servers number nothing, some number every call 0,
        some give no id; a new id or, after a whole call, a name again is a new call all the same."""
        index, call_id = piece.get("index"), text_of(piece.get("id"))
        if isinstance(index, int) and not isinstance(index, bool):
            known = [call for call in self._calls if call.index == index]
        else:
            index = None
            known = [call for call in self._calls if not call_id or call.id in ("", call_id)]
        found = known[-1] if known else None
        if found is None or found.another(piece, call_id):
            found = Call(index, len(self._calls))
            self._calls.append(found)
        return found

    def _told(self, writer: MessageWriter, call: Call, *, last: bool = False) -> list[Json]:
        """What can be told by now; `last`: what did not come until now never will.

        An id is not waited for then. Neither are reasoning details, which travel in a call and come
        before it, with it or behind it: where there are any, the calls wait for the end.
        """
        events: list[Json] = []
        if not call.opened:
            # A name comes whole, in one piece with the id or before the first argument.
            if not call.name or not (last or (call.id and not self._details)):
                return []
            call.opened = True
            call.told = self._call_id(call.id, call.place)
            if self._details:
                call.foreign[DETAILS] = joined_details(self._details)
                self._details = []
            name = self._names.back(call.name)
            events += writer.tool(call.place, call.told, name, call.foreign)
        words = call.arguments(last=last)
        return events + (writer.arguments(call.place, words) if words else [])

    def _stop_reason(self, finish: str) -> str:
        if self._refused:
            return "refusal"
        return STOP_REASONS.get(finish.lower()) or ("tool_use" if self._calls else "end_turn")


def _given_up(choice: Json, finish: str) -> ProviderError:
    if choice.get("error"):
        return failure(None, choice)
    native = choice.get("native_finish_reason")
    words = f"{finish} ({native})" if isinstance(native, str) and native != finish else finish
    status = _GIVEN_UP[finish]
    kind = "overloaded_error" if status == 529 else "api_error"
    return ProviderError(status, kind, f"the provider gave its answer up: {words}")

"""Gemini's answers as Anthropic's: streams, whole answers, errors (`wire.md` D1)."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.sse import Event
from protocol.translation.collect import collect
from protocol.translation.provider_error import ProviderError, failure
from protocol.translation.to_gemini import SIGNATURE
from protocol.translation.tool_names import ToolNames
from protocol.translation.writer import Json, MessageWriter
from protocol.usage import Usage

_REFUSALS = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "LANGUAGE"}
)
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    }
)
"""The model failed at its own format: an error, so that the client asks again."""


class GeminiStream:
    """Chunks in, Anthropic events out. Each chunk is a whole GenerateContentResponse."""

    def __init__(self, names: ToolNames, message_id: str, model: str) -> None:
        self._names = names
        self._message_id = message_id
        self._model = model
        self._writer: MessageWriter | None = None
        self._calls = 0
        self._finish: str | None = None
        self.usage = Usage()

    @property
    def ended(self) -> bool:
        """Whether the message, or its failure, was told to its end."""
        return self._writer is not None and self._writer.ended

    def feed(self, event: Event) -> list[Json]:
        """Raises ProviderError when the stream begins with an error: nothing was said yet."""
        if self.ended or not event.data:
            return []
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
        if self._writer is None:
            version = chunk.get("modelVersion")
            named = version if isinstance(version, str) and version else self._model
            self._writer = MessageWriter(self._message_id, named)
        events = self._writer.begin()
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict):
            self.usage = read_usage(usage)
        candidates = chunk.get("candidates")
        candidate = candidates[0] if isinstance(candidates, list) and candidates else None
        if not isinstance(candidate, dict):
            return events + self._blocked(chunk)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                events += self._part(self._writer, part)
        finish = candidate.get("finishReason")
        if isinstance(finish, str) and finish != "FINISH_REASON_UNSPECIFIED":
            self._finish = finish
            if finish in _BROKEN:
                message = f"the provider's model failed: {finish}"
                return events + self._fail(ProviderError(502, "api_error", message))
        return events

    def finish(self) -> list[Json]:
        """The upstream has ended; there is no end mark in this dialect but the finish reason."""
        if self.ended:
            return []
        if self._writer is None or self._finish is None:
            cut = "the provider's stream ended before its answer did"
            return self._fail(ProviderError(502, "api_error", cut))
        return self._writer.end(self._stop_reason(self._finish), self.usage)

    def fail(self, error: ProviderError) -> list[Json]:
        """The stream broke: an error event for a client that has seen some of it, else it raises."""
        return self._fail(error)

    def _part(self, writer: MessageWriter, part: Json) -> list[Json]:
        call = part.get("functionCall")
        if isinstance(call, dict):
            return self._call(writer, call, part.get("thoughtSignature"))
        text = part.get("text")
        if not isinstance(text, str):
            return []
        return writer.thinking(text) if part.get("thought") is True else writer.text(text)

    def _call(self, writer: MessageWriter, call: Json, signature: object) -> list[Json]:
        """A call comes whole. It has an id on some routes only; ours is unique in the conversation."""
        key = self._calls
        self._calls += 1
        given = call.get("id")
        call_id = given if isinstance(given, str) and given else f"{self._message_id}_{key}"
        foreign = {"google": {SIGNATURE: signature}} if isinstance(signature, str) else None
        name = self._names.back(str(call.get("name", "")))
        arguments = call.get("args")
        written = msgspec.json.encode(arguments if isinstance(arguments, dict) else {}).decode()
        return writer.tool(key, call_id, name, foreign) + writer.arguments(key, written)

    def _blocked(self, chunk: Json) -> list[Json]:
        """A refused prompt has no candidates; a chunk with neither is only a number of tokens."""
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._finish = "SAFETY"
        return []

    def _stop_reason(self, finish: str) -> str:
        if finish in _REFUSALS or finish.startswith("IMAGE_"):
            return "refusal"
        if finish == "MAX_TOKENS":
            return "max_tokens"
        return "tool_use" if self._calls else "end_turn"  # a call ends with STOP too

    def _fail(self, error: ProviderError) -> list[Json]:
        if self._writer is None:
            raise error
        return self._writer.fail(error.type, error.message)


def whole(answer: Json, names: ToolNames, message_id: str, model: str) -> Json:
    """A complete answer as a message. Raises ProviderError for an error or an unreadable answer."""
    stream = GeminiStream(names, message_id, model)
    events = [*stream.chunk(answer), *stream.finish()]
    broken = next((event for event in events if event["type"] == "error"), None)
    if broken is not None:
        error = broken["error"]
        raise ProviderError(502, error["type"], error["message"])
    return collect(events)


def read_usage(usage: Json) -> Usage:
    """The prompt includes what was cached; thinking is apart from the candidates (`wire.md` D1)."""
    cached = _count(usage.get("cachedContentTokenCount"))
    prompt = _count(usage.get("promptTokenCount")) + _count(usage.get("toolUsePromptTokenCount"))
    return Usage(
        input_tokens=max(prompt - cached, 0),
        output_tokens=_count(usage.get("candidatesTokenCount"))
        + _count(usage.get("thoughtsTokenCount")),
        cache_read_tokens=cached,
        cache_write_tokens=0,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

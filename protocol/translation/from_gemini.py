"""Gemini's answers as Anthropic's: streams, whole answers, errors (`wire.md` D1)."""

from __future__ import annotations

import msgspec

from protocol.translation.provider_error import ProviderError
from protocol.translation.provider_stream import NAMELESS, ProviderStream, count
from protocol.translation.to_gemini import SIGNATURE
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


class GeminiStream(ProviderStream):
    """Of GenerateContentResponse objects; there is no end mark but the finish reason."""

    model_field = "modelVersion"
    _calls = 0

    def _said(self, writer: MessageWriter, chunk: Json) -> list[Json]:
        events: list[Json] = []
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict):
            self.usage = read_usage(usage)
        candidate = self._first(chunk.get("candidates"))
        if candidate is None:
            return self._blocked(chunk)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                events += self._part(writer, part)
        finish = candidate.get("finishReason")
        if isinstance(finish, str) and finish != "FINISH_REASON_UNSPECIFIED":
            self._finish = finish
            if finish in _BROKEN:
                words = candidate.get("finishMessage")
                told = f": {words}" if isinstance(words, str) and words else ""
                message = f"the provider's model failed: {finish}{told}"
                return events + self.fail(ProviderError(502, "api_error", message))
        return events

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
        if not isinstance(call.get("name"), str) or not call["name"]:
            return self.fail(ProviderError(502, "api_error", NAMELESS))
        key = self._calls
        self._calls += 1
        given = call.get("id")
        call_id = self._call_id(given if isinstance(given, str) else "", key)
        foreign = {"google": {SIGNATURE: signature}} if isinstance(signature, str) else None
        name = self._names.back(call["name"])
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


def read_usage(usage: Json) -> Usage:
    """The prompt includes what was cached; thinking is apart from the candidates (`wire.md` D1)."""
    cached = count(usage.get("cachedContentTokenCount"))
    prompt = count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount"))
    return Usage(
        input_tokens=max(prompt - cached, 0),
        output_tokens=count(usage.get("candidatesTokenCount"))
        + count(usage.get("thoughtsTokenCount")),
        cache_read_tokens=cached,
        cache_write_tokens=0,
    )

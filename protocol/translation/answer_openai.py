"""Anthropic's answers as Chat Completions gives them: the OpenAI front (`wire.md` B5)."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.sse import Event
from protocol.translation.provider_error import read_failure
from protocol.translation.provider_stream import count

Json = dict[str, Any]

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_CODES = {
    "prompt is too long": "context_length_exceeded",
    "input length and `max_tokens` exceed context limit": "context_length_exceeded",
    "model: ": "model_not_found",
}
"""What OpenAI's clients look for, by how Anthropic's words begin. Else the code is the type."""

DONE = b"data: [DONE]\n\n"


def whole(message: Json, created: int) -> Json:
    """A complete message as a chat completion; `created` in epoch seconds."""
    words: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        block = _object(block)
        match block.get("type"):
            case "text":
                words.append(_words(block.get("text")))
            case "thinking":
                thoughts.append(_words(block.get("thinking")))
            case "tool_use":
                arguments = msgspec.json.encode(block.get("input") or {}).decode()
                function = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
    said: Json = {"role": "assistant", "content": "".join(words) or None, "refusal": None}
    if any(thoughts):
        said["reasoning_content"] = "".join(thoughts)
    if calls:
        said["tool_calls"] = calls
    return {
        "id": message.get("id"),
        "object": "chat.completion",
        "created": created,
        "model": message.get("model"),
        "choices": [
            {
                "index": 0,
                "message": said,
                "logprobs": None,
                "finish_reason": finish_reason(message.get("stop_reason"), calls=bool(calls)),
            }
        ],
        "usage": usage_view(_object(message.get("usage"))),
    }


class AnswerStream:
    """Anthropic events in, chunks out; `DONE` is the caller's to send after the last."""

    def __init__(self, created: int, *, include_usage: bool) -> None:
        self._head: Json = {"id": "", "object": "chat.completion.chunk", "created": created}
        self._include_usage = include_usage
        self._usage: Json = {}
        self._tools: dict[int, int] = {}
        self._bare: dict[int, int] = {}
        """Of `_tools`, those without any arguments so far."""
        self._finished = False
        self.ended = False

    def feed(self, event: Event) -> list[Json]:
        """What no chunk can say (pings, signatures) is left out."""
        if self.ended or not event.data:
            return []
        try:
            data = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return []
        return self.event(data) if isinstance(data, dict) else []

    def event(self, data: Json) -> list[Json]:
        """One decoded event."""
        match data.get("type"):
            case "message_start":
                message = _object(data.get("message"))
                self._head |= {"id": message.get("id"), "model": message.get("model")}
                self._usage |= _object(message.get("usage"))
                return [self._chunk({"role": "assistant", "content": ""})]
            case "content_block_start":
                return self._block(count(data.get("index")), _object(data.get("content_block")))
            case "content_block_delta":
                return self._delta(count(data.get("index")), _object(data.get("delta")))
            case "content_block_stop":
                return self._completed(count(data.get("index")))
            case "message_delta":
                # Cumulative: a later number replaces an earlier one (`peers.md` P19).
                told = _object(data.get("usage"))
                self._usage |= {key: value for key, value in told.items() if value is not None}
                reason = _object(data.get("delta")).get("stop_reason")
                return [] if reason is None else self._finish(reason)
            case "message_stop":
                chunks = self._finish(None)
                self.ended = True
                if not self._include_usage:
                    return chunks
                usage = usage_view(self._usage)
                return [*chunks, {**self._head, "choices": [], "usage": usage}]
            case "error":
                return self._failed(_object(data.get("error")))
            case None if isinstance(data.get("error"), dict):  # one of ours, in this shape already
                return self._failed(data["error"])
        return []

    def _finish(self, reason: object) -> list[Json]:
        """The reason, once: some upstreams tell their usage in several deltas."""
        if self._finished:
            return []
        self._finished = True
        bare = [chunk for index in tuple(self._bare) for chunk in self._completed(index)]
        return [*bare, self._chunk({}, finish_reason(reason, calls=bool(self._tools)))]

    def _failed(self, error: Json) -> list[Json]:
        self.ended = True
        return [error_view(error)]

    def _block(self, index: int, block: Json) -> list[Json]:
        if block.get("type") == "text" and _words(block.get("text")):
            return [self._chunk({"content": block["text"]})]
        if block.get("type") == "thinking" and _words(block.get("thinking")):
            return [self._chunk({"reasoning_content": block["thinking"]})]
        if block.get("type") != "tool_use":
            return []
        place = self._tools.setdefault(index, len(self._tools))
        given = block.get("input")
        # Some upstreams give the whole input at the start, and no deltas (`wire.md` A17).
        arguments = msgspec.json.encode(given).decode() if given else ""
        if not arguments:
            self._bare[index] = place
        function = {"name": block.get("name"), "arguments": arguments}
        call = {"index": place, "id": block.get("id"), "type": "function", "function": function}
        return [self._chunk({"tool_calls": [call]})]

    def _delta(self, index: int, delta: Json) -> list[Json]:
        match delta.get("type"):
            case "text_delta":
                return [self._chunk({"content": _words(delta.get("text"))})]
            case "thinking_delta":
                return [self._chunk({"reasoning_content": _words(delta.get("thinking"))})]
            case "input_json_delta" if index in self._tools:
                words = _words(delta.get("partial_json"))
                if words:
                    self._bare.pop(index, None)
                return [self._arguments(self._tools[index], words)]
        return []

    def _completed(self, index: int) -> list[Json]:
        """A call without arguments says so: clients parse what they have gathered, and "" is no
        JSON."""
        place = self._bare.pop(index, None)
        return [] if place is None else [self._arguments(place, "{}")]

    def _arguments(self, place: int, words: str) -> Json:
        return self._chunk({"tool_calls": [{"index": place, "function": {"arguments": words}}]})

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**self._head, "choices": [choice]}
        return {**chunk, "usage": None} if self._include_usage else chunk


def finish_reason(stop_reason: object, *, calls: bool) -> str:
    """An unknown reason is an end like another; with calls, which several servers end so, it is theirs:
    clients go by it."""
    found = FINISH_REASONS.get(str(stop_reason), "stop")
    return "tool_calls" if calls and found == "stop" else found


def usage_view(usage: Json) -> Json:
    """OpenAI's prompt tokens include the cached ones; Anthropic's input does not."""
    read = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    prompt = count(usage.get("input_tokens")) + read + written
    completion = count(usage.get("output_tokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }


def _object(value: object) -> Json:
    """An Anthropic-compatible provider may send anything where an object belongs."""
    return value if isinstance(value, dict) else {}


def _words(value: object) -> str:
    return value if isinstance(value, str) else ""


def error_view(error: Json) -> Json:
    """An Anthropic error in OpenAI's shape, in the same words; what has that shape stays."""
    if "param" in error:
        return {"error": error}
    kind, message = error.get("type"), error.get("message")
    words = message if isinstance(message, str) else ""
    code = next((code for began, code in _CODES.items() if words.startswith(began)), kind)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_body(status: int, body: bytes) -> bytes:
    """An error answer in OpenAI's shape, whatever it was; what has that shape stays as it is."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        if "param" in error:
            return body
        if isinstance(error.get("message"), str) and isinstance(error.get("type"), str):
            return msgspec.json.encode(error_view(error))
    told = read_failure(status, body)
    return msgspec.json.encode(error_view({"type": told.type, "message": told.message}))


def encode_chunk(chunk: Json) -> bytes:
    """One line of the stream."""
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

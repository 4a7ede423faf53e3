"""What upstreams of other dialects answer: OpenAI's chat completions and Gemini's generateContent.

Blocks are written as Anthropic's (`text_block`, `tool_use_block`), so one script can be told in
every dialect. Streams or whole answers, as the request asks.
"""

from __future__ import annotations

import json
from typing import Any

from server.scripted.answers import Answer, Answerer, Send
from server.scripted.messages import Block, text_block
from server.scripted.requests import SeenRequest

Json = dict[str, Any]

JSON_HEADERS = (("content-type", "application/json"),)
EVENT_HEADERS = (("content-type", "text/event-stream"),)
USAGE = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
GEMINI_USAGE = {"promptTokenCount": 30, "candidatesTokenCount": 7, "totalTokenCount": 37}


def openai_reply(*blocks: Block) -> Answerer:
    """Says these blocks to whoever asks for a chat completion; lists two models."""
    said = blocks or (text_block("Hello from another provider."),)

    def answer(seen: SeenRequest) -> Answer:
        if seen.endpoint.endswith("/models"):
            listed = [{"id": name, "object": "model"} for name in ("gpt-5", "gpt-4.1-mini")]
            return _json({"object": "list", "data": listed})
        if not seen.endpoint.endswith("/chat/completions"):
            return openai_error(404, f"Unknown request URL: {seen.path}")
        body = seen.json()
        model = str(body.get("model"))
        if body.get("stream") is True:
            return _events([*(_chunk(delta, model) for delta in _deltas(said)),
                            _chunk({}, model, _finish(said)),
                            {**_chunk({}, model), "choices": [], "usage": USAGE}], done=True)  # fmt: skip
        message: Json = {"role": "assistant", "content": _words(said) or None}
        if calls := _calls(said):
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": _finish(said), "logprobs": None}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
        return _json({**head, "choices": [choice], "usage": USAGE})

    return answer


def openai_error(status: int, message: str, **more: str) -> Answer:
    """An error in OpenAI's shape; `more` are headers."""
    error = {"message": message, "type": "error", "param": None, "code": None}
    headers = tuple((name.replace("_", "-"), value) for name, value in more.items())
    return _json({"error": error}, status).with_headers((*JSON_HEADERS, *headers))


def gemini_reply(*blocks: Block, signature: str = "") -> Answerer:
    """Says these blocks to whoever asks a model to generate; counts and lists.

    `signature`: the thought signature on the first call.
    """
    said = blocks or (text_block("Hello from another provider."),)

    def answer(seen: SeenRequest) -> Answer:
        method = seen.path.partition("?")[0].rpartition(":")[2]
        if seen.endpoint.endswith("/models"):
            return _json({"models": [{"name": "models/gemini-3-pro"}]})
        if method == "countTokens":
            return _json({"totalTokens": 123})
        if method == "generateContent":
            return _json(_generated(_parts(said, signature)))
        if method == "streamGenerateContent":
            return _events([_generated([part]) for part in _parts(said, signature)], done=False)
        return gemini_error(404, "NOT_FOUND", f"no method {method}")

    return answer


def gemini_error(status: int, word: str, message: str, retry_delay: str = "") -> Answer:
    """An error in Google's shape."""
    error: Json = {"code": status, "message": message, "status": word}
    if retry_delay:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": retry_delay}]
    return _json({"error": error}, status)


def _json(document: Json, status: int = 200) -> Answer:
    return Answer(status=status, headers=JSON_HEADERS, body=json.dumps(document).encode())


def _events(documents: list[Json], *, done: bool) -> Answer:
    parts = [Send(b"data: " + json.dumps(one).encode() + b"\n\n") for one in documents]
    if done:
        parts.append(Send(b"data: [DONE]\n\n"))
    return Answer(headers=EVENT_HEADERS, parts=tuple(parts))


def _words(said: tuple[Block, ...]) -> str:
    return "".join(str(block["text"]) for block in said if block["type"] == "text")


def _calls(said: tuple[Block, ...]) -> list[Json]:
    return [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in said
        if block["type"] == "tool_use"
    ]


def _finish(said: tuple[Block, ...]) -> str:
    return "tool_calls" if _calls(said) else "stop"


def _deltas(said: tuple[Block, ...]) -> list[Json]:
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    words = _words(said)
    half = len(words) // 2
    deltas += [{"content": piece} for piece in (words[:half], words[half:]) if piece]
    for place, call in enumerate(_calls(said)):
        arguments = call["function"]["arguments"]
        opened = {**call, "index": place, "function": {**call["function"], "arguments": ""}}
        deltas.append({"tool_calls": [opened]})
        for piece in (arguments[:5], arguments[5:]):
            deltas.append({"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
    return deltas


def _chunk(delta: Json, model: str, finish: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return {**head, "choices": [choice]}


def _parts(said: tuple[Block, ...], signature: str) -> list[Json]:
    parts: list[Json] = [{"text": _words(said)}] if _words(said) else []
    for place, block in enumerate(block for block in said if block["type"] == "tool_use"):
        part: Json = {"functionCall": {"name": block["name"], "args": block["input"]}}
        if signature and place == 0:
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _generated(parts: list[Json]) -> Json:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return {
        "candidates": [candidate],
        "usageMetadata": GEMINI_USAGE,
        "modelVersion": "gemini-3-pro",
    }

"""A Chat Completions request as an Anthropic Messages request (`wire.md` B5): the OpenAI front."""

from __future__ import annotations

from protocol.translation.read_openai_messages import read_messages
from protocol.translation.read_openai_tools import read_tools
from protocol.translation.refusal import (
    Json,
    as_list,
    as_number,
    as_object,
    as_text,
    kind_of,
    unfit,
)
from protocol.translation.schema_demands import closed

MAX_TOKENS = 16_384
"""Anthropic demands a limit; this stands for a request without one."""

JSON_MODE = "Answer with one JSON object and nothing else."
"""JSON mode without a schema has no field at Anthropic; this is added to the system prompt."""

DROPPED = frozenset(
    {
        "user",
        "metadata",
        "store",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "verbosity",
        "prediction",
        "moderation",
    }
)
"""Fields that Anthropic has no word for and that leave the answer's form alone."""

_REFUSED = {
    "audio": "there is no audio here",
    "functions": "is the old form; use tools",
    "function_call": "is the old form; use tool_choice",
    "logprobs": "there are no log probabilities here",
    "top_logprobs": "there are no log probabilities here",
    "web_search_options": "there is no web search here",
}


_NOTHING: tuple[object, ...] = (None, False, 0, [], "")
"""Values with which such a field asks for nothing; an empty object asks for the defaults."""


def read_request(request: Json) -> Json:
    """The Anthropic body. Raises Untranslatable, naming the field."""
    for field, reason in _REFUSED.items():
        if request.get(field) not in _NOTHING:
            raise unfit(field, reason)
    if request.get("n") not in (None, 1):
        raise unfit("n", "only one answer can be had at a time")
    system, messages = read_messages(as_list(request.get("messages"), "messages"))
    format_ = _format(request.get("response_format"))
    if format_ == JSON_MODE:
        system.append(JSON_MODE)
    if not messages and system:  # Anthropic has no chat without a user
        messages = [{"role": "user", "content": [{"type": "text", "text": "\n\n".join(system)}]}]
        system = []
    found: Json = {
        "model": as_text(request.get("model"), "model"),
        "max_tokens": _max_tokens(request),
        "messages": messages,
    }
    if system:
        found["system"] = "\n\n".join(system)
    found |= read_tools(request, messages)
    if request.get("temperature") is not None:
        # The scale ends at 1 there.
        found["temperature"] = min(as_number(request["temperature"], "temperature"), 1.0)
    elif request.get("top_p") is not None:  # Claude models take one of the two
        found["top_p"] = as_number(request["top_p"], "top_p")
    stop = request.get("stop")
    if stop:
        found["stop_sequences"] = [stop] if isinstance(stop, str) else as_list(stop, "stop")
    output = _output(request.get("reasoning_effort"), format_)
    if output:
        found["output_config"] = output
    if request.get("stream") is True:
        found["stream"] = True
    return found


def _max_tokens(request: Json) -> int:
    for field in ("max_completion_tokens", "max_tokens"):
        if request.get(field) is not None:
            limit = request[field]
            if isinstance(limit, float) and limit.is_integer():
                limit = int(limit)
            if isinstance(limit, bool) or not isinstance(limit, int):
                raise unfit(field, f"must be a whole number, not {kind_of(limit)}")
            return limit
    return MAX_TOKENS


def _output(effort: object, format_: object) -> Json:
    output: Json = {}
    if isinstance(effort, str) and effort not in ("none", "minimal"):
        output["effort"] = effort
    if isinstance(format_, dict):
        output["format"] = format_
    return output


def _format(asked: object) -> Json | str | None:
    if asked is None:
        return None
    asked = as_object(asked, "response_format")
    match asked.get("type"):
        case "text":
            return None
        case "json_object":
            return JSON_MODE
        case "json_schema":
            where = "response_format.json_schema"
            given = as_object(asked.get("json_schema"), where)
            schema = as_object(given.get("schema"), f"{where}.schema")
            return {"type": "json_schema", "schema": closed(schema)}
        case other:
            raise unfit("response_format.type", f"{other!r} is not known here")

"""A Chat Completions request as an Anthropic Messages request (`wire.md` B5): the OpenAI front."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.translation.read_openai_content import parts_of, words_of
from protocol.translation.refusal import (
    Json,
    as_list,
    as_number,
    as_object,
    as_text,
    kind_of,
    unfit,
)

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


def read_request(request: Json) -> Json:
    """The Anthropic body. Raises Untranslatable, naming the field."""
    for field, reason in _REFUSED.items():
        if request.get(field):
            raise unfit(field, reason)
    if request.get("n") not in (None, 1):
        raise unfit("n", "only one answer can be had at a time")
    system, messages = _messages(as_list(request.get("messages"), "messages"))
    format_ = _format(request.get("response_format"))
    if format_ == JSON_MODE:
        system.append(JSON_MODE)
    found: Json = {
        "model": as_text(request.get("model"), "model"),
        "max_tokens": _max_tokens(request),
        "messages": messages,
    }
    if system:
        found["system"] = "\n\n".join(system)
    tools = request.get("tools")
    if tools:
        found["tools"] = _tools(as_list(tools, "tools"))
        found["tool_choice"] = _choice(request)
    if request.get("temperature") is not None:
        # The scale ends at 1 there.
        found["temperature"] = min(as_number(request["temperature"], "temperature"), 1.0)
    if request.get("top_p") is not None:
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
            return {"type": "json_schema", "schema": schema}
        case other:
            raise unfit("response_format.type", f"{other!r} is not known here")


def _tools(tools: list[Any]) -> list[Json]:
    found: list[Json] = []
    for place, tool in enumerate(tools):
        where = f"tools[{place}]"
        tool = as_object(tool, where)
        if tool.get("type") != "function":
            raise unfit(
                f"{where}.type", f"{tool.get('type')!r} is not known here; only functions are"
            )
        function = as_object(tool.get("function"), f"{where}.function")
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        entry: Json = {
            "name": as_text(function.get("name"), f"{where}.function.name"),
            "input_schema": as_object(schema, f"{where}.function.parameters"),
        }
        if function.get("description"):
            entry["description"] = function["description"]
        found.append(entry)
    return found


def _choice(request: Json) -> Json:
    choice = request.get("tool_choice")
    found: Json
    match choice:
        case None | "auto":
            found = {"type": "auto"}
        case "required":
            found = {"type": "any"}
        case "none":
            return {"type": "none"}
        case {"type": "function", "function": {"name": str(name)}}:
            found = {"type": "tool", "name": name}
        case _:
            raise unfit("tool_choice", "must be auto, required, none or a function")
    if request.get("parallel_tool_calls") is False:
        found["disable_parallel_tool_use"] = True
    return found


def _messages(given: list[Any]) -> tuple[list[str], list[Json]]:
    """System words that stand first, and the messages, neighbours of one role together."""
    system: list[str] = []
    messages: list[Json] = []
    for place, message in enumerate(given):
        where = f"messages[{place}]"
        message = as_object(message, where)
        content = message.get("content")
        match message.get("role"):
            case "system" | "developer":
                words = words_of(content, where)
                if not messages:
                    system.append(words)
                else:
                    words = f"<system-reminder>\n{words}\n</system-reminder>"
                    _say(messages, "user", [{"type": "text", "text": words}])
            case "user":
                _say(messages, "user", parts_of(content, where))
            case "assistant":
                _say(messages, "assistant", _assistant(message, where))
            case "tool":
                result = {
                    "type": "tool_result",
                    "tool_use_id": as_text(message.get("tool_call_id"), f"{where}.tool_call_id"),
                    "content": parts_of(content, where),
                }
                _say(messages, "user", [result])
            case role:
                raise unfit(f"{where}.role", f"{role!r} is not known here")
    for message in messages:  # results first: Anthropic takes nothing before them
        message["content"].sort(key=lambda block: block["type"] != "tool_result")
    return [words for words in system if words], messages


def _say(messages: list[Json], role: str, content: list[Json]) -> None:
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] += content
    elif content:
        messages.append({"role": role, "content": content})


def _assistant(message: Json, where: str) -> list[Json]:
    words = words_of(message.get("content"), where) or str(message.get("refusal") or "")
    content: list[Json] = [{"type": "text", "text": words}] if words else []
    calls = as_list(message.get("tool_calls") or [], f"{where}.tool_calls")
    for place, call in enumerate(calls):
        inner = f"{where}.tool_calls[{place}]"
        call = as_object(call, inner)
        function = as_object(call.get("function"), f"{inner}.function")
        content.append(
            {
                "type": "tool_use",
                "id": as_text(call.get("id"), f"{inner}.id"),
                "name": as_text(function.get("name"), f"{inner}.function.name"),
                "input": _arguments(function.get("arguments"), f"{inner}.function.arguments"),
            }
        )
    return content


def _arguments(text: object, where: str) -> Json:
    words = as_text("" if text is None else text, where)
    try:
        return as_object(msgspec.json.decode(words) if words.strip() else {}, where)
    except (msgspec.DecodeError, RecursionError):
        raise unfit(where, "must be a JSON object") from None

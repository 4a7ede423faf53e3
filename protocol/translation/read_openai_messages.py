"""The messages of a chat completion as Anthropic's (`wire.md` B5)."""

from __future__ import annotations

from typing import Any

from protocol.translation.collect import parsed_input
from protocol.translation.openai_call import object_in
from protocol.translation.read_openai_content import parts_of, words_of
from protocol.translation.refusal import Json, as_list, as_object, as_text, unfit
from protocol.translation.tool_names import plain_id


def read_messages(given: list[Any]) -> tuple[list[str], list[Json]]:
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
                    "tool_use_id": plain_id(
                        as_text(message.get("tool_call_id"), f"{where}.tool_call_id")
                    ),
                    "content": [] if content is None else parts_of(content, where),
                }
                _say(messages, "user", [result])
            case role:
                raise unfit(f"{where}.role", f"{role!r} is not known here")
    for message in messages:  # results first: Anthropic takes nothing before them
        message["content"].sort(key=lambda block: block["type"] != "tool_result")
    _trimmed(messages)
    return [words for words in system if words], messages


def _trimmed(messages: list[Json]) -> None:
    """Anthropic takes no space at the end of what the assistant is to go on from."""
    if not messages or messages[-1]["role"] != "assistant":
        return
    block = messages[-1]["content"][-1]
    if block["type"] == "text":
        block["text"] = block["text"].rstrip()


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
                "id": plain_id(as_text(call.get("id"), f"{inner}.id")),
                "name": as_text(function.get("name"), f"{inner}.function.name"),
                "input": _arguments(function.get("arguments"), f"{inner}.function.arguments"),
            }
        )
    return content


def _arguments(text: object, where: str) -> Json:
    """Whatever a model made of them in an earlier turn: the client sends them with each request."""
    if isinstance(text, dict):
        return text
    return parsed_input(object_in(as_text("" if text is None else text, where)))

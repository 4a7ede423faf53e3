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
    ids = _Ids()
    for place, message in enumerate(given):
        where = f"messages[{place}]"
        message = as_object(message, where)
        content = message.get("content")
        match message.get("role"):
            case "system" | "developer":
                words = words_of(content, where)
                if not messages:
                    system.append(words)
                elif words:
                    words = f"<system-reminder>\n{words}\n</system-reminder>"
                    _say(messages, "user", [{"type": "text", "text": words}])
            case "user":
                _say(messages, "user", parts_of(content, where))
            case "assistant":
                _say(messages, "assistant", _assistant(message, ids, where))
            case "tool":
                result = {
                    "type": "tool_result",
                    "tool_use_id": ids.answered(
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


class _Ids:
    """The ids of calls: Anthropic wants each once in a conversation, and in plain characters.

    Servers that number the calls of an answer use the same ones in every turn.
    """

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        self._open: dict[str, list[str]] = {}

    def called(self, given: str) -> str:
        """For a call."""
        plain = fresh = plain_id(given)
        number = self._used.get(plain, 0)
        while fresh in self._used:
            number += 1
            fresh = f"{plain}_{number}"
        self._used[plain] = max(number, 1)
        self._used.setdefault(fresh, 1)
        self._open.setdefault(given, []).append(fresh)
        return fresh

    def answered(self, given: str) -> str:
        """For the result of the first call of that id that has none yet."""
        waiting = self._open.get(given)
        return waiting.pop(0) if waiting else plain_id(given)


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


def _assistant(message: Json, ids: _Ids, where: str) -> list[Json]:
    refusal = message.get("refusal")
    words = words_of(message.get("content"), where)
    if not words and isinstance(refusal, str) and refusal.strip():
        words = refusal
    content: list[Json] = [{"type": "text", "text": words}] if words else []
    calls = as_list(message.get("tool_calls") or [], f"{where}.tool_calls")
    for place, call in enumerate(calls):
        inner = f"{where}.tool_calls[{place}]"
        call = as_object(call, inner)
        function = as_object(call.get("function"), f"{inner}.function")
        content.append(
            {
                "type": "tool_use",
                "id": ids.called(as_text(call.get("id"), f"{inner}.id")),
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

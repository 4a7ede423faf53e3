"""The tools of a chat completion as Anthropic's (`wire.md` B5)."""

from __future__ import annotations

from typing import Any

from protocol.translation.refusal import Json, as_list, as_object, as_text, unfit


def read_tools(request: Json, messages: list[Json]) -> Json:
    """The fields `tools` and `tool_choice`; nothing where there are no tools. `messages` are
    Anthropic's. Raises Untranslatable."""
    tools = request.get("tools")
    if not tools:
        return _of_earlier_turns(messages)
    found = _declared(as_list(tools, "tools"))
    choice = request.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        where = "tool_choice.allowed_tools"
        allowed = as_object(choice.get("allowed_tools"), where)
        names = {
            tool["name"] for tool in _declared(as_list(allowed.get("tools"), f"{where}.tools"))
        }
        found = [tool for tool in found if tool["name"] in names]
        choice = allowed.get("mode")
    return {"tools": found, "tool_choice": _choice(choice, request.get("parallel_tool_calls"))}


def _of_earlier_turns(messages: list[Json]) -> Json:
    """Anthropic wants tools where there are calls; OpenAI does not. None is to be called again."""
    called = (block for message in messages for block in message["content"])
    names = dict.fromkeys(block["name"] for block in called if block["type"] == "tool_use")
    if not names:
        return {}
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
    return {"tools": tools, "tool_choice": {"type": "none"}}


def _schema(schema: Json) -> Json:
    return schema if schema.get("type") else {**schema, "type": "object"}


def _declared(tools: list[Any]) -> list[Json]:
    found: list[Json] = []
    for place, tool in enumerate(tools):
        where = f"tools[{place}]"
        tool = as_object(tool, where)
        if tool.get("type") != "function":
            raise unfit(
                f"{where}.type", f"{tool.get('type')!r} is not known here; only functions are"
            )
        function = as_object(tool.get("function"), f"{where}.function")
        schema = function.get("parameters") or {"properties": {}}
        entry: Json = {
            "name": as_text(function.get("name"), f"{where}.function.name"),
            "input_schema": _schema(as_object(schema, f"{where}.function.parameters")),
        }
        if function.get("description"):
            entry["description"] = function["description"]
        found.append(entry)
    return found


def _choice(choice: object, parallel: object) -> Json:
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
    if parallel is False:
        found["disable_parallel_tool_use"] = True
    return found

"""The tools of an Anthropic request, as far as another provider can have them (`wire.md` A7)."""

from __future__ import annotations

from typing import Any

from protocol.translation.conversation import Tool
from protocol.translation.refusal import Json, as_list, as_object, as_text, unfit


def read_tools(tools: object, messages: list[Any]) -> tuple[Tool, ...]:
    """Those that the model is to see: a deferred one only when a result has loaded it.

    Raises Untranslatable for a tool that Anthropic defines or runs.
    """
    if tools is None:
        return ()
    loaded: set[str] | None = None
    found: dict[str, Tool] = {}
    for place, tool in enumerate(as_list(tools, "tools")):
        where = f"tools[{place}]"
        tool = as_object(tool, where)
        name = as_text(tool.get("name"), f"{where}.name")
        kind = tool.get("type")
        if kind not in (None, "custom"):
            raise unfit(
                where,
                f"{name} ({kind}) is a tool that Anthropic defines; this provider does not have it",
            )
        if tool.get("defer_loading") is True:
            loaded = _loaded(messages) if loaded is None else loaded
            if name not in loaded:
                continue
        if name in found:
            raise unfit(f"{where}.name", f"{name!r} is there twice")
        found[name] = Tool(name, _description(tool), _schema(tool, where))
    return tuple(found.values())


def _description(tool: Json) -> str:
    description = tool.get("description")
    return description if isinstance(description, str) else ""


def _schema(tool: Json, where: str) -> Json:
    schema = tool.get("input_schema")
    if schema is None:
        return {"type": "object", "properties": {}}
    return as_object(schema, f"{where}.input_schema")


def _loaded(messages: list[Any]) -> set[str]:
    """Names that a tool's result refers to, anywhere in the conversation."""
    names: set[str] = set()
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            inner = block.get("content") if isinstance(block, dict) else None
            for piece in inner if isinstance(inner, list) else ():
                if isinstance(piece, dict) and piece.get("type") == "tool_reference":
                    names.add(str(piece.get("tool_name")))
    return names

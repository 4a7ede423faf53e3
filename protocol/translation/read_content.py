"""Content blocks of an Anthropic request, read into what they mean (`wire.md` A6, A7, B4)."""

from __future__ import annotations

from typing import Any

from protocol.translation.conversation import (
    Document,
    Image,
    Shown,
    Text,
    Thinking,
    ToolCall,
)
from protocol.translation.foreign_state import signer
from protocol.translation.refusal import (
    Json,
    Untranslatable,
    as_list,
    as_object,
    as_text,
    unfit,
)

FOREIGN_STATE = "extra_content"
"""The field of a `tool_use` block in which another provider's state travels: clients echo it
verbatim (`wire.md` A17), and Gemini's own compatible endpoint calls it so (D2)."""

_SERVER_SIDE = (
    "is made by a tool that runs at Anthropic, which this provider does not have; start a new "
    "conversation, or use a Claude model"
)


def blocks(content: object, where: str) -> list[tuple[str, Json]]:
    """The blocks of `content` with their places; a string is one block of text."""
    if isinstance(content, str):
        return [(where, {"type": "text", "text": content})]
    return [
        (f"{where}[{place}]", as_object(block, f"{where}[{place}]"))
        for place, block in enumerate(as_list(content, where))
    ]


def text_of(content: object, where: str) -> str:
    """All words of a system prompt or a system message."""
    words: list[str] = []
    for place, block in blocks(content, where):
        if block.get("type") in ("tool_addition", "tool_removal"):
            raise unfit(place, "tools cannot be added or removed in mid-conversation here")
        if block.get("type") != "text":
            raise unfit(place, f"a block of type {block.get('type')!r} is not text")
        words.append(as_text(block.get("text"), f"{place}.text"))
    return "\n\n".join(word for word in words if word)


def shown(block: Json, where: str) -> Shown | None:
    """Something to look at or to read; None when `block` is of another kind."""
    match block.get("type"):
        case "text":
            return Text(as_text(block.get("text"), f"{where}.text"))
        case "image":
            return _image(as_object(block.get("source"), f"{where}.source"), f"{where}.source")
        case "document":
            return _document(block, where)
        case "search_result":
            return Text(_search_result(block, where))
        case "tool_reference":
            name = as_text(block.get("tool_name"), f"{where}.tool_name")
            return Text(f"The tool {name} is loaded and can be called now.")
    return None


def thinking(block: Json, where: str) -> Thinking | None:
    """Reasoning that can be read; what is redacted can be read by its maker alone."""
    if block.get("type") == "redacted_thinking":
        return None
    signature = block.get("signature")
    text = as_text(block.get("thinking", ""), f"{where}.thinking")
    if not isinstance(signature, str) or signer(signature) is not None:
        signature = ""  # a foreign one: nobody but its maker can do anything with it
    return Thinking(text, signature)


def tool_call(block: Json, where: str) -> ToolCall:
    """A `tool_use` block."""
    arguments = block.get("input")
    foreign = block.get(FOREIGN_STATE)
    return ToolCall(
        as_text(block.get("id"), f"{where}.id"),
        as_text(block.get("name"), f"{where}.name"),
        as_object({} if arguments is None else arguments, f"{where}.input"),
        foreign if isinstance(foreign, dict) else {},
    )


def result_content(content: Any, where: str) -> tuple[Shown, ...]:
    """What a tool gave back."""
    if content is None:
        return ()
    found: list[Shown] = []
    for place, block in blocks(content, where):
        piece = shown(block, place)
        if piece is None:
            raise unknown(block, place)
        found.append(piece)
    return tuple(found)


def unknown(block: Json, where: str) -> Untranslatable:
    """A block that has no meaning for another provider."""
    kind = block.get("type")
    if isinstance(kind, str) and (kind == "server_tool_use" or kind.endswith("_tool_result")):
        return unfit(where, f"a block of type {kind!r} {_SERVER_SIDE}")
    return unfit(where, f"a block of type {kind!r} cannot be translated for this provider")


def _image(source: Json, where: str) -> Image:
    match source.get("type"):
        case "base64":
            return Image(
                media_type=as_text(source.get("media_type"), f"{where}.media_type"),
                data=as_text(source.get("data"), f"{where}.data"),
            )
        case "url":
            return Image(url=as_text(source.get("url"), f"{where}.url"))
    raise _uploaded(source, where)


def _document(block: Json, where: str) -> Shown:
    where = f"{where}.source"
    source = as_object(block.get("source"), where)
    title = block.get("title")
    title = title if isinstance(title, str) else ""
    match source.get("type"):
        case "text":
            words = as_text(source.get("data"), f"{where}.data")
            return Text(f"{title}\n\n{words}" if title else words)
        case "content":
            pieces = result_content(source.get("content"), f"{where}.content")
            words = "\n\n".join(piece.text for piece in pieces if isinstance(piece, Text))
            if any(not isinstance(piece, Text) for piece in pieces):
                raise unfit(where, "a document made of images cannot be translated")
            return Text(f"{title}\n\n{words}" if title else words)
        case "base64":
            return Document(
                media_type=as_text(source.get("media_type"), f"{where}.media_type"),
                data=as_text(source.get("data"), f"{where}.data"),
                title=title,
            )
        case "url":
            return Document(url=as_text(source.get("url"), f"{where}.url"), title=title)
    raise _uploaded(source, where)


def _uploaded(source: Json, where: str) -> Untranslatable:
    return unfit(
        where, f"a source of type {source.get('type')!r} lies at Anthropic; send it as base64"
    )


def _search_result(block: Json, where: str) -> str:
    title = as_text(block.get("title", ""), f"{where}.title")
    source = as_text(block.get("source", ""), f"{where}.source")
    return f"{title}\n{source}\n\n{text_of(block.get('content', []), f'{where}.content')}"

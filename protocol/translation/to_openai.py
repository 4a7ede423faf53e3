"""A request as OpenAI Chat Completions wants it (`wire.md` B5, D2, D3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.translation.conversation import (
    AssistantTurn,
    Conversation,
    Document,
    Image,
    Shown,
    SystemTurn,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    UserTurn,
)
from protocol.translation.openai_reasoning import DETAILS, joined_details
from protocol.translation.quirks import Quirks
from protocol.translation.refusal import Json, capability_rejected, unfit
from protocol.translation.schema_demands import completed
from protocol.translation.tool_names import ToolNames, fitting_id

STOPS_MAX = 4
"""Stop sequences that Chat Completions takes."""

EMULATED_STOPS_MAX = 64
EMULATED_STOP_LENGTH_MAX = 1_000
"""Where they are looked for here: in each piece of the answer, while everybody else waits."""

ERROR_MARK = "Error: "
"""Before the words of a tool that failed: the dialect has no field for it."""


def write_request(conversation: Conversation, model: str, quirks: Quirks) -> Json:
    """The body for `model`. Raises Untranslatable for what this provider cannot be told."""
    names = conversation.names()
    request: Json = {"model": model, "messages": _messages(conversation, names, quirks)}
    if conversation.tools:
        request["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": names.there(tool.name),
                    "description": tool.description,
                    "parameters": completed(tool.schema),
                },
            }
            for tool in conversation.tools
        ]
        request["tool_choice"] = _choice(conversation, names)
        if not conversation.choice.parallel:
            request["parallel_tool_calls"] = False
    request.update(_sampling(conversation, model, quirks))
    if conversation.effort is not None:
        effort = quirks.effort(model, conversation.effort)
        if effort is not None:
            request["reasoning_effort"] = effort
    if conversation.schema is not None:
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": conversation.schema},
        }
    if conversation.stream:
        request["stream"] = True
        request["stream_options"] = {"include_usage": True}
    return {field: value for field, value in request.items() if field not in quirks.refused}


def _choice(conversation: Conversation, names: ToolNames) -> object:
    choice = conversation.choice
    match choice.kind:
        case "any":
            return "required"
        case "tool":
            if all(tool.name != choice.name for tool in conversation.tools):
                raise unfit("tool_choice.name", f"there is no tool {choice.name!r}")
            return {"type": "function", "function": {"name": names.there(choice.name)}}
    return choice.kind


def _sampling(conversation: Conversation, model: str, quirks: Quirks) -> Json:
    sampling = conversation.sampling
    found: Json = {}
    if sampling.max_tokens is not None:
        limit = quirks.output_limit(model)
        tokens = sampling.max_tokens if limit is None else min(sampling.max_tokens, limit)
        found[quirks.max_tokens_field] = tokens
    if sampling.temperature is not None and quirks.samples(model):
        found["temperature"] = max(sampling.temperature, quirks.least_temperature)
    if sampling.top_p is not None and quirks.samples(model):
        found["top_p"] = sampling.top_p
    if quirks.stops(model):
        if len(sampling.stop) > STOPS_MAX:
            raise unfit("stop_sequences", f"this provider takes at most {STOPS_MAX}")
        if sampling.stop:
            found["stop"] = list(sampling.stop)
    elif len(sampling.stop) > EMULATED_STOPS_MAX:
        raise unfit("stop_sequences", f"at most {EMULATED_STOPS_MAX} can be stopped at")
    elif any(len(stop) > EMULATED_STOP_LENGTH_MAX for stop in sampling.stop):
        raise unfit("stop_sequences", f"at most {EMULATED_STOP_LENGTH_MAX} characters can be each")
    return found


def _messages(conversation: Conversation, names: ToolNames, quirks: Quirks) -> list[Json]:
    messages: list[Json] = []
    if conversation.system:
        messages.append({"role": "system", "content": conversation.system})
    for turn in conversation.turns:
        _add(messages, turn, names, quirks)
    for message in messages:
        if message["role"] == "user":
            message["content"] = _content(message["content"])
    return messages


def _add(messages: list[Json], turn: Turn, names: ToolNames, quirks: Quirks) -> None:
    match turn:
        case SystemTurn(text=text):
            if quirks.system == "anywhere":
                messages.append({"role": "system", "content": text})
            else:
                # As the client itself does it for models that know no such role (`wire.md` A6).
                reminder = f"<system-reminder>\n{text}\n</system-reminder>"
                _say(messages, [{"type": "text", "text": reminder}], quirks.after_tools)
        case UserTurn():
            messages.extend(_result(result, quirks) for result in turn.results)
            parts = [*_shown_by_tools(turn.results, quirks)]
            parts += [_part(piece, quirks) for piece in turn.shown]
            if parts:
                _say(messages, parts, quirks.after_tools)
            elif not turn.results:
                _say(messages, [{"type": "text", "text": ""}], quirks.after_tools)
        case AssistantTurn():
            if turn.calls or any(piece.text for piece in turn.said):
                messages.append(_assistant(turn, names, quirks))


def _say(messages: list[Json], parts: list[Json], bridge: str) -> None:
    """Adds to the user's last message: strict chat templates take no two in a row."""
    if messages and messages[-1]["role"] == "user":
        messages[-1]["content"] += parts
        return
    if bridge and messages and messages[-1]["role"] == "tool":
        messages.append({"role": "assistant", "content": bridge})
    messages.append({"role": "user", "content": parts})


def _content(parts: list[Json]) -> object:
    """Of a user's message, as plain as it can be."""
    parts = [part for part in parts if part.get("text") != ""] or parts[:1]
    words = [part["text"] for part in parts if part["type"] == "text"]
    return "\n\n".join(words) if len(words) == len(parts) else parts


def _assistant(turn: AssistantTurn, names: ToolNames, quirks: Quirks) -> Json:
    said = "".join(piece.text for piece in turn.said)
    message: Json = {"role": "assistant", "content": said or (None if turn.calls else "")}
    if turn.calls:
        message["tool_calls"] = [_call(call, names, quirks) for call in turn.calls]
        if quirks.reasoning_back:
            # Only what came from a foreign model: Claude's own is signed, and for Claude alone.
            foreign = [thought.text for thought in turn.thinking if not thought.signature]
            message[quirks.reasoning_back] = "".join(foreign)
        given = (call.foreign.get(DETAILS) for call in turn.calls)
        details = [piece for some in given if isinstance(some, list) for piece in some]
        if details:
            message[DETAILS] = joined_details(details)
    return message


def _call(call: ToolCall, names: ToolNames, quirks: Quirks) -> Json:
    arguments = msgspec.json.encode(call.input).decode()
    sent: Json = {
        "id": _id(call.id, quirks),
        "type": "function",
        "function": {"name": names.there(call.name), "arguments": arguments},
    }
    state = {key: value for key, value in call.foreign.items() if key != DETAILS}
    if state:
        sent["extra_content"] = state
    return sent


def _id(call: str, quirks: Quirks) -> str:
    return fitting_id(call, nine=quirks.nine_letter_ids)


def _result(result: ToolResult, quirks: Quirks) -> Json:
    words = "\n\n".join(piece.text for piece in result.content if isinstance(piece, Text))
    if not words and any(not isinstance(piece, Text) for piece in result.content):
        words = "(see the next message)"
    if result.is_error:
        words = f"{ERROR_MARK}{words}"
    return {"role": "tool", "tool_call_id": _id(result.id, quirks), "content": words}


def _shown_by_tools(results: Iterable[ToolResult], quirks: Quirks) -> Iterable[Json]:
    """What a tool message cannot hold: it follows in the user's, with a word on whose it is."""
    for result in results:
        pieces = [piece for piece in result.content if not isinstance(piece, Text)]
        if pieces:
            yield {
                "type": "text",
                "text": f"From the tool {result.name} ({_id(result.id, quirks)}):",
            }
            for piece in pieces:
                yield _part(piece, quirks)


def _part(piece: Shown, quirks: Quirks) -> Json:
    match piece:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image():
            url = piece.url or f"data:{piece.media_type};base64,{piece.data}"
            return {"type": "image_url", "image_url": {"url": url}}
        case Document():
            return _file(piece, quirks)


def _file(document: Document, quirks: Quirks) -> Json:
    if not quirks.documents or document.url:
        raise capability_rejected("document_block")
    file: dict[str, Any] = {
        "filename": document.title or "document.pdf",
        "file_data": f"data:{document.media_type};base64,{document.data}",
    }
    return {"type": "file", "file": file}

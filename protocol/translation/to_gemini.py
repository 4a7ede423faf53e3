"""A request as Gemini's `generateContent` wants it (`wire.md` D1)."""

from __future__ import annotations

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
    UserTurn,
)
from protocol.translation.refusal import Json, capability_rejected, unfit
from protocol.translation.schema import cleaned
from protocol.translation.tool_names import ToolNames

STOPS_MAX = 5
SIGNATURE = "thought_signature"
"""Beside the call that it belongs to, in the block's `extra_content` under "google"."""

UNSIGNED = "skip_thought_signature_validator"
"""Google's own word for a call that another model made (its page on thought signatures): without
one, models from 3 on answer 400."""

_LEVELS = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
_BUDGETS = {"none": 0, "minimal": 512, "low": 2_048, "medium": 8_192}
"""Tokens of thinking for models of the 2.x line, which know no levels; more: as they like (-1)."""


def write_request(conversation: Conversation, model: str) -> Json:
    """The body; the model is in the URL. Raises Untranslatable for what cannot be told."""
    names = conversation.names()
    signs = not model.startswith(("gemini-1", "gemini-2"))
    request: Json = {"contents": _contents(conversation, names, signs=signs)}
    if conversation.system:
        request["systemInstruction"] = {"parts": [{"text": conversation.system}]}
    if conversation.tools:
        declarations = [
            {
                "name": names.there(tool.name),
                "description": tool.description,
                "parameters": cleaned(tool.schema),
            }
            for tool in conversation.tools
        ]
        request["tools"] = [{"functionDeclarations": declarations}]
        request["toolConfig"] = {"functionCallingConfig": _choice(conversation, names)}
    generation = _generation(conversation, model)
    if generation:
        request["generationConfig"] = generation
    return request


def _choice(conversation: Conversation, names: ToolNames) -> Json:
    choice = conversation.choice
    if choice.kind != "tool":
        return {"mode": {"auto": "AUTO", "any": "ANY", "none": "NONE"}[choice.kind]}
    if all(tool.name != choice.name for tool in conversation.tools):
        raise unfit("tool_choice.name", f"there is no tool {choice.name!r}")
    return {"mode": "ANY", "allowedFunctionNames": [names.there(choice.name)]}


def _generation(conversation: Conversation, model: str) -> Json:
    sampling = conversation.sampling
    if len(sampling.stop) > STOPS_MAX:
        raise unfit("stop_sequences", f"this provider takes at most {STOPS_MAX}")
    found: Json = {
        "maxOutputTokens": sampling.max_tokens and min(sampling.max_tokens, 65_536),
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "stopSequences": list(sampling.stop) or None,
        "thinkingConfig": _thinking(conversation.effort, model),
    }
    if conversation.schema is not None:
        found["responseMimeType"] = "application/json"
        found["responseJsonSchema"] = conversation.schema
    return {key: value for key, value in found.items() if value is not None}


def _thinking(effort: str | None, model: str) -> Json | None:
    if effort is None:
        return None
    shown = {"includeThoughts": effort != "none"}
    if model.startswith(("gemini-1", "gemini-2.0")):
        return None
    if model.startswith("gemini-2"):
        return {**shown, "thinkingBudget": _BUDGETS.get(effort, -1)}
    return {**shown, "thinkingLevel": _LEVELS[effort]}


def _contents(conversation: Conversation, names: ToolNames, *, signs: bool) -> list[Json]:
    contents: list[Json] = []
    for turn in conversation.turns:
        match turn:
            case SystemTurn(text=text):
                reminder = f"<system-reminder>\n{text}\n</system-reminder>"
                _say(contents, "user", [{"text": reminder}])
            case UserTurn():
                parts = [_result(result, names) for result in turn.results]
                for result in turn.results:
                    parts += [_part(p) for p in result.content if not isinstance(p, Text)]
                parts += [_part(piece) for piece in turn.shown]
                _say(contents, "user", parts)
            case AssistantTurn():
                said = "".join(piece.text for piece in turn.said)
                parts = [{"text": said}] if said else []
                calls = [_call(call, names) for call in turn.calls]
                # One signature, on the first, covers the calls of a turn.
                if calls and signs and not any("thoughtSignature" in call for call in calls):
                    calls[0]["thoughtSignature"] = UNSIGNED
                _say(contents, "model", parts + calls)
    return contents or [{"role": "user", "parts": [{"text": ""}]}]


def _say(contents: list[Json], role: str, parts: list[Json]) -> None:
    """One entry for neighbours of the same role. Parts without data are refused: what says nothing
    is left out."""
    said = [part for part in parts if part != {"text": ""}]
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += said
    elif said:
        contents.append({"role": role, "parts": said})


def _call(call: ToolCall, names: ToolNames) -> Json:
    part: Json = {"functionCall": {"name": names.there(call.name), "args": call.input}}
    google = call.foreign.get("google")
    signature = google.get(SIGNATURE) if isinstance(google, dict) else None
    if isinstance(signature, str):
        part["thoughtSignature"] = signature
    return part


def _result(result: ToolResult, names: ToolNames) -> Json:
    words = "\n\n".join(piece.text for piece in result.content if isinstance(piece, Text))
    response = {"error": words} if result.is_error else {"output": words}
    return {"functionResponse": {"name": names.there(result.name), "response": response}}


def _part(piece: Shown) -> Json:
    match piece:
        case Text(text=text):
            return {"text": text}
        case Image(url=url) | Document(url=url) if url:
            if isinstance(piece, Document):
                raise capability_rejected("document_block")
            raise capability_rejected("image_block")  # it fetches nothing from elsewhere
        case Image() | Document():
            return {"inlineData": {"mimeType": piece.media_type, "data": piece.data}}
    raise AssertionError(piece)

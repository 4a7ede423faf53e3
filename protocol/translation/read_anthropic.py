"""An Anthropic Messages request, read into its meaning (`wire.md` A6, A7, B4)."""

from __future__ import annotations

from typing import Any

from protocol.translation.conversation import (
    AssistantTurn,
    Conversation,
    Sampling,
    Shown,
    SystemTurn,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    UserTurn,
)
from protocol.translation.read_content import (
    blocks,
    result_content,
    shown,
    text_of,
    thinking,
    tool_call,
    unknown,
)
from protocol.translation.read_tools import read_tools
from protocol.translation.refusal import (
    Json,
    as_list,
    as_number,
    as_object,
    as_text,
    unfit,
)
from protocol.translation.turn_order import TurnOrder

ATTRIBUTION = "x-anthropic-billing-header:"
"""How the client's attribution block begins (`wire.md` A6). It is for Anthropic alone."""

IDENTITY = frozenset(
    {
        "metadata",  # the user, the device and the session
        "user_profile_id",
        "workspace_id",
        "billing_policy",
        "fallback_credit_token",
    }
)
"""Fields that say who the client is to Anthropic, and who pays: nobody else's business."""

DROPPED = IDENTITY | frozenset(
    {
        "context_management",  # what it clears is not sent here at all
        "cache_control",
        "service_tier",
        "speed",
        "inference_geo",
        "diagnostics",
        "fallbacks",
        "betas",
        "compaction",
    }
)
"""Fields of Anthropic's own business that change nothing in what is answered."""

_REFUSED = {
    # In these words Claude Code goes on without the field (`wire.md` A11).
    "safeguards": "Extra inputs are not permitted",
    "container": "containers run at Anthropic; this provider has none",
    "mcp_servers": "MCP servers are reached by Anthropic; this provider cannot reach them",
    "thread": "threads are kept by Anthropic; send the whole conversation",
}

_EFFORT_WORDS = ("low", "medium", "high", "xhigh", "max")
_LOW_BUDGET, _MEDIUM_BUDGET = 4_096, 16_384


def read_request(request: Json) -> Conversation:
    """Raises Untranslatable, naming the field."""
    for field, reason in _REFUSED.items():
        if request.get(field) not in (None, [], {}):
            raise unfit(field, reason)
    messages = as_list(request.get("messages"), "messages")
    tools = read_tools(request.get("tools"), messages)
    turns, effort = _turns(messages)
    output = as_object(request.get("output_config") or {}, "output_config")
    return Conversation(
        model=as_text(request.get("model"), "model"),
        system=_system(request.get("system")),
        turns=turns,
        tools=tools,
        choice=_choice(request.get("tool_choice")),
        sampling=_sampling(request),
        effort=_effort(effort or output.get("effort"), request.get("thinking")),
        schema=_schema(output.get("format")),
        stream=request.get("stream") is True,
    )


def _system(system: object) -> str:
    if system is None:
        return ""
    if isinstance(system, list):
        system = [block for block in system if not _attribution(block)]
    elif _attribution({"text": system}):
        return ""
    return text_of(system, "system")


def _attribution(block: object) -> bool:
    text = block.get("text") if isinstance(block, dict) else None
    return isinstance(text, str) and text.startswith(ATTRIBUTION)


def _turns(messages: list[Any]) -> tuple[tuple[Turn, ...], object]:
    """The turns, and the effort that the last message with one asks for."""
    turns = TurnOrder()
    effort: object = None
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        message = as_object(message, where)
        if isinstance(message.get("output_config"), dict):
            effort = message["output_config"].get("effort") or effort
        content = f"{where}.content"
        match message.get("role"):
            case "system":
                turns.system(SystemTurn(text_of(message.get("content"), content)))
            case "assistant":
                turns.assistant(_assistant(message.get("content"), content), where)
            case "user":
                turns.user(_user(message.get("content"), content, turns.open_calls))
            case role:
                raise unfit(f"{where}.role", f"must be user, assistant or system, not {role!r}")
    return turns.finish(), effort


def _assistant(content: object, where: str) -> AssistantTurn:
    thoughts: list[Thinking] = []
    said: list[Text] = []
    calls: dict[str, ToolCall] = {}
    for place, block in blocks(content, where):
        match block.get("type"):
            case "text":
                said.append(Text(as_text(block.get("text"), f"{place}.text")))
            case "thinking" | "redacted_thinking":
                thought = thinking(block, place)
                if thought is not None:
                    thoughts.append(thought)
            case "tool_use":
                call = tool_call(block, place)
                if call.id in calls:
                    raise unfit(f"{place}.id", f"{call.id!r} is there twice")
                calls[call.id] = call
            case _:
                raise unknown(block, place)
    return AssistantTurn(tuple(thoughts), tuple(said), tuple(calls.values()))


def _user(content: object, where: str, open_calls: dict[str, str]) -> UserTurn:
    """Results may stand anywhere; each answers one call."""
    results: list[ToolResult] = []
    pieces: list[Shown] = []
    for place, block in blocks(content, where):
        if block.get("type") == "tool_result":
            call = as_text(block.get("tool_use_id"), f"{place}.tool_use_id")
            if call not in open_calls:
                raise unfit(place, f"tool_result {call!r} has no tool_use before it")
            results.append(
                ToolResult(
                    call,
                    open_calls.pop(call),
                    result_content(block.get("content"), f"{place}.content"),
                    block.get("is_error") is True,
                )
            )
            continue
        piece = shown(block, place)
        if piece is None:
            raise unknown(block, place)
        pieces.append(piece)
    return UserTurn(tuple(results), tuple(pieces))


def _choice(choice: object) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    choice = as_object(choice, "tool_choice")
    parallel = choice.get("disable_parallel_tool_use") is not True
    match choice.get("type"):
        case "auto" | "any" | "none" as kind:
            return ToolChoice(kind, parallel=parallel)
        case "tool":
            return ToolChoice("tool", as_text(choice.get("name"), "tool_choice.name"), parallel)
        case other:
            raise unfit("tool_choice.type", f"must be auto, any, tool or none, not {other!r}")


def _sampling(request: Json) -> Sampling:
    stop = as_list(request.get("stop_sequences") or [], "stop_sequences")
    return Sampling(
        max_tokens=_whole_number(request, "max_tokens"),
        temperature=_number(request, "temperature"),
        top_p=_number(request, "top_p"),
        top_k=_whole_number(request, "top_k"),
        stop=tuple(as_text(s, f"stop_sequences[{place}]") for place, s in enumerate(stop)),
    )


def _number(request: Json, field: str) -> float | None:
    value = request.get(field)
    return None if value is None else as_number(value, field)


def _whole_number(request: Json, field: str) -> int | None:
    value = _number(request, field)
    if value is None:
        return None
    if not value.is_integer():
        raise unfit(field, "must be a whole number")
    return int(value)


def _effort(asked: object, thinks: object) -> str | None:
    """What was asked for in words, else what the thinking budget amounts to."""
    if isinstance(thinks, dict) and thinks.get("type") == "disabled":
        return "none"
    if asked is not None:
        if asked not in _EFFORT_WORDS:
            raise unfit("output_config.effort", f"must be one of {', '.join(_EFFORT_WORDS)}")
        return str(asked)
    if not isinstance(thinks, dict) or thinks.get("type") != "enabled":
        return None
    budget = thinks.get("budget_tokens")
    if not isinstance(budget, int):
        return None
    if budget <= _LOW_BUDGET:
        return "low"
    return "medium" if budget <= _MEDIUM_BUDGET else "high"


def _schema(format_: object) -> Json | None:
    if format_ is None:
        return None
    format_ = as_object(format_, "output_config.format")
    if format_.get("type") != "json_schema":
        raise unfit("output_config.format.type", "must be json_schema")
    return as_object(format_.get("schema"), "output_config.format.schema")

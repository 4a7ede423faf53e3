"""Whose state a conversation carries: clients echo it verbatim, and each is for its maker alone.

What a provider wants back (thought signatures, reasoning details) travels in the `extra_content` of
a `tool_use` block, with the provider's name under `origin`. A thinking block that an
Anthropic-compatible provider signed carries that name before its signature: nothing else in what a
client sends back says who made it, and a signature of another's is a 400 (`wire.md` A10, D1).
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.translation.conversation import AssistantTurn, Conversation, ToolCall, Turn

ORIGIN = "origin"
"""Beside a provider's state: its name."""

SIGNED = "llm-supervisor:"
"""Begins a signature that is not Anthropic's; the provider's name and a colon follow."""


def with_origin(state: dict[str, Any], provider: str) -> dict[str, Any]:
    """`state` as the client is to echo it; nothing where there is none."""
    return {**state, ORIGIN: provider} if state and provider else state


def own_state(conversation: Conversation, provider: str) -> Conversation:
    """With the state that `provider` made itself, and nobody else's."""
    turns = tuple(_own(turn, provider) for turn in conversation.turns)
    return msgspec.structs.replace(conversation, turns=turns)


def _own(turn: Turn, provider: str) -> Turn:
    if not isinstance(turn, AssistantTurn) or not any(call.foreign for call in turn.calls):
        return turn
    calls = tuple(_own_call(call, provider) for call in turn.calls)
    return msgspec.structs.replace(turn, calls=calls)


def _own_call(call: ToolCall, provider: str) -> ToolCall:
    own = call.foreign.get(ORIGIN) == provider
    state = {key: value for key, value in call.foreign.items() if own and key != ORIGIN}
    return msgspec.structs.replace(call, foreign=state)


def signed(signature: str, provider: str) -> str:
    """What the client gets in place of `signature`, which may be ""."""
    return f"{SIGNED}{provider}:{signature}"


def signer(signature: str) -> str | None:
    """Who made it; None for Anthropic, or for nobody where it is ""."""
    if not signature.startswith(SIGNED):
        return None
    return signature.removeprefix(SIGNED).partition(":")[0]


def unsigned(signature: str) -> str:
    """The signature as its maker wrote it."""
    if not signature.startswith(SIGNED):
        return signature
    return signature.removeprefix(SIGNED).partition(":")[2]

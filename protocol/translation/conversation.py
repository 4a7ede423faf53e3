"""A request's meaning, in no dialect: what every target is written from."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.translation.tool_names import ToolNames


class Text(msgspec.Struct, frozen=True):
    """Words."""

    text: str


class Image(msgspec.Struct, frozen=True):
    """`data` in base64 with its `media_type`, or a `url`."""

    media_type: str = ""
    data: str = ""
    url: str = ""


class Document(msgspec.Struct, frozen=True):
    """A file, in base64 or at a `url`."""

    media_type: str = "application/pdf"
    data: str = ""
    url: str = ""
    title: str = ""


class Thinking(msgspec.Struct, frozen=True):
    """Reasoning of an earlier turn. `signature` is "" when it came from a foreign provider."""

    text: str
    signature: str = ""


class ToolCall(msgspec.Struct, frozen=True):
    """What the assistant asked for. `foreign` is a provider's own state, echoed by the client."""

    id: str
    name: str
    input: dict[str, Any]
    foreign: dict[str, Any] = {}


Shown = Text | Image | Document


class ToolResult(msgspec.Struct, frozen=True):
    """The answer to the call of that id; `name` is the tool's."""

    id: str
    name: str
    content: tuple[Shown, ...]
    is_error: bool = False


class UserTurn(msgspec.Struct, frozen=True):
    """Results first, in the order of their calls; then what the user shows and says."""

    results: tuple[ToolResult, ...] = ()
    shown: tuple[Shown, ...] = ()


class AssistantTurn(msgspec.Struct, frozen=True):
    """What the assistant thought, said and asked for, each in its own order."""

    thinking: tuple[Thinking, ...] = ()
    said: tuple[Text, ...] = ()
    calls: tuple[ToolCall, ...] = ()


class SystemTurn(msgspec.Struct, frozen=True):
    """A word of the operator in the middle of the conversation."""

    text: str


Turn = UserTurn | AssistantTurn | SystemTurn


class Tool(msgspec.Struct, frozen=True):
    """A function of the client; `schema` is the JSON schema of its input."""

    name: str
    description: str
    schema: dict[str, Any]


class ToolChoice(msgspec.Struct, frozen=True):
    """`name` with kind "tool" only."""

    kind: Literal["auto", "any", "tool", "none"] = "auto"
    name: str = ""
    parallel: bool = True


class Sampling(msgspec.Struct, frozen=True):
    """None: the upstream's own."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()


class Conversation(msgspec.Struct, frozen=True):
    """A whole request. `effort` is one of `quirks.EFFORTS` or None; `schema`, of the answer."""

    model: str
    system: str = ""
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    sampling: Sampling = Sampling()
    effort: str | None = None
    schema: dict[str, Any] | None = None
    stream: bool = False

    def at_most(self, tokens: int) -> Conversation:
        """Asking for an answer of no more than that; who names no number is asked for none."""
        asked = self.sampling.max_tokens
        if asked is None or asked <= tokens:
            return self
        sampling = msgspec.structs.replace(self.sampling, max_tokens=tokens)
        return msgspec.structs.replace(self, sampling=sampling)

    def call_ids(self) -> frozenset[str]:
        """Of all calls so far: one more needs another."""
        said = (turn for turn in self.turns if isinstance(turn, AssistantTurn))
        return frozenset(call.id for turn in said for call in turn.calls)

    def names(self) -> ToolNames:
        """Of the tools, as a target knows them."""
        return ToolNames(tool.name for tool in self.tools)

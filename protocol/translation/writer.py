"""Writing an Anthropic answer piece by piece, as a stream's events or collected into a message.

A provider's pieces come in any order, several tool calls at once among them. Here one block is open
at a time and its pieces pass at once; what belongs to a later block waits for its turn. So whatever
comes in, what goes out keeps the grammar of `grammar.py`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.translation.foreign_state import with_origin
from protocol.translation.read_content import FOREIGN_STATE
from protocol.translation.whole_object import WholeObject
from protocol.usage import Usage

Json = dict[str, Any]

Kind = Literal["text", "thinking", "tool_use"]

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class _Block:
    """`key` tells the tool calls of one answer apart; text and thinking have none."""

    def __init__(self, kind: Kind, key: object, start: Json) -> None:
        self.kind = kind
        self.key = key
        self.start = start
        self.pending: list[str] = []
        self._input = WholeObject()

    def add(self, piece: str) -> None:
        """Some more of it, to be sent in its turn."""
        self.pending.append(piece)
        if self.kind == "tool_use":
            self._input.feed(piece)

    @property
    def whole(self) -> bool:
        """Whether nothing can be missing, so that the next block may open."""
        return self.kind != "tool_use" or self._input.whole


class MessageWriter:
    """Gives events as dictionaries, in order; `begin` first, `end` or `fail` last, once each.

    `origin`: the provider's name, for state of its own that it wants back.
    """

    def __init__(self, message_id: str, model: str, origin: str = "") -> None:
        self._id = message_id
        self._origin = origin
        self._model = model
        self._begun = False
        self._queue: list[_Block] = []
        self._index = 0
        self._open = False
        self.ended = False

    @property
    def empty(self) -> bool:
        """Whether nothing has been said yet."""
        return not (self._queue or self._index)

    def begin(self) -> list[Json]:
        """`message_start`; nothing the second time."""
        if self._begun:
            return []
        self._begun = True
        message: Json = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_view(Usage()),
        }
        return [{"type": "message_start", "message": message}]

    def text(self, words: str) -> list[Json]:
        """Some of what is said."""
        return self._piece("text", words, {"type": "text", "text": ""})

    def thinking(self, words: str) -> list[Json]:
        """Some reasoning. Its signature stays empty: nobody signed it, and none is invented."""
        start = {"type": "thinking", "thinking": "", "signature": ""}
        return self._piece("thinking", words, start)

    def tool(self, key: object, call_id: str, name: str, foreign: Json | None = None) -> list[Json]:
        """A call begins. `foreign` travels in the block, and the client echoes it."""
        start: Json = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        if foreign:
            start[FOREIGN_STATE] = with_origin(foreign, self._origin)
        events = self.begin()
        self._queue.append(_Block("tool_use", key, start))
        return events + self._flow()

    def arguments(self, key: object, json_text: str) -> list[Json]:
        """Some of the input of the call that `key` names. More for a call whose input was whole, and
        is passed on, fails the stream: nothing may be lost without a word."""
        for block in self._queue:
            if block.kind == "tool_use" and block.key == key:
                if json_text:
                    block.add(json_text)
                return self._flow()
        if not json_text.strip():
            return []
        return self.fail("api_error", "the provider went on with a tool call that it had ended")

    def end(self, stop_reason: str, usage: Usage, stop_sequence: str | None = None) -> list[Json]:
        """Closes what is open, and the message."""
        if self.ended:
            return []
        events = self.begin() + self._flow(finish=True)
        self.ended = True
        delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
        events.append({"type": "message_delta", "delta": delta, "usage": usage_view(usage)})
        events.append({"type": "message_stop"})
        return events

    def fail(self, error_type: str, message: str) -> list[Json]:
        """The stream breaks off with an error, which the client sees."""
        if self.ended:
            return []
        self.ended = True
        return [{"type": "error", "error": {"type": error_type, "message": message}}]

    def _piece(self, kind: Kind, words: str, start: Json) -> list[Json]:
        events = self.begin()
        if words:
            if not self._queue or self._queue[-1].kind != kind:
                self._queue.append(_Block(kind, None, start))
            self._queue[-1].add(words)
        return events + self._flow()

    def _flow(self, *, finish: bool = False) -> list[Json]:
        if self.ended:
            return []  # nothing is said after the end, whatever else was in the last chunk
        events: list[Json] = []
        while self._queue:
            block = self._queue[0]
            if not self._open:
                self._open = True
                start = {"type": "content_block_start", "index": self._index}
                events.append({**start, "content_block": block.start})
            delta_type, field = _DELTAS[block.kind]
            fresh = "".join(block.pending)
            block.pending.clear()
            if fresh:
                delta = {"type": delta_type, field: fresh}
                events.append({"type": "content_block_delta", "index": self._index, "delta": delta})
            if not finish and (len(self._queue) == 1 or not block.whole):
                break
            events.append({"type": "content_block_stop", "index": self._index})
            self._queue.pop(0)
            self._open = False
            self._index += 1
        return events


def usage_view(usage: Usage) -> Json:
    """As Anthropic shows it: every number is there, and cached input is apart."""
    return {
        "input_tokens": usage.input_tokens or 0,
        "cache_creation_input_tokens": usage.cache_write_tokens or 0,
        "cache_read_input_tokens": usage.cache_read_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
    }


def encode_event(event: Json) -> bytes:
    """One server-sent event; without its `event:` line Claude Code would skip it (`wire.md` A17)."""
    name = str(event["type"]).encode()
    return b"event: " + name + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"

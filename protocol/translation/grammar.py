"""What an Anthropic event stream must look like (`peers.md` P14). For tests, and for watching."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_DELTA_OF = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "redacted_thinking": set[str](),
}


class Ungrammatical(Exception):
    """The event that may not come here, and why."""


class Grammar:
    """Feed it the events of one stream. Pings may come anywhere; an error ends it."""

    def __init__(self) -> None:
        self._state = "before"
        self._index = 0
        self._kind: str | None = None

    def feed(self, event: Json) -> None:
        """Raises Ungrammatical."""
        kind = event.get("type")
        if self._state == "over":
            raise Ungrammatical(f"{kind} after the end")
        match kind:
            case "ping":
                return
            case "error":
                self._state = "over"
            case "message_start":
                self._demand(self._state == "before", "a second message_start")
                self._demand(event["message"]["content"] == [], "content in message_start")
                self._demand("input_tokens" in event["message"]["usage"], "no usage")
                self._state = "content"
            case "content_block_start":
                self._demand(self._state == "content", f"a block in {self._state}")
                self._demand(event["index"] == self._index, "a block out of order")
                self._kind = event["content_block"]["type"]
                self._state = "block"
            case "content_block_delta":
                self._of_open_block(event)
                accepted = _DELTA_OF.get(str(self._kind), set())
                self._demand(event["delta"]["type"] in accepted, "a delta of another type")
            case "content_block_stop":
                self._of_open_block(event)
                self._index += 1
                self._state = "content"
            case "message_delta":
                self._demand(self._state == "content", f"message_delta in {self._state}")
                self._demand(bool(event["delta"]["stop_reason"]), "no stop_reason")
                self._demand("output_tokens" in event["usage"], "no usage")
                self._state = "closing"
            case "message_stop":
                self._demand(self._state == "closing", f"message_stop in {self._state}")
                self._state = "over"
            case _:
                raise Ungrammatical(f"an event of type {kind!r}")

    def finish(self) -> None:
        """Raises Ungrammatical when the stream ended too early."""
        self._demand(self._state == "over", f"the end in {self._state}")

    def _of_open_block(self, event: Json) -> None:
        self._demand(self._state == "block", f"{event['type']} without an open block")
        self._demand(event["index"] == self._index, f"{event['type']} of another block")

    def _demand(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise Ungrammatical(otherwise)

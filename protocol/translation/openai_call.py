"""One tool call of a chat completion, gathered from its pieces (`peers.md` P15)."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.translation.whole_object import WholeObject

Json = dict[str, Any]


class Call:
    """Its pieces are kept until its id and its name are known.

    `told` is the id under which the client has it, `place` its own among the calls of an answer.
    """

    def __init__(self, index: int | None, place: int) -> None:
        self.index = index
        self.place = place
        self.id = ""
        self.name = ""
        self.told = ""
        self.foreign: Json = {}
        self.opened = False
        self._pending: list[str] = []
        self._begun = False
        self._extent = WholeObject()

    @property
    def nameless(self) -> bool:
        """Whether the name never came: nobody could run it, and it must not vanish unseen."""
        return not self.name

    def another(self, piece: Json, call_id: str) -> bool:
        """Whether `piece` begins another call, although it has the number of this one."""
        if call_id and self.id and call_id != self.id:
            return True
        function = piece.get("function")
        if not isinstance(function, dict) or not function.get("arguments"):
            return False
        named = bool(text_of(function.get("name")))
        return named and bool(self.name) and self._extent.whole

    def take(self, piece: Json) -> None:
        """One more piece of it."""
        self.id = self.id or text_of(piece.get("id"))
        function = piece.get("function")
        if isinstance(function, dict):
            name = text_of(function.get("name"))
            if not self.opened and name != self.name:  # some repeat it in each piece
                self.name += name
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # Ollama's older servers
                arguments = msgspec.json.encode(arguments).decode()
            words = text_of(arguments)
            self._pending.append(words)
            self._extent.feed(words)
        state = piece.get("extra_content")
        if isinstance(state, dict):
            self.foreign.update(state)

    def arguments(self, *, last: bool) -> str:
        """What can be told of its arguments by now; they are told once.

        What does not begin as an object waits for its end (`last`): it may be one all the same.
        """
        words = "".join(self._pending)
        self._begun = self._begun or words.lstrip()[:1] == "{"
        if not (self._begun or last):
            self._pending = [words]
            return ""
        self._pending.clear()
        return words if self._begun else object_in(words)


def object_in(words: str) -> str:
    """The object that was meant: several servers write it as JSON in JSON, and none at all as null."""
    try:
        value = msgspec.json.decode(words) if words.strip() else None
        if isinstance(value, str):
            words = value
            value = msgspec.json.decode(words) if words.strip() else None
    except (msgspec.DecodeError, RecursionError):
        return words
    return "" if value is None else words


def text_of(value: object) -> str:
    """A string, or the words in a list of content parts; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""

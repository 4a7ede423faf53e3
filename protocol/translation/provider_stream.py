"""What the streams of all other dialects have in common: chunks in, Anthropic events out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Container

import msgspec

from protocol.sse import Event
from protocol.translation.collect import collect
from protocol.translation.provider_error import ProviderError, failure, is_error
from protocol.translation.tool_names import ToolNames
from protocol.translation.writer import Json, MessageWriter
from protocol.usage import Usage

CUT = "the provider's stream ended before its answer did"
NAMELESS = "the provider's model called a tool without a name"

_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class ProviderStream(ABC):
    """One answer. `usage` is the last that was told; it is never added up.

    `model_field` is where a chunk names the model that answers; `origin` is the provider's name;
    `taken` are the ids of calls that the conversation has already.
    """

    model_field: str

    def __init__(
        self,
        names: ToolNames,
        message_id: str,
        model: str,
        origin: str = "",
        taken: Container[str] = frozenset(),
    ) -> None:
        self._names = names
        self._taken = taken
        self._given: set[str] = set()
        self._origin = origin
        self._message_id = message_id
        self._model = model
        self._writer: MessageWriter | None = None
        self._finish: str | None = None
        self._stopped_by: str | None = None
        self.usage = Usage()

    @property
    def ended(self) -> bool:
        """Whether the message, or its failure, was told to its end."""
        return self._writer is not None and self._writer.ended

    def feed(self, event: Event) -> list[Json]:
        """Raises ProviderError when the stream begins with an error: nothing was said yet."""
        if event.cut:
            return self.fail(_broken("the provider sent a chunk that is too large"))
        if self.ended or not event.data:
            return []
        try:
            chunk = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self.fail(_broken("the provider sent a chunk that is no JSON"))
        # Gemini's streams without `alt=sse` are one array.
        chunks = chunk if isinstance(chunk, list) and chunk else [chunk]
        if not all(isinstance(one, dict) for one in chunks):
            return self.fail(_broken("the provider sent a chunk that is no object"))
        return [event for one in chunks for event in self.chunk(one)]

    def chunk(self, chunk: Json) -> list[Json]:
        """One decoded chunk. Raises ProviderError as `feed` does."""
        if self.ended:
            return []
        if is_error(chunk):
            return self.fail(failure(None, chunk))
        if self._writer is None:
            named = chunk.get(self.model_field)
            model = named if isinstance(named, str) and named else self._model
            self._writer = MessageWriter(self._message_id, model, self._origin)
        return self._writer.begin() + self._said(self._writer, chunk)

    def finish(self) -> list[Json]:
        """The upstream has ended: the message's end, or the error that it lacks one."""
        if self.ended:
            return []
        if self._writer is not None and self._stopped_by is not None:
            return self._writer.end("stop_sequence", self.usage, self._stopped_by)
        if self._writer is None or self._finish is None:
            return self.fail(_broken(CUT))
        rest = self._rest(self._writer)
        return rest + self._writer.end(self._stop_reason(self._finish), self.usage)

    def fail(self, error: ProviderError) -> list[Json]:
        """The stream broke: an error event for a client that has seen some of it, else it raises.

        One that has all that it asked for gets the end: what is lost was not for it.
        """
        if self._writer is None:
            raise error
        if self._stopped_by is not None:
            return self.finish()
        return self._writer.fail(error.type, error.message)

    def whole(self, answer: Json) -> Json:
        """A complete answer as a message: the collected stream of one chunk, so that both ways agree
        by construction. Raises ProviderError for an error or an unreadable answer."""
        events = [*self.chunk(answer), *self.finish()]
        broken = next((event for event in events if event["type"] == "error"), None)
        if broken is not None:
            error = broken["error"]
            raise ProviderError(502, error["type"], error["message"])
        return collect(events)

    @staticmethod
    def _first(choices: object) -> Json | None:
        """The answer that was asked for; a provider may send others beside it."""
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index") in (None, 0):
                return choice
        return None

    def _call_id(self, given: str, place: int) -> str:
        """An id for the call at `place`: its own, or one of ours where that would not do.

        It has to be unique in the conversation: the client drops the second call of an answer with
        one id (`wire.md` A17), and Anthropic, where the conversation may go back to, refuses such,
        and every id with other characters than these.
        """
        told = given
        if not _CALL_ID.fullmatch(given) or given in self._taken or given in self._given:
            told = f"{self._message_id}_{place}"
        self._given.add(told)
        return told

    @abstractmethod
    def _said(self, writer: MessageWriter, chunk: Json) -> list[Json]:
        """What a chunk says; it also sets `usage` and `_finish`."""

    @abstractmethod
    def _stop_reason(self, finish: str) -> str:
        """Anthropic's word for how it ended."""

    def _rest(self, writer: MessageWriter) -> list[Json]:
        """What was kept back until the end."""
        del writer
        return []


def count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _broken(message: str) -> ProviderError:
    return ProviderError(502, "api_error", message)

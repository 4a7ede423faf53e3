"""The turns of a conversation in the order that every target takes (`peers.md` P15).

Anthropic joins neighbours of one role, and takes words of the system between a call and its result
(`wire.md` A6). Chat Completions and Gemini want the results of all calls of a turn directly behind
it: whatever else comes before the last of them follows them here.
"""

from __future__ import annotations

from protocol.translation.conversation import (
    AssistantTurn,
    SystemTurn,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    UserTurn,
)
from protocol.translation.refusal import unfit


class TurnOrder:
    """Feed it the turns. `open_calls`: those without a result yet, by id, with their tool.

    Whoever reads a result takes its call out of them.
    """

    def __init__(self) -> None:
        self.open_calls: dict[str, str] = {}
        self._turns: list[Turn] = []
        self._neighbours: list[AssistantTurn] = []
        """Of the assistant, the last ones so far: one turn, once something else follows."""
        self._asked: dict[str, int] = {}
        """All calls of these, in their order."""
        self._results: list[ToolResult] = []
        self._later: list[UserTurn | SystemTurn] = []

    def assistant(self, turn: AssistantTurn, where: str) -> None:
        """Raises Untranslatable for a call that has no result before this turn."""
        if not self._neighbours or self._later or self._results:
            self._answered(where)
            self._asked = {}
        for call in turn.calls:
            if call.id in self._asked:
                raise unfit(where, f"tool_use {call.id!r} is there twice")
            self._asked[call.id] = len(self._asked)
            self.open_calls[call.id] = call.name
        self._neighbours.append(turn)

    def user(self, turn: UserTurn) -> None:
        """Its results have been taken out of the open calls."""
        self._results += turn.results
        if turn.shown or not turn.results:
            self._say(UserTurn(shown=turn.shown))
        self._flush()

    def system(self, turn: SystemTurn) -> None:
        """A word of the operator."""
        self._say(turn)

    def finish(self) -> tuple[Turn, ...]:
        """All turns. Raises Untranslatable for a call without a result."""
        self._answered("the end of messages")
        self._join()
        return tuple(self._turns)

    def _say(self, turn: UserTurn | SystemTurn) -> None:
        if self.open_calls or self._results:
            self._later.append(turn)
            return
        self._join()
        self._turns.append(turn)

    def _flush(self) -> None:
        """The results, once the last one is there, and what had to wait for it."""
        if self.open_calls or not self._results:
            return
        self._join()
        self._results.sort(key=lambda result: self._asked[result.id])
        first, *rest = self._later or [UserTurn()]
        if not isinstance(first, UserTurn):
            first, rest = UserTurn(), self._later
        self._turns += [UserTurn(tuple(self._results), first.shown), *rest]
        self._results, self._later = [], []

    def _join(self) -> None:
        if self._neighbours:
            self._turns.append(_joined(self._neighbours))
            self._neighbours = []

    def _answered(self, where: str) -> None:
        for call in self.open_calls:
            raise unfit(where, f"tool_use {call!r} before it has no tool_result")


def _joined(turns: list[AssistantTurn]) -> AssistantTurn:
    """Neighbours as the one turn that they are. All at once: there may be very many."""
    thinking: list[Thinking] = []
    said: list[Text] = []
    calls: list[ToolCall] = []
    for turn in turns:
        thinking += turn.thinking
        said += (Text("\n\n"),) if said and turn.said else ()
        said += turn.said
        calls += turn.calls
    return AssistantTurn(tuple(thinking), tuple(said), tuple(calls))

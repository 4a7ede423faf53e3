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
        self._asked: list[str] = []
        self._results: list[ToolResult] = []
        self._later: list[UserTurn | SystemTurn] = []

    def assistant(self, turn: AssistantTurn, where: str) -> None:
        """Raises Untranslatable for a call that has no result before this turn."""
        last = self._turns[-1] if self._turns else None
        if isinstance(last, AssistantTurn) and not (self._results or self._later):
            turn = _joined(last, turn, where)
            self._turns.pop()
        else:
            self._answered(where)
        self._turns.append(turn)
        self.open_calls = {call.id: call.name for call in turn.calls}
        self._asked = list(self.open_calls)

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
        return tuple(self._turns)

    def _say(self, turn: UserTurn | SystemTurn) -> None:
        waits = self.open_calls or self._results
        (self._later if waits else self._turns).append(turn)

    def _flush(self) -> None:
        """The results, once the last one is there, and what had to wait for it."""
        if self.open_calls or not self._results:
            return
        self._results.sort(key=lambda result: self._asked.index(result.id))
        first, *rest = self._later or [UserTurn()]
        if not isinstance(first, UserTurn):
            first, rest = UserTurn(), self._later
        self._turns += [UserTurn(tuple(self._results), first.shown), *rest]
        self._results, self._later = [], []

    def _answered(self, where: str) -> None:
        for call in self.open_calls:
            raise unfit(where, f"tool_use {call!r} before it has no tool_result")


def _joined(first: AssistantTurn, second: AssistantTurn, where: str) -> AssistantTurn:
    """Neighbours as the one turn that they are."""
    ids = {call.id for call in first.calls}
    for call in second.calls:
        if call.id in ids:
            raise unfit(where, f"tool_use {call.id!r} is there twice")
    between = (Text("\n\n"),) if first.said and second.said else ()
    return AssistantTurn(
        first.thinking + second.thinking,
        first.said + between + second.said,
        first.calls + second.calls,
    )

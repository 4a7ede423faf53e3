"""The upstreams of a run: every host of its own, each attempt answered by the dice and recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio

from server.scripted import (
    Answer,
    Cut,
    Pause,
    Reset,
    ScriptedUpstream,
    SeenRequest,
    Send,
    Stall,
    Step,
    Window,
    error,
    error_event,
    json_answer,
    message,
    message_events,
    openai_error,
    openai_reply,
    overloaded,
    rate_limited,
    server_error,
    stream,
    text_block,
    unauthorized,
    window_spent,
)
from server.scripted.requests import Outcome
from tests.sim.faults import Dice
from tests.sim.history import Attempt, Over, Planned
from tests.sim.scenario import OTHER

MARK = re.compile(rb"sim-r(\d+)-")
ASKS_FOR_A_STREAM = re.compile(rb'"stream": ?true')
TOKEN_PATH = "/v1/oauth/token"
LONGEST_REST = 90
"""Seconds: the longest word of an upstream's."""

WORDS = ("lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit")


def mark(request: int) -> str:
    """What a client writes into a request, for the upstreams to say whose it was."""
    return f"sim-r{request}-"


@dataclass(frozen=True)
class Answered:
    """An answer and what it means to the checker; see `history.Planned`."""

    answer: Answer
    fault: str = ""
    ending: str = "complete"
    rest: float = 0.0
    text: str = ""


class SimUpstream(ScriptedUpstream):
    """One host. `good` says whether a credential is known here; `renew` serves the token endpoint."""

    def __init__(
        self,
        host: str,
        dice: Dice,
        numbers: Callable[[], int],
        good: Callable[[str], bool],
        renew: Callable[[SeenRequest], Answer],
        wall: Callable[[], float],
    ) -> None:
        super().__init__(remember=0)
        self.host = host
        self._dice = dice
        self._random = dice.stream(f"upstream {host}")
        self._numbers = numbers
        self._good = good
        self._renew = renew
        self._wall = wall
        self._attempts: dict[int, int] = {}
        self._resets: dict[str, int] = {}

    def choose(self, seen: SeenRequest) -> Answer:
        """Records the attempt and the answer to it."""
        if seen.path == TOKEN_PATH:
            return self._renew(seen)
        number = self._numbers()
        self._attempts[id(seen)] = number
        found = MARK.search(seen.target) or MARK.search(seen.body)
        history = self._dice.history
        request = int(found[1]) if found else -1
        history.add(
            Attempt(
                seen.started_at, number, request, self.host, seen.path,
                seen.credential or "", seen.both_credentials,
            )
        )  # fmt: skip
        made = self._answered(seen, number)
        # Never in the same instant: what came before what must be told by the clock.
        answer = made.answer.after(self._random.uniform(0.001, 0.1))
        history.add(
            Planned(
                trio.current_time(), number, answer.status, answer.headers, answer.whole_body(),
                made.ending, made.fault, made.rest, made.text,
            )
        )  # fmt: skip
        return answer

    def end(self, seen: SeenRequest, outcome: Outcome) -> None:
        """Records how it ended."""
        number = self._attempts.pop(id(seen), None)
        if number is not None:
            self._dice.history.add(Over(trio.current_time(), number, outcome))
        super().end(seen, outcome)

    # --- what is answered

    def _answered(self, seen: SeenRequest, number: int) -> Answered:
        if not self._good(seen.credential or ""):
            return Answered(unauthorized(), "unknown credential")
        where = f"{self.host} attempt {number}"
        for kind, make in self._refusals(seen):
            if self._dice.hit(kind, where):
                return make()
        good = self._good_answer(seen, number)
        for kind, step in (("cut", Cut()), ("reset", Reset()), ("stall", Stall())):
            if good.text and self._dice.hit(kind, where):
                return self._broken(good, kind, step)
        return good

    def _refusals(self, seen: SeenRequest) -> list[tuple[str, Callable[[], Answered]]]:
        if self.host == OTHER:
            return [
                ("429 retry-after", lambda: Answered(openai_error(429, "slow", retry_after="7"), "429")),
                ("5xx", lambda: Answered(openai_error(503, "down"), "5xx")),
                ("no answer", self._nothing),
            ]  # fmt: skip
        streams = ASKS_FOR_A_STREAM.search(seen.body) is not None
        return [
            ("429 retry-after", self._limited),
            ("429 window", lambda: self._window(seen.credential or "")),
            ("429 burst", self._burst),
            ("429 bare", lambda: Answered(rate_limited(), "429 bare")),
            ("5xx", lambda: Answered(server_error(self._random.choice((500, 502, 503))), "5xx")),
            ("529", lambda: Answered(overloaded(), "529")),
            ("overload in a 200", lambda: self._overload_inside(streams=streams)),
            ("401", lambda: Answered(unauthorized("not today"), "401")),
            ("no answer", self._nothing),
        ]

    def _limited(self) -> Answered:
        seconds = self._random.choice((3, 10, 30, LONGEST_REST))
        return Answered(rate_limited(retry_after=seconds), "429 retry-after", rest=seconds)

    def _window(self, credential: str) -> Answered:
        seconds, now = self._random.choice((20, 60, LONGEST_REST)), int(self._wall())
        resets_at = self._resets.get(credential, 0)
        if resets_at <= now:  # else it is spent already, and has one end
            resets_at = self._resets[credential] = now + seconds
        seconds = resets_at - now
        answer = window_spent("5h", resets_at=resets_at, retry_after=seconds)
        return Answered(answer, "429 window", rest=seconds)

    def _burst(self) -> Answered:
        seconds = self._random.choice((2, 15, 50))
        healthy = {"5h": Window(utilization=0.2, resets_at=int(self._wall()) + 3600)}
        return Answered(
            rate_limited(retry_after=seconds, windows=healthy), "429 burst", rest=seconds
        )

    def _overload_inside(self, *, streams: bool) -> Answered:
        if not streams:
            return Answered(overloaded(), "529")
        return Answered(stream([error_event("overloaded_error", "Overloaded")]), "early error")

    def _nothing(self) -> Answered:
        how = self._random.choice(("close", "reset", "stall"))
        return Answered(Answer(instead_of_head=how), "no answer", "none")

    def _good_answer(self, seen: SeenRequest, number: int) -> Answered:
        text = self._text(number)
        if self.host == OTHER:
            answer = openai_reply(text_block(text))(seen)
            return Answered(answer, text=text)
        if seen.endpoint.endswith("/count_tokens"):
            return Answered(json_answer({"input_tokens": number}))
        if seen.method == b"GET":
            return Answered(json_answer({"data": [], "attempt": number}))
        if seen.endpoint != "/v1/messages":
            return Answered(error(404, message=f"nothing here, attempt {number}"), "404")
        try:
            streams = bool(seen.json().get("stream"))
        except ValueError:
            return Answered(error(400, message=f"no JSON, attempt {number}"), "400")
        delay = 0.0
        pause = self._random.choice((0.0, 0.0, 0.05, 1.0))
        if self._dice.hit("slow answer", f"{self.host} attempt {number}"):
            delay, pause = self._random.uniform(0, 12), self._random.uniform(0, 12)
        if not streams:
            answer = message([text_block(text)], message_id=f"msg_{number}")
            return Answered(answer.after(delay), text=text)
        deltas = self._random.choice((1, 3, 12))
        events = message_events([text_block(text)], deltas=deltas, message_id=f"msg_{number}")
        if self._dice.hit("late error", f"{self.host} attempt {number}"):
            events = [*events[:-2], error_event("overloaded_error", "Overloaded, late")]
            return Answered(stream(events, pause=pause).after(delay), "late error", text=text)
        return Answered(stream(events, pause=pause).after(delay), text=text)

    def _text(self, number: int) -> str:
        """Unlike every other attempt's, so that bytes tell where they are from."""
        words = self._random.choices(WORDS, k=self._random.choice((4, 30, 400)))
        return f"attempt {number}: " + " ".join(f"{word}{at}" for at, word in enumerate(words))

    def _broken(self, good: Answered, kind: str, step: Step) -> Answered:
        """The answer up to any of its bytes but the last."""
        answer = good.answer
        at = self._random.randrange(answer.body_length())
        steps: list[Step] = []
        left = at
        for one in answer.steps():
            if isinstance(one, Send):
                steps.append(Send(one.data[:left]))
                left -= len(one.data)
                if left <= 0:
                    break
            elif isinstance(one, Pause):
                steps.append(one)
        framing = "content-length" if answer.parts is None else "chunked"
        if answer.parts is None:
            answer = answer.with_headers({"content-length": str(answer.body_length())})
        parts = (*(one for one in steps if one != Send(b"")), step)
        broken = msgspec.structs.replace(answer, parts=parts, framing=framing)
        return Answered(broken, kind, kind, text=good.text)

"""The clients of a soak, its upstream, and what each request came to."""

from __future__ import annotations

import json
import random
from collections import Counter

import msgspec
import trio

from server.scripted import (
    Answer,
    Cut,
    SeenRequest,
    error,
    overloaded,
    rate_limited,
    reset_before_head,
    server_error,
    text_message,
    text_stream,
)
from tests.kit.wire import Answered, Headers, Wire

ANSWER_SECONDS = 60.0
"""Longer is a hang, and counts as lost."""
FAULTS = 0.12
"""Share of the requests that the upstream fails in some way."""
CUT = "cut by the upstream"
AUTHORED = "the proxy failed"
"""What a crash of ours is answered with, where nobody foresaw it."""
HEADERS: Headers = [("content-type", "application/json"), ("anthropic-version", "2023-06-01")]


class Upstream:
    """Answers with the word that the request has, slowly, and fails often enough."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.faults: Counter[str] = Counter()

    def answer(self, seen: SeenRequest) -> Answer:
        """For each request its own."""
        try:
            asked = json.loads(seen.body or b"{}")
            word = asked["messages"][0]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            return text_message("nothing was asked")
        if self._rng.random() < FAULTS:
            return self._fault(word, stream=asked.get("stream") is True)
        if asked.get("stream") is not True:
            return text_message(str(word))
        return text_stream(f"{word} " * 20, events=20, pause=self._rng.choice([0.0, 0.01, 0.05]))

    def _fault(self, word: str, *, stream: bool) -> Answer:
        kinds = {
            "429": rate_limited(retry_after=1),
            "529": overloaded(),
            "500": server_error(),
            "400": error(400, message="no such thing"),
            "reset": reset_before_head(),
        }
        if stream:
            whole = text_stream(f"{word} " * 20, events=20, pause=0.01)
            kinds[CUT] = msgspec.structs.replace(whole, parts=(*whole.steps()[:8], Cut()))
        kind = self._rng.choice(sorted(kinds))
        self.faults[kind] += 1
        return kinds[kind]


class Client:
    """Asks for ever, on kept connections, each time for another thing."""

    def __init__(self, url: str, rng: random.Random, outcomes: Counter[str]) -> None:
        self._url = url
        self._rng = rng
        self._outcomes = outcomes
        self.stopping = False
        self.lost: list[str] = []

    async def run(self, number: int) -> None:
        """Until `stopping`."""
        serial = 0
        while not self.stopping:
            try:
                async with await Wire.to(self._url) as wire:
                    for _ in range(self._rng.randrange(1, 12)):
                        serial += 1
                        word = f"word-{number}-{serial}"
                        kept = await self._one(wire, word)
                        await trio.sleep(self._rng.uniform(0.0, 0.3))
                        if not kept or self.stopping:
                            break
            except OSError as refused:
                self._lose(f"no connection: {refused!r}")

    async def _one(self, wire: Wire, word: str) -> bool:
        """One request; whether its connection goes on."""
        kind = self._rng.choice(["plain", "plain", "stream", "stream", "count", "chat", "leave"])
        path = {"count": "/v1/messages/count_tokens", "chat": "/v1/chat/completions"}
        body = {
            "model": "claude-opus-5-5",
            "max_tokens": 64,
            "stream": kind in ("stream", "leave"),
            "messages": [{"role": "user", "content": word}],
        }
        target = path.get(kind, "/v1/messages")
        session = ("x-claude-code-session-id", f"session-{self._rng.randrange(500)}")
        with trio.move_on_after(ANSWER_SECONDS) as limit:
            try:
                await wire.send("POST", target, [*HEADERS, session], json.dumps(body).encode())
                answered = await wire.answer_head()
                if kind == "leave":
                    await wire.leave(reset=self._rng.random() < 0.5)
                    self._outcomes["left by the client"] += 1
                    return False
                await wire.body_of(answered)
            except (AssertionError, OSError, ValueError, trio.BrokenResourceError) as broken:
                self._lose(f"{kind}: no answer: {broken!r}"[:300])
                return False
            return self._count(kind, word, answered)
        assert limit.cancelled_caught
        self._lose(f"{kind}: nothing for {ANSWER_SECONDS:g} s")
        return False

    def _count(self, kind: str, word: str, answered: Answered) -> bool:
        text = answered.body.decode("utf-8", "replace")
        if answered.status == 200 and kind == "stream":
            if "message_stop" in text and answered.complete and text.count(word) == 20:
                self._outcomes["stream whole"] += 1
            elif not answered.complete and "message_stop" not in text:
                self._outcomes["stream cut, as the upstream cut it"] += 1
                return False
            else:
                self._lose(f"stream: neither whole nor visibly cut: {text[-300:]!r}")
        elif not answered.complete:
            self._lose(f"{kind}: {answered.status}, and the body is not whole")
            return False
        elif answered.status == 200:
            if word in text:
                self._outcomes[f"{kind} whole"] += 1
            else:
                self._lose(f"{kind}: another answer: {text[:300]!r}")
        elif AUTHORED in text:
            self._lose(f"{kind}: {answered.status} of our own: {text[:300]!r}")
        else:
            self._outcomes[f"refused with {answered.status}"] += 1
        return answered.header("connection") != "close"

    def _lose(self, what: str) -> None:
        if not self.stopping:
            self.lost.append(what)

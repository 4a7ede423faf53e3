"""What a client did about the answers that it got: what it asked, and how it ended.

A `Reaction` is free of what differs between any two runs (homes, ids, durations), so that two of
them are equal when the client did the same.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.scripted import Answer, ScriptedUpstream, SeenRequest, corpus_answers
from tests.clients.claude_code import API_KEY, ClaudeCode, Result
from tests.kit import corpus

SESSION = "00000000-0000-4000-8000-0000000000aa"
LOGIN = {
    "claudeAiOauth": {
        "accessToken": "sk-ant-oat01-made-up-for-tests",
        "refreshToken": "sk-ant-ort01-made-up-for-tests",
        "expiresAt": 4_000_000_000_000,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
        "rateLimitTier": "default_claude_max_5x",
    }
}

BY_CONNECTION = frozenset(
    {"host", "connection", "accept-encoding", "content-length", "authorization", "x-api-key"}
)
"""Headers that are the connection's or the account's, not the client's answer to an error."""

VOLATILE = frozenset({"id", "timestamp", "uuid"})
"""Of the client's own report, what is never twice the same; beside all that ends in `_ms`."""


@dataclass(frozen=True)
class Asked:
    """One request as it reached an upstream. `body` is JSON with its keys in their order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str = field(repr=False)

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def betas(self) -> tuple[str, ...]:
        return tuple(dict(self.headers).get("anthropic-beta", "").split(","))


@dataclass(frozen=True)
class Reaction:
    """`ending` is what the person or program that started the client got to know."""

    asked: tuple[Asked, ...]
    ending: dict[str, Any]
    gaps: tuple[float, ...] = field(default=(), compare=False)
    """Seconds between one request and the next."""

    @property
    def different(self) -> tuple[Asked, ...]:
        """What was asked, without what was merely asked again."""
        return tuple(
            asked for i, asked in enumerate(self.asked) if not i or asked != self.asked[i - 1]
        )

    @property
    def retries(self) -> list[int]:
        """The statuses that the client told its user it would try again after."""
        return [event["error_status"] for event in self.ending["events"] if _is_retry(event)]

    @property
    def end(self) -> dict[str, Any]:
        """The ending without the retries on the way."""
        events = [event for event in self.ending["events"] if not _is_retry(event)]
        return {**self.ending, "events": events}

    @property
    def message(self) -> str:
        return str(self.ending["events"][-1].get("result", ""))


def _is_retry(event: Mapping[str, Any]) -> bool:
    return event.get("subtype") == "api_retry"


def differences(one: Reaction, other: Reaction) -> list[str]:
    """In words, what `other` did that `one` did not; empty when both are equal."""
    found = []
    if len(one.asked) != len(other.asked):
        found.append(f"{len(one.asked)} requests, {len(other.asked)} requests")
    for number, (left, right) in enumerate(zip(one.asked, other.asked, strict=False)):
        if left != right:
            found += [f"request {number}: {text}" for text in _unlike(left, right)]
    return [*found, *_unlike_values("ending", one.ending, other.ending)]


def _unlike_values(where: str, left: Any, right: Any) -> list[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        keys = {**left, **right}
        pairs = [(f"{where}.{key}", left.get(key), right.get(key)) for key in keys]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(left, right, strict=True))]
    else:
        return [] if left == right else [f"{where}: {left!r}, {right!r}"]
    return [text for pair in pairs for text in _unlike_values(*pair)]


def _unlike(left: Asked, right: Asked) -> list[str]:
    found = []
    if (left.method, left.target) != (right.method, right.target):
        found.append(f"{left.method} {left.target}, {right.method} {right.target}")
    if left.headers != right.headers:
        found.append(f"headers {sorted(set(left.headers) ^ set(right.headers))}")
    if left.body != right.body:
        keys = {**left.json, **right.json}
        unlike = [key for key in keys if left.json.get(key) != right.json.get(key)]
        found.append(f"body: {unlike or 'the order of its keys'}")
    return found


class Case:
    """One recorded conversation, as something that can be had again with the real client."""

    def __init__(self, name: str, *, retries: int = 2) -> None:
        self.name = name
        self.fixture = corpus.load(f"claude-code/{name}")
        self.retries = retries
        self.login = name.endswith("_oauth")
        models = list(dict.fromkeys(self._models()))
        self.arguments = ["--fallback-model", models[1]] if "fallback_model" in name else []

    def _models(self) -> list[str]:
        bodies = range(len(self.fixture["exchanges"]))
        return [json.loads(corpus.request_body(self.fixture, i))["model"] for i in bodies]

    def recorded_answers(self) -> list[Answer]:
        """What the upstream answered when it was recorded."""
        return corpus_answers(self.fixture)

    def answers(self) -> Callable[[SeenRequest], Answer]:
        """The recorded answers in their order, the last one again and again, for each model."""
        left: dict[str, list[Answer]] = {}
        for model, answer in zip(self._models(), self.recorded_answers(), strict=True):
            left.setdefault(model, []).append(answer)

        def answer(seen: SeenRequest) -> Answer:
            model = str(seen.json()["model"])
            playing = left.get(model) or next(iter(left.values()))
            return playing.pop(0) if len(playing) > 1 else playing[0]

        return answer

    async def react(
        self, binary: Path, base_url: str, home: Path, upstream: ScriptedUpstream
    ) -> Reaction:
        """The client at `base_url` against these answers, which `upstream` gives."""
        upstream.default(self.answers())
        client = ClaudeCode(
            binary,
            base_url,
            home,
            api_key=None if self.login else API_KEY,
            extra_env={"CLAUDE_CODE_MAX_RETRIES": str(self.retries)},
        )
        if self.login:
            path = client.config_dir / ".credentials.json"
            path.write_text(json.dumps(LOGIN), "utf-8")
            path.chmod(0o600)
        streamed = ["--output-format", "stream-json", "--session-id", SESSION]
        result = await client.run_print("say hello", *streamed, *self.arguments, timeout=400)
        return reaction(upstream.requests, result, client, base_url)


def reaction(
    requests: Sequence[SeenRequest], result: Result, client: ClaudeCode, base_url: str
) -> Reaction:
    """Those requests and that end, without what is never twice the same."""

    def neutral(text: str) -> str:
        slug = re.sub(r"[^A-Za-z0-9]", "-", str(client.home))
        named = {str(client.home): "HOME", slug: "-HOME", base_url.removeprefix("http://"): "BASE"}
        for name, replacement in named.items():
            text = text.replace(name, replacement)
        return re.sub(r"(device_id\W+)[0-9a-f]{64}", r"\1ID", text)

    asked = tuple(
        Asked(
            seen.method.decode(),
            seen.target.decode(),
            tuple(
                (name.decode().lower(), neutral(value.decode()))
                for name, value in seen.headers
                if name.decode().lower() not in BY_CONNECTION
            ),
            neutral(seen.body.decode()),
        )
        for seen in requests
    )
    times = [seen.started_at for seen in requests]
    gaps = tuple(after - before for before, after in itertools.pairwise(times))
    events = [_settled(event) for event in result.events if event.get("subtype") != "init"]
    told = [json.loads(neutral(json.dumps(event))) for event in events]
    ending = {
        "returncode": result.returncode,
        "stderr": neutral(result.stderr),
        # A long wait is told again and again, as often as it takes.
        "events": [event for i, event in enumerate(told) if not i or event != told[i - 1]],
    }
    return Reaction(asked, ending, gaps)


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _settled(item)
            for key, item in value.items()
            if key not in VOLATILE and not key.endswith("_ms")
        }
    return [_settled(item) for item in value] if isinstance(value, list) else value

"""The rules that a gateway for Claude Code has to keep (`peers.md` 1), asked one by one.

Each rule sends what the client would, through the proxy to a scripted upstream, and looks at what
either side was given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import trio

from server.scripted import Answer, ScriptedUpstream, SeenRequest, reply_to
from server.scripted.answers import Send, Wait
from server.scripted.messages import message_events, text_block
from server.upstream import DirectUpstream, tls_context
from server.upstream_port import Limits, UpstreamFault, UpstreamRequest
from supervisor.doctor.facts import Breach

RULE_SECONDS = 10.0
MODELS_SECONDS = 3.0
"""The client's own limit (`peers.md` 1.7)."""
FIRST_EVENT_SECONDS = 3.0
"""A stream is looked into before it is passed on, for one second at most."""

OAUTH = "oauth-2025-04-20"
LOGIN = "sk-ant-oat01-doctor"
_TOKEN = "doctor"  # noqa: S105 - opens nothing
BETAS = "interleaved-thinking-2025-05-14,doctor-2026-01-01"
SESSION = "00000000-0000-4000-8000-000000000000"
_ODD_BODY = (
    b'{ "model":"claude-doctor-1",  "max_tokens":16, "stream":false, "doctor_field":{"a":1e400},\n'
    b'"context_management":{"edits":[]}, "messages":[{"role":"user","content":"\\ud83d\\ude00"}] }'
)
_ERROR = (
    b'{"type":"error", "error":{"type":"invalid_request_error","message":"thinking: doctor"},'
    b'"request_id":"req_doctor" }'
)


class Answered(msgspec.Struct, frozen=True):
    """What the client's side got."""

    status: int
    body: bytes


class Upstream:
    """The scripted upstream of a replay: its next answer can be set."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.server = ScriptedUpstream(self._next)

    def _next(self, seen: SeenRequest) -> Answer:
        return self.answer if self.answer is not None else reply_to(seen)

    def last(self) -> SeenRequest | None:
        return self.server.requests[-1] if self.server.requests else None


class Replay:
    """Both ends. `pool`: the proxy under test has accounts, so credentials are exchanged."""

    def __init__(self, url: str, upstream: Upstream, *, pool: bool) -> None:
        self.upstream = upstream
        self.pool = pool
        limits = Limits(
            connect_timeout=3.0, response_timeout=RULE_SECONDS, idle_timeout=RULE_SECONDS
        )
        self._client = DirectUpstream(url, limits, tls_context(""), environment={})

    async def ask(
        self,
        method: str,
        target: bytes,
        body: bytes = b"",
        more: Sequence[tuple[str, str]] = (),
        until: bytes | None = None,
    ) -> Answered:
        """The whole answer; of a stream, what came before `until`, or in `FIRST_EVENT_SECONDS`."""
        headers = [(name.encode(), value.encode()) for name, value in (*self._usual(body), *more)]
        async with self._client.send(UpstreamRequest(method, target, headers, body)) as response:
            got = bytearray()
            async with response.chunks() as chunks:
                with trio.move_on_after(RULE_SECONDS if until is None else FIRST_EVENT_SECONDS):
                    async for chunk in chunks:
                        got += chunk
                        if until is not None and until in got:
                            break
            return Answered(response.status, bytes(got))

    def _usual(self, body: bytes) -> list[tuple[str, str]]:
        usual = [
            ("user-agent", "claude-cli/2.1.329 (external, cli)"),
            ("anthropic-version", "2023-06-01"),
            ("x-claude-code-session-id", SESSION),
            ("authorization", f"Bearer {_TOKEN if self.pool else LOGIN}"),
        ]
        return [*usual, ("content-type", "application/json")] if body else usual

    async def aclose(self) -> None:
        await self._client.aclose()


async def start_up(replay: Replay) -> str:
    """1.1: `HEAD /` at the client's start may be refused, but must be answered."""
    answered = await replay.ask("HEAD", b"/")
    return "" if answered.status < 500 else f"HEAD / was answered with {answered.status}"


async def query_and_body(replay: Replay) -> str:
    """1.1, 1.3: the query, unknown fields and every byte of the body reach the upstream."""
    answered = await replay.ask(
        "POST", b"/v1/messages?beta=true", _ODD_BODY, [("anthropic-beta", BETAS)]
    )
    seen = replay.upstream.last()
    if answered.status != 200 or seen is None:
        return f"a message was answered with {answered.status}"
    if seen.query != "beta=true":
        return f"the query became {seen.query!r}"
    return "" if seen.body == _ODD_BODY else "the body was changed on its way"


async def headers_verbatim(replay: Replay) -> str:
    """1.3: `anthropic-version`, `anthropic-beta` and unknown `anthropic-*` headers as they are."""
    sent = [("anthropic-beta", BETAS), ("anthropic-doctor", "A, b ;c")]
    await replay.ask("POST", b"/v1/messages", _ODD_BODY, sent)
    seen = replay.upstream.last()
    if seen is None:
        return "nothing reached the upstream"
    betas = (seen.header("anthropic-beta") or "").removesuffix(f",{OAUTH}")
    for name, found, wanted in (
        ("anthropic-version", seen.header("anthropic-version"), "2023-06-01"),
        ("anthropic-beta", betas.removesuffix(f", {OAUTH}"), BETAS),
        ("anthropic-doctor", seen.header("anthropic-doctor"), "A, b ;c"),
    ):
        if found != wanted:
            return f"{name} became {found!r}"
    return ""


async def login_stays(replay: Replay) -> str:
    """1.4: a login travels with its beta; with accounts, with theirs."""
    sent = [("anthropic-beta", f"{BETAS},{OAUTH}")]
    await replay.ask("POST", b"/v1/messages?beta=true", _ODD_BODY, sent)
    seen = replay.upstream.last()
    if seen is None:
        return "nothing reached the upstream"
    if seen.both_credentials:
        return "two credentials were sent"
    if not replay.pool and seen.bearer != LOGIN:
        return "the client's own login did not reach the upstream"
    if replay.pool and seen.credential == _TOKEN:
        return "the client's credential was sent in place of an account's"
    if (seen.bearer or "").startswith("sk-ant-oat"):
        count = (seen.header("anthropic-beta") or "").count(OAUTH)
        return "" if count == 1 else f"{OAUTH} is {count} times among the betas of a login"
    return ""


async def errors_unmodified(replay: Replay) -> str:
    """1.5: the upstream's own words, to the byte: the client's recovery reads them."""
    replay.upstream.answer = Answer(
        status=400, headers=(("content-type", "application/json"),), body=_ERROR
    )
    answered = await replay.ask("POST", b"/v1/messages", _ODD_BODY)
    if answered.status != 400:
        return f"the upstream's 400 became {answered.status}"
    return "" if answered.body == _ERROR else "the upstream's error was changed on its way"


async def streams(replay: Replay) -> str:
    """1.2: an event is passed on when it comes, not when the stream ends."""
    never = trio.Event()
    *before, last = message_events([text_block("hello")])
    replay.upstream.answer = Answer(
        headers=(("content-type", "text/event-stream"),),
        parts=(Send(b"".join(before)), Wait(never), Send(last)),
    )
    body = _ODD_BODY.replace(b'"stream":false', b'"stream":true')
    answered = await replay.ask("POST", b"/v1/messages", body, until=b"message_start")
    if answered.status != 200:
        return f"a stream was answered with {answered.status}"
    return "" if b"message_start" in answered.body else "a stream is held back until its end"


async def counts_tokens(replay: Replay) -> str:
    """1.1: `count_tokens`, the one endpoint that may be missing."""
    body = b'{"model":"claude-doctor-1","messages":[{"role":"user","content":"hello"}]}'
    answered = await replay.ask("POST", b"/v1/messages/count_tokens?beta=true", body)
    fine = answered.status == 200 and b"input_tokens" in answered.body
    return "" if fine else f"count_tokens was answered with {answered.status}"


async def lists_models(replay: Replay) -> str:
    """1.7: within three seconds and without a redirect."""
    began = trio.current_time()
    answered = await replay.ask("GET", b"/v1/models?limit=1000")
    spent = trio.current_time() - began
    if answered.status != 200:
        return f"/v1/models was answered with {answered.status}"
    if spent > MODELS_SECONDS:
        return f"/v1/models took {spent:.1f} s; the client waits {MODELS_SECONDS:g}"
    return "" if b'"claude' in answered.body else "/v1/models lists no model of Claude's"


RULES: tuple[tuple[str, Callable[[Replay], Awaitable[str]]], ...] = (
    ("HEAD / is answered", start_up),
    ("query and body pass as they are", query_and_body),
    ("anthropic headers pass as they are", headers_verbatim),
    ("a login travels with its beta", login_stays),
    ("errors pass unmodified", errors_unmodified),
    ("streams are not held back", streams),
    ("tokens are counted", counts_tokens),
    ("models are listed in time", lists_models),
)


async def breaches(replay: Replay) -> list[Breach]:
    """The rules that are not kept."""
    found: list[Breach] = []
    try:
        for name, rule in RULES:
            replay.upstream.answer = None
            said = "there was no answer in time"
            with trio.move_on_after(RULE_SECONDS):
                try:
                    said = await rule(replay)
                except UpstreamFault as fault:
                    said = f"the connection failed: {fault}"
            if said:
                found.append(Breach(name, said))
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
            await replay.aclose()
    return found

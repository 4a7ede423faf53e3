"""A stand-in for the Anthropic API: answers what its scripts say, and remembers what it saw.

It serves the tests and `supervisor demo`. Which answer a request gets depends on its credential:
each credential may have a script of its own, everybody else gets the default, which is
`reply_to`. A script can be replaced while the upstream runs.

    upstream = ScriptedUpstream(scripts={"key-a": [rate_limited(retry_after=2), reply_to]})
    base_url = await nursery.start(upstream.serve_tcp)
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import trio

from server.scripted.answers import Answer, Source, Waitable
from server.scripted.connection import Connection
from server.scripted.errors import error, unauthorized
from server.scripted.replies import reply_to
from server.scripted.requests import Gate, Outcome, SeenRequest

Script: TypeAlias = "Source | Sequence[Source]"
"""Answers used one after the other, the last one again and again; or a single one for all."""

_logger = logging.getLogger(__name__)


class _Playing:
    """A script and how far it has been used up."""

    def __init__(self, script: Script, then: Source | None, only: str | None) -> None:
        answers = list(script) if isinstance(script, Sequence) else [script]
        if then is not None:
            answers.append(then)
        if not answers:
            raise ValueError("a script needs at least one answer")
        self.only = only
        self._answers = answers
        self._next = 0

    def next(self) -> Source:
        source = self._answers[self._next]
        self._next = min(self._next + 1, len(self._answers) - 1)
        return source


class ScriptedUpstream:
    """The server. One object serves any number of listeners and in-memory connections.

    `default` answers whoever has no script. `scripts` maps a credential (the `x-api-key` value or
    the bearer token) to its script. With `known`, requests under `/v1/` with any other credential,
    or none, get 401. `remember` bounds how many requests are kept in `requests` (None: all).
    `script_errors` has what scripts and unplayable answers raised; it should stay empty.
    """

    def __init__(
        self,
        default: Script = reply_to,
        scripts: Mapping[str, Script] | None = None,
        *,
        known: Collection[str] | None = None,
        remember: int | None = None,
    ) -> None:
        self.known = None if known is None else set(known)
        self.requests: list[SeenRequest] = []
        self.requests_total = 0
        self.connections_total = 0
        self.open_connections = 0
        self.active_requests = 0
        self.script_errors: list[Exception] = []
        self._default = _Playing(default, None, None)
        self._scripts: dict[str, _Playing] = {}
        self._gates: dict[str, Gate] = {}
        self._remember = remember
        self._changed = trio.Event()
        for credential, script in (scripts or {}).items():
            self._scripts[credential] = _Playing(script, None, None)

    # -- scripts ---------------------------------------------------------------------------------

    def script(
        self, credential: str, *answers: Source, then: Source | None = None, only: str | None = None
    ) -> None:
        """From now on this credential gets `answers` in turn, then `then`, or the last one again.

        With `only`, an endpoint such as "/v1/messages", other requests of the credential get the
        default answer and use nothing up. Raises ValueError without any answer.
        """
        self._scripts[credential] = _Playing(answers, then, only)

    def default(self, *answers: Source, then: Source | None = None) -> None:
        """The same for everybody who has no script."""
        self._default = _Playing(answers, then, None)

    def unscript(self, credential: str) -> None:
        """This credential gets the default again."""
        self._scripts.pop(credential, None)

    def gate(self, name: str) -> Gate:
        """The gate of that name, at which `Wait(name)` holds an answer; closed when new."""
        return self._gates.setdefault(name, Gate())

    def gate_of(self, gate: str | Waitable) -> Waitable:
        """What a `Wait` step waits for."""
        return self.gate(gate) if isinstance(gate, str) else gate

    def choose(self, seen: SeenRequest) -> Answer:
        """The answer for this request; a script that raises is a 500 and kept in `script_errors`."""
        if self.known is not None and "/v1/" in seen.path and seen.credential not in self.known:
            return _refusal(seen)
        playing = self._scripts.get(seen.credential or "", self._default)
        if playing.only is not None and playing.only != seen.endpoint:
            playing = self._default
        source = playing.next()
        if isinstance(source, Answer):
            return source
        try:
            return source(seen)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the client gets an answer
            self._note("asking a script", problem)
            return error(500, message=f"the script raised {type(problem).__name__}")

    # -- serving ---------------------------------------------------------------------------------

    async def serve_tcp(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; `task_status` gets the base URL. Raises OSError if it cannot bind."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        bound = listeners[0].socket.getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        task_status.started(f"{'https' if tls else 'http'}://{shown}:{bound[1]}")
        if tls is None:
            await trio.serve_listeners(self.serve_stream, listeners)
        else:
            wrapped = [trio.SSLListener(one, tls, https_compatible=True) for one in listeners]
            await trio.serve_listeners(self.serve_stream, wrapped)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until either side ends it, then close it.

        Raises nothing but cancellation: what a client does wrong ends its own connection only.
        """
        connection = Connection(stream, self.connections_total, self)
        self.connections_total += 1
        self.open_connections += 1
        self._notify()
        try:
            await connection.serve()
        except Exception as problem:  # noqa: BLE001 - a bad answer must not end the server
            self._note("playing an answer", problem)
        finally:
            try:
                await trio.aclose_forcefully(stream)
            finally:
                self.open_connections -= 1
                self._notify()

    # -- the record ------------------------------------------------------------------------------

    def begin(self, seen: SeenRequest) -> None:
        """A request's head has arrived."""
        self.active_requests += 1
        self._notify()

    def arrived(self, seen: SeenRequest) -> None:
        """The request is there in full (or as much of it as will ever come)."""
        seen.number = self.requests_total
        self.requests_total += 1
        self.requests.append(seen)
        if self._remember is not None:
            del self.requests[: -self._remember or len(self.requests)]
        self._notify()

    def end(self, seen: SeenRequest, outcome: Outcome) -> None:
        """The request has been dealt with."""
        seen.outcome = outcome
        if outcome == "left":
            seen.left_at = trio.current_time()
            seen.left.set()
        seen.done.set()
        self.active_requests -= 1
        self._notify()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition on this object holds. The caller sets the deadline."""
        while not condition():
            await self._changed.wait()

    async def wait_for_requests(self, count: int) -> list[SeenRequest]:
        """Wait until that many requests have arrived in all; the ones remembered."""
        await self.wait_for(lambda: self.requests_total >= count)
        return list(self.requests)

    async def wait_until_idle(self) -> None:
        """Wait until no request is being answered."""
        await self.wait_for(lambda: self.active_requests == 0)

    async def wait_until_closed(self) -> None:
        """Wait until no connection is open."""
        await self.wait_for(lambda: self.open_connections == 0)

    def _note(self, doing: str, problem: Exception) -> None:
        while isinstance(problem, ExceptionGroup) and len(problem.exceptions) == 1:
            problem = problem.exceptions[0]  # the nursery round the answer adds nothing to it
        _logger.error("%s failed", doing, exc_info=problem)
        self.script_errors.append(problem)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _refusal(seen: SeenRequest) -> Answer:
    if seen.api_key is not None:
        return unauthorized("invalid x-api-key")
    if seen.bearer is not None:
        return unauthorized("Invalid bearer token")
    return unauthorized("x-api-key header is required")

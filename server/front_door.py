"""Where every request comes in, whichever lane carried it: judged, then relayed or answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from protocol.dispatch import Acquire
from protocol.errors import Problem, answer
from protocol.gate import Rules, check, shown_key
from protocol.identity import client_name, given_request_id, is_owner, session_of
from protocol.inbound_keys import InboundKey
from protocol.request import RequestHead, Route, of_openai
from server.desk import Ports
from server.exchange import Exchange, send_answer
from server.intake import too_large
from server.record import Record
from server.relay import relay

DRAIN_RETRY_SECONDS = 1


class _Judged(msgspec.Struct, frozen=True):
    """What a head of a relayed route means under `rules`, whatever its body is.

    `ask` lacks the moment and the model. A client on a kept connection sends the same head again and
    again; then this is found with it (`RequestHead.remembered`).
    """

    rules: Rules
    problem: Problem | None
    given_id: str | None
    ask: Acquire
    key: InboundKey | None


class Door(msgspec.Struct):
    """`rules` are read for each request, so a reload counts at once. `salt` names clients; `nobody`
    is the account that only this program's own questions name."""

    ports: Ports
    rules: Callable[[], Rules]
    salt: bytes
    draining: bool = False
    nobody: str = ""

    async def handle(self, exchange: Exchange, own: Callable[[], Awaitable[None]]) -> None:
        """Serves one request; `own` answers the routes that are not relayed."""
        head = exchange.head
        route = head.route
        judged = self._judged(head, route)
        problem = judged.problem or self._length(head)
        if problem is None and route is Route.OWN:
            await own()
            return
        if problem is None and self.draining:
            problem = _draining()
        if problem is None and judged.key is not None:
            problem = await self.ports.admit(judged.key)
        at = self.ports.wall_clock()
        request_id = judged.given_id or f"{self.ports.random.getrandbits(128):032x}"
        record = Record(head, request_id, route, at, judged.key)
        record.ours = problem is None and judged.ask.pinned == self.nobody
        if problem is None:
            ask = msgspec.structs.replace(judged.ask, at=at)
            await relay(exchange, self.ports, record, ask)
            return
        record.ended("refused", problem.status)
        record.error_type, record.reason = problem.error_type, problem.message
        if route is not Route.OWN:
            self.ports.write_line(record)
        await _refuse(exchange, problem, record)

    def _judged(self, head: RequestHead, route: Route) -> _Judged:
        rules = self.rules()
        known: _Judged | None = head.remembered.get("judged")
        if known is not None and known.rules is rules:
            return known
        problem = check(head, route, rules, self.ports.wall_clock()) or _form(head)
        key = shown_key(head, route, rules)
        judged = _Judged(rules, problem, given_request_id(head), self._ask(head, route, key), key)
        if route is not Route.OWN:  # theirs may depend on whether there is a body
            head.remembered["judged"] = judged
        return judged

    def _length(self, head: RequestHead) -> Problem | None:
        """A body that says it is too large is refused before a byte of it is asked for."""
        limit = self.ports.body_bytes_max()
        declared = head.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            return too_large(limit)
        return None

    def _ask(self, head: RequestHead, route: Route, key: InboundKey | None) -> Acquire:
        return Acquire(
            route=route,
            pinned=head.text(b"x-account-name"),
            owner=is_owner(head, route, key),
            client=client_name(head, self.salt),
            session=session_of(head),
        )


async def _refuse(exchange: Exchange, problem: Problem, record: Record) -> None:
    made = answer(problem, record.request_id, openai=of_openai(record.head, record.route))
    added = [(b"x-supervisor-request-id", record.request_id.encode()), (b"connection", b"close")]
    await send_answer(exchange, made, added)


def _form(head: RequestHead) -> Problem | None:
    """The absolute form is for proxies of the other kind, and CONNECT's is for tunnels."""
    if head.target.startswith(b"/") or (head.method, head.target) == ("OPTIONS", b"*"):
        return None
    return Problem(
        400,
        "a request here names a path, such as /v1/messages; this is not a forward proxy: set the "
        "client's base URL to it, not HTTP_PROXY",
    )


def _draining() -> Problem:
    return Problem(
        503,
        "the proxy is stopping; try again in a moment",
        type="overloaded_error",
        retry_after=DRAIN_RETRY_SECONDS,
    )

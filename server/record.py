"""What the journal will say of a request, gathered while it runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import trio

from protocol.identity import client_credential
from protocol.peek import Peek
from protocol.request import ALIAS_PREFIX, RequestHead, Route
from protocol.request_line import RequestLine, plain, timestamp
from protocol.secrets import scrub
from protocol.told import Ended
from protocol.usage import Usage, UsageMeter
from server.trace import Trace

_PATHS = frozenset(
    prefix + path
    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions")
    for prefix in ("", ALIAS_PREFIX)
)
"""Of nearly all requests. Nobody has written a credential into one of these."""


class Record:
    """Filled in by the relay; `line` makes the journal's line of it."""

    def __init__(self, head: RequestHead, request_id: str, route: Route, at: float) -> None:
        self.head = head
        self.request_id = request_id
        self.route = route
        self.at = at
        self.credential = client_credential(head)
        """Kept while the request runs: as long as it lives, whatever quotes it is masked."""
        self.began = trio.current_time()
        self.asked = Peek()
        self.account: str | None = None
        self.provider: str | None = None
        self.status: int | None = None
        self.attempts = 0
        self.terminal = "refused"
        self.delivered = False
        """The client has its whole answer: its leaving is no event any more."""
        self.first_byte_at: float | None = None
        self.queued = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.reason: str | None = None
        self.error_type: str | None = None
        self.served_model: str | None = None
        self.usage = Usage()
        self.trace = Trace(self.began)

    def ended(self, terminal: str, status: int | None = None) -> None:
        """How it ended; a status that the client already saw stays."""
        self.terminal = terminal
        if status is not None:
            self.status = status

    def complete(self) -> None:
        """The upstream's answer was handed over to its end."""
        self.delivered = True
        self.ended("complete")

    @contextmanager
    def waiting(self, why: str) -> Generator[None, None, None]:
        """A wait for an account, which counts as time in the queue, also when the client leaves."""
        began = trio.current_time()
        try:
            with self.trace.pause(why):
                yield
        finally:
            self.queued += trio.current_time() - began

    def served(self, terminal: str) -> None:
        """An attempt's answer went to the client; how it ended."""
        self.trace.served(terminal, self.status, self.first_byte_at)
        self.ended(terminal)

    def left(self) -> None:
        """The client has gone; that counts unless it had its answer."""
        if not self.delivered:
            self.ended("client_closed", 499)

    def metered(self, meter: UsageMeter) -> Usage | None:
        """What the answer said of itself; gives back its usage, None where it told none."""
        self.served_model = meter.model
        usage = meter.usage()
        self.usage = usage or Usage()
        return usage

    def over(self) -> Ended:
        """The line and how it came to it, for the journal."""
        now = trio.current_time()
        return Ended(self.line(now), self.trace.told(now))

    def line(self, now: float | None = None) -> RequestLine:
        """The line, as things stand."""
        if now is None:
            now = trio.current_time()
        head, path = self.head, self.head.path
        first = self.first_byte_at
        return RequestLine(
            at=timestamp(self.at),
            request_id=self.request_id,
            method=plain(head.method) or "",
            path=path if path in _PATHS else plain(scrub(path)) or "",
            dialect="openai" if self.route is Route.CHAT_COMPLETIONS else "anthropic",
            model=plain(self.asked.model),
            served_model=plain(self.served_model or self.asked.model)
            if self.account or self.provider
            else None,
            account=self.account,
            provider=self.provider,
            client=plain(head.text(b"user-agent")),
            session=plain(head.text(b"x-claude-code-session-id")),
            agent=plain(head.text(b"x-claude-code-agent-id")),
            status=self.status,
            attempts=self.attempts,
            stream=self.asked.stream,
            terminal=self.terminal,
            ms_total=round((now - self.began) * 1000, 3),
            ms_first_byte=None if first is None else round((first - self.began) * 1000, 3),
            ms_queue=round(self.queued * 1000, 3),
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            cache_read_tokens=self.usage.cache_read_tokens,
            cache_write_tokens=self.usage.cache_write_tokens,
            reason=plain(self.reason),
            error_type=plain(self.error_type),
        )

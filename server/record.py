"""What the journal will say of a request, gathered while it runs."""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import contextmanager

import trio

from protocol.identity import client_credential
from protocol.inbound_keys import InboundKey
from protocol.peek import Peek
from protocol.request import ALIAS_PREFIX, RequestHead, Route, of_openai
from protocol.request_line import RequestLine, encode_line, plain, timestamp
from protocol.secrets import scrub
from protocol.told import Ended, milliseconds
from protocol.usage import Usage, UsageMeter
from server.trace import Trace

_PATHS = frozenset(
    prefix + path
    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions")
    for prefix in ("", ALIAS_PREFIX)
)
"""Of nearly all requests. Nobody has written a credential into one of these."""


SHORT = 128
"""Bytes of a header's value that is worth remembering as text."""


class Record:
    """Filled in by the relay; `line` makes the journal's line of it."""

    def __init__(
        self,
        head: RequestHead,
        request_id: str,
        route: Route,
        at: float,
        key: InboundKey | None = None,
    ) -> None:
        self.head = head
        self.key = key
        """The client's, where clients need one."""
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
        self.ours = False
        """A question of this program's own commands: no traffic, and no line in the log."""
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
        key = "" if self.key is None else self.key.id
        return Ended(self.request_id, encode_line(self.line(now)), self.trace.told(now), key)

    def line(self, now: float | None = None) -> RequestLine:
        """The line, as things stand."""
        if now is None:
            now = trio.current_time()
        head, path = self.head, self.head.path
        first = self.first_byte_at
        usage, served_by = self.usage, self.account or self.provider
        # By position: names are looked up one by one, and there are as many as lines have fields.
        return RequestLine(
            timestamp(self.at),
            self.request_id,
            plain(head.method) or "",
            path if path in _PATHS else plain(scrub(path)) or "",
            "openai" if of_openai(head, self.route) else "anthropic",
            plain(self.asked.model),
            plain(self.served_model or self.asked.model) if served_by else None,
            self.account,
            self.provider,
            _shown(head.header(b"user-agent")) if self.key is None else self.key.name,
            _shown(head.header(b"x-claude-code-session-id")),
            _shown(head.header(b"x-claude-code-agent-id")),
            self.status,
            self.attempts,
            self.asked.stream,
            self.terminal,
            milliseconds(now - self.began),
            None if first is None else milliseconds(first - self.began),
            milliseconds(self.queued),
            self.bytes_in,
            self.bytes_out,
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            None,  # cost_usd
            plain(self.reason),
            plain(self.error_type),
        )


def _shown(value: bytes | None) -> str | None:
    """A header's value, fit for a line."""
    if value is None:
        return None
    return _short(value) if len(value) <= SHORT else plain(value.decode("latin-1"))


@functools.lru_cache(maxsize=128)  # a client sends the same with each request
def _short(value: bytes) -> str | None:
    return plain(value.decode("latin-1"))

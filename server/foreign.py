"""What the requests need of the program to be served by providers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.asking import insist
from actors.mailbox import AskFailed, Mailbox
from protocol.config import Config
from protocol.config.model import Provider
from protocol.providers import Consult, Providers, ProvidersMessage
from server.attempt_trace import About, AttemptTrace
from server.record import Record
from server.upstream_port import Upstream

ASK_SECONDS = 5.0
"""For the actor that knows the providers, its restarts included."""


class Foreign(msgspec.Struct, frozen=True):
    """`pool`: whether there are accounts, or each client's own credential passes.

    `new_id` gives an id for a message that no two messages share.
    """

    config: Callable[[], Config]
    providers: Mailbox[ProvidersMessage]
    upstream: Callable[[str], Upstream]
    pool: Callable[[], bool]
    new_id: Callable[[], str]
    trace: AttemptTrace | None = None

    def upstream_for(self, provider: Provider, record: Record) -> Upstream:
        """Where an attempt at `provider` goes; the debug log watches it where that is wanted."""
        upstream = self.upstream(provider.base_url)
        if self.trace is None:
            return upstream
        about = About(record.request_id, "", record.attempts, provider.name)
        return self.trace.watch(upstream, about)

    async def known(self) -> Providers:
        """What is known of the providers; nothing, when its actor cannot answer in time."""
        if not self.config().providers:
            return Providers()
        try:
            return await insist(self.providers, Consult(), timeout=ASK_SECONDS)
        except AskFailed:
            return Providers()

"""Keeps what is known of the providers (`protocol.providers`), and judges the redirect."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import trio

from actors.asking import insist
from actors.mailbox import AskFailed, Mailbox
from actors.messages import Describe, DispatcherMessage
from actors.runtime import Context
from protocol import providers as machine
from protocol.accounts import AccountState
from protocol.config import Config
from protocol.providers import (
    Consult,
    ModelsListed,
    OutputLimited,
    ProviderFailed,
    Providers,
    ProviderServed,
    ProvidersMessage,
)
from protocol.redirect import Redirecting, judged

log = logging.getLogger("actors.providers")

ASK_SECONDS = 2.0
"""For the dispatcher, which answers at once; without its answer the redirect stays as it is."""


class ProvidersActor:
    """`config` gives the configuration in force; `wall_clock` epoch seconds."""

    def __init__(
        self,
        config: Callable[[], Config],
        dispatcher: Mailbox[DispatcherMessage],
        wall_clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._dispatcher = dispatcher
        self._wall_clock = wall_clock

    async def run(self, context: Context[ProvidersMessage, Providers]) -> None:
        """Until the program stops."""
        state = context.restored or Providers()
        context.ready()
        async for envelope in context.mailbox:
            match envelope.message:
                case Consult() as question:
                    state = await self._redirected(state)
                    context.publish(state)
                    envelope.reply_to(question).send(state)
                case ProviderFailed() as event:
                    auth = self._config().cooldown.auth
                    state = machine.failed(state, event, trio.current_time(), auth)
                    context.publish(state)
                    envelope.reply_to(event).send(None)
                case ProviderServed() as event:
                    state = machine.served(state, event)
                    context.publish(state)
                case OutputLimited() as event:
                    state = machine.output_limited(state, event)
                    context.publish(state)
                case ModelsListed() as event:
                    state = machine.listed(state, event)
                    context.publish(state)
                    envelope.reply_to(event).send(None)

    async def _redirected(self, state: Providers) -> Providers:
        before, redirect = state.redirecting, self._config().redirect
        if not redirect.provider:
            after = before if not before.active else Redirecting()
        else:
            accounts = await self._accounts()
            if accounts is None:
                return state
            clocks = (trio.current_time(), self._wall_clock())
            after = judged(before, accounts, redirect.at, redirect.hysteresis, clocks)
        if after.active and not before.active:
            log.warning("requests for Claude go to %s now: %s", redirect.provider, after.reason)
        elif before.active and not after.active:
            log.warning("requests for Claude go to the accounts again")
        return state if after is before else msgspec.structs.replace(state, redirecting=after)

    async def _accounts(self) -> list[AccountState] | None:
        """The configured ones; in passthrough mode there are none to spare. None: no answer."""
        try:
            pool = await insist(self._dispatcher, Describe(), timeout=ASK_SECONDS)
        except AskFailed:
            return None
        return list(pool.members()) if pool.strategy.pool else []

"""Keeps the providers' lists of models fresh, beside the requests and never in their way."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from actors.asking import insist
from actors.mailbox import AskFailed, Mailbox
from actors.runtime import Context
from protocol.config import Config
from protocol.config.model import Provider
from protocol.providers import ModelsListed, ProvidersMessage

log = logging.getLogger("actors.model_lists")

FRESH_SECONDS = 300.0
"""Between two looks at a list that could be read."""
AGAIN_SECONDS = 30.0
"""Between two looks at one that could not."""
LOOK_SECONDS = 1.0
"""Between two looks at the configuration."""
FETCH_SECONDS = 5.0
"""One that hangs must not keep another's models from the list for long."""
ASK_SECONDS = 5.0


class ModelListsActor:
    """`fetch` gives the names on a provider's list; None when it cannot be had."""

    def __init__(
        self,
        config: Callable[[], Config],
        fetch: Callable[[Provider], Awaitable[tuple[str, ...] | None]],
        providers: Mailbox[ProvidersMessage],
    ) -> None:
        self._config = config
        self._fetch = fetch
        self._providers = providers
        self._due: dict[str, tuple[Provider, float]] = {}
        self._out: set[str] = set()

    async def run(self, context: Context[None, None]) -> None:
        """Until the program stops."""
        context.ready()
        while not context.stopping.is_set():
            for provider in self._now_due():
                await self._refresh(provider)
            with trio.move_on_after(LOOK_SECONDS):
                await context.stopping.wait()

    def _now_due(self) -> list[Provider]:
        wanted = [provider for provider in self._config().providers if not provider.models]
        now = trio.current_time()
        known, self._due = self._due, {}
        for one in wanted:
            before, due = known.get(one.name, (one, now))
            self._due[one.name] = (one, due if before == one else now)
        return [one for one, due in self._due.values() if due <= now]

    async def _refresh(self, provider: Provider) -> None:
        names: tuple[str, ...] | None = None
        with trio.move_on_after(FETCH_SECONDS):
            names = await self._fetch(provider)
        self._put_off(provider, AGAIN_SECONDS if names is None else FRESH_SECONDS)
        if names is None and provider.name not in self._out:
            log.warning("provider %s does not list its models; it is asked again", provider.name)
            self._out.add(provider.name)
        elif names is not None:
            self._out.discard(provider.name)
        try:
            # Told also of an outage: a model that cannot be had is not on the list.
            listed = ModelsListed(provider.name, names or ())
            await insist(self._providers, listed, timeout=ASK_SECONDS)
        except AskFailed:
            self._put_off(provider, AGAIN_SECONDS)

    def _put_off(self, provider: Provider, seconds: float) -> None:
        self._due[provider.name] = (provider, trio.current_time() + seconds)

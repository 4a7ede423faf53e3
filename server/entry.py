"""How a request comes in: in whose dialect, under whose name for the model, and whom it may go to."""

from __future__ import annotations

import msgspec

from protocol.body_edit import with_model
from protocol.config import Config
from protocol.destination import Destination, destinations
from protocol.leases import Acquire
from protocol.model_names import WRAPPED
from protocol.providers import Providers, foreign_models, listed_by
from protocol.request import Route
from protocol.translation.refusal import Untranslatable
from protocol.translation.returning import without_foreign_state
from server.elsewhere import Elsewhere
from server.exchange import Exchange
from server.foreign import Foreign
from server.inbound import Inbound
from server.intake import Refused
from server.openai_front import OpenAIFront, translated_body, wants_usage
from server.provider_count import count_elsewhere
from server.provider_models import models_exchange
from server.record import Record


class Entry(msgspec.Struct, frozen=True):
    """What the accounts are asked with, and the providers beside them.

    `answered`: the client has its answer, and nobody is asked.
    """

    exchange: Exchange
    body: bytes
    ask: Acquire
    elsewhere: Elsewhere | None = None
    answered: bool = False

    @property
    def answering(self) -> Exchange:
        """Where the answer of an account goes."""
        return self.elsewhere.answering(self.exchange) if self.elsewhere else self.exchange


async def enter(
    exchange: Exchange, body: bytes, ask: Acquire, foreign: Foreign | None, record: Record
) -> Entry:
    """Raises Refused for what cannot be told to anybody."""
    model = record.asked.model
    entry = Entry(exchange, body, msgspec.structs.replace(ask, model=model))
    if foreign is None or _only_accounts(foreign.config(), ask.route, model):
        return entry
    match ask.route:
        case Route.MESSAGES | Route.CHAT_COMPLETIONS:
            return await _spend(entry, foreign, record)
        case Route.COUNT_TOKENS:
            return await _count(entry, foreign, record)
        case Route.MODELS:
            wrapped = await models_exchange(exchange, foreign, record)
            return Entry(wrapped or exchange, body, entry.ask, answered=wrapped is None)
    return entry


def _only_accounts(config: Config, route: Route, model: str | None) -> bool:
    """Nobody else is configured, and the model's name means itself: the same for less."""
    return (
        route is Route.MESSAGES
        and not (config.providers or config.routes or config.fallbacks or config.models.aliases)
        and (model is None or not model.startswith(WRAPPED))
    )


async def _spend(entry: Entry, foreign: Foreign, record: Record) -> Entry:
    inbound, pinned = _inbound(entry, record), entry.ask.pinned
    if record.route is Route.CHAT_COMPLETIONS and foreign.pool():
        # Never a subscription: those serve their owner's Claude Code, which speaks another dialect.
        asked = msgspec.structs.replace(entry.ask, route=Route.MESSAGES, owner=False)
        entry = Entry(inbound.exchange, inbound.body, asked)
    found, state = await _destinations(entry, foreign, record)
    if pinned is not None:  # this account or nobody
        own = Destination("", entry.ask.model or "", "accounts")
        found = tuple(one for one in found if one.accounts) or (own,)
    if inbound.refusal is not None and foreign.pool() and any(one.accounts for one in found):
        raise Refused(inbound.refusal)
    elsewhere = Elsewhere(inbound, foreign, record, state, found)
    return msgspec.structs.replace(_for_accounts(entry, found, foreign), elsewhere=elsewhere)


async def _count(entry: Entry, foreign: Foreign, record: Record) -> Entry:
    """Counting spends no quota, so no redirect and no fallback: only whose model it is counts."""
    found, _ = await _destinations(entry, foreign, record)
    if entry.ask.pinned is None and found[0].reason in ("route", "listed"):
        await count_elsewhere(entry.exchange, entry.body, found[0], foreign, record)
        return msgspec.structs.replace(entry, answered=True)
    return _for_accounts(entry, found, foreign)


async def _destinations(
    entry: Entry, foreign: Foreign, record: Record
) -> tuple[tuple[Destination, ...], Providers]:
    config, state = foreign.config(), await foreign.known()
    found = destinations(
        config,
        record.asked.model,
        redirected=state.redirecting.active,
        listed=listed_by(foreign_models(config, state)),
    )
    return found, state


def _inbound(entry: Entry, record: Record) -> Inbound:
    if record.route is not Route.CHAT_COMPLETIONS:
        return Inbound(entry.exchange, entry.body)
    told = wants_usage(entry.body)
    front = OpenAIFront(entry.exchange, int(record.at), include_usage=told)
    raw = (entry.exchange, entry.body)
    try:
        return Inbound(front, translated_body(entry.body), raw)
    except Untranslatable as refusal:
        return Inbound(front, b"", raw, refusal.problem)


def _for_accounts(entry: Entry, found: tuple[Destination, ...], foreign: Foreign) -> Entry:
    """The accounts get the model's real name, and nothing that another provider left behind."""
    accounts = next((one for one in found if one.accounts), None)
    body, ask = entry.body, entry.ask
    if accounts is not None and accounts.model not in ("", ask.model):
        body = with_model(body, accounts.model)
        ask = msgspec.structs.replace(ask, model=accounts.model)
    if foreign.config().providers:
        body = without_foreign_state(body)
    return Entry(entry.exchange, body, ask)

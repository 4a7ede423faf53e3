"""The other upstreams of one request: those before the accounts, and those after them.

`protocol.destination` says where it may go. Nothing is sent to the client before somebody serves;
if nobody does, it sees the first choice's own answer. One exception: a provider that refuses the
request itself (too long, a part that it does not know). Only the client can mend that, so it is told.
"""

from __future__ import annotations

import msgspec
import trio

from actors.asking import insist
from actors.mailbox import AskFailed
from protocol.asked import Asked
from protocol.body_edit import asking_for_usage
from protocol.config.model import Provider
from protocol.destination import Destination
from protocol.errors import Problem
from protocol.headers import to_client
from protocol.providers import (
    Fault,
    ProviderFailed,
    Providers,
    ProviderServed,
    in_order,
    provider_named,
)
from protocol.secrets import scrub
from protocol.translation.provider_error import ProviderError
from protocol.translation.refusal import Untranslatable
from protocol.usage import UsageMeter, meter_for
from protocol.verdict import FaultKind
from server.attempt import Failed, Served, attempt
from server.authored import author, request_id_header
from server.delivery import Delivery
from server.exchange import Exchange, withheld
from server.foreign import ASK_SECONDS, Foreign
from server.held_stream import HeldStream
from server.inbound import Inbound
from server.kept_stream import KeptStream
from server.marked_exchange import MarkedExchange
from server.output_room import OutputRoom
from server.provider_attempt import Spoken, converse, failed, unreached
from server.provider_outcome import as_headers, judged, resting
from server.provider_request import same_dialect, translated
from server.record import Record
from server.unasked_usage import UnaskedUsage
from server.upstream_port import UpstreamFault, UpstreamRequest, UpstreamResponse


class _Told(msgspec.Struct, frozen=True):
    """What somebody said who did not serve; `raw`: in OpenAI's dialect, if the client asked so."""

    answer: Failed | Problem
    provider: str | None = None
    raw: bool = False


class Elsewhere:
    """`exchange` is the one to answer on, also when the accounts serve after all."""

    def __init__(
        self,
        inbound: Inbound,
        foreign: Foreign,
        record: Record,
        state: Providers,
        destinations: tuple[Destination, ...],
    ) -> None:
        self.exchange = inbound.exchange
        self._inbound = inbound
        self._foreign = foreign
        self._config = foreign.config()
        self._record = record
        self._state = state
        self._destinations = destinations
        self._room = OutputRoom(foreign, state)
        self._kept: KeptStream | None = None
        self._first: _Told | None = None
        self._refused: _Told | None = None
        self._on_its_way: str = ""

    async def before(self) -> bool:
        """The providers that come before the accounts; True when the client has its answer."""
        places = [place for place, one in enumerate(self._destinations) if one.accounts]
        first = self._destinations[: places[0]] if places else self._destinations
        if not first:
            return False
        if await self._any_of(first):
            return True
        if not places:
            await self._conclude()
            return True
        self._record.provider = None
        return False

    async def after(self, why: str, exchange: Exchange) -> bool:
        """The fallbacks, when the accounts could not serve because of `why`; they may have opened
        a stream on `exchange` meanwhile."""
        self._on_its_way = why
        if self._inbound.raw is None or exchange is not self._inbound.raw[0]:
            self.exchange = exchange
            self._kept = exchange if isinstance(exchange, KeptStream) else None
        places = [place for place, one in enumerate(self._destinations) if one.accounts]
        rest = self._destinations[places[-1] + 1 :] if places else ()
        fallen = self._record.account
        if rest and await self._any_of(rest):
            return True
        if self._first is not None or self._refused is not None:
            await self._conclude()
            return True
        self._record.account, self._record.provider = fallen, None
        return False

    def answering(self, exchange: Exchange) -> Exchange:
        """`exchange`, or what a ping has opened in its place."""
        return self.exchange if self._is_open() else exchange

    def _is_open(self) -> bool:
        """Whether the client has seen a head already, without anybody having served."""
        if self._kept is not None:
            return self._kept.opened
        return isinstance(self.exchange, HeldStream)

    async def _conclude(self) -> None:
        """Nobody served: the client gets what only it can mend, else the first choice's answer."""
        last = self._refused or self._first or _Told(Problem(502, "no provider could be asked"))
        told = last.answer
        # As with accounts: the log names whose answer it is that the client sees.
        self._record.account, self._record.provider = None, last.provider
        if isinstance(told, Problem):
            self._record.provider = None
            await author(self.exchange, self._record, told)
            return
        if told.status is None:
            problem = Problem(502, f"the provider could not be reached: {scrub(told.detail)}")
            await author(self.exchange, self._record, problem)
            return
        headers = as_headers(told, self._added(None))
        record = self._record
        record.error_type, record.bytes_out = told.error.type or None, len(told.body)
        record.reason = f"{self._reason_told()}: {told.detail}"
        record.first_byte_at = trio.current_time()
        exchange = self._in_its_own_dialect() if last.raw else self.exchange
        await exchange.start(told.status, headers)
        await exchange.send(told.body)
        record.delivered = True
        record.ended("upstream_error", told.status)
        await exchange.finish()

    def _in_its_own_dialect(self) -> Exchange:
        """Where an answer goes that is in the dialect in which the client asks."""
        raw = self._inbound.raw
        if raw is None:
            return self.exchange
        return HeldStream(raw[0]) if self._is_open() else raw[0]

    # --- the providers, one after the other

    async def _any_of(self, destinations: tuple[Destination, ...]) -> bool:
        now = trio.current_time()
        ready = in_order(self._state, destinations, now)
        for destination in ready:
            if await self._serves(destination):
                return True
        first = destinations[0]
        rest = self._state.rest(first.provider, now)
        if not ready and rest is not None and first.reason != "fallback":
            self._first = self._first or _Told(resting(first.provider, rest, now))
        return False

    async def _serves(self, destination: Destination) -> bool:
        provider = provider_named(self._config, destination.provider)
        if provider is None:
            return False
        record = self._record
        record.account, record.provider = None, provider.name
        record.reason = self._reason(destination)
        self._trying(destination)
        told: Problem | None = None
        try:
            result = await self._attempt(provider, destination)
        except Untranslatable as refusal:  # nothing was sent: these words are ours
            record.attempts -= 1
            told = refusal.problem
            result = failed(ProviderError(told.status, told.error_type, told.message))
        if isinstance(result, Served):
            record.served(result.terminal)
            return True
        record.trace.failed(result)
        await self._report(provider, result)
        raw = told is None and provider.dialect == "openai"
        if destination.reason != "fallback" and self._first is None:
            self._first = _Told(told or result, provider.name, raw)
        if result.verdict.reason == "request" and self._refused is None:
            self._refused = _Told(told or result, provider.name, raw)
        return False

    def _trying(self, destination: Destination) -> None:
        self._record.attempts += 1
        self._record.trace.trying(f"{destination.provider}/{destination.model}")

    async def _attempt(self, provider: Provider, destination: Destination) -> Failed | Served:
        raw = self._inbound.raw
        if provider.dialect == "openai" and raw is not None:
            exchange, body = self._in_its_own_dialect(), raw[1]
            key = self._record.key
            if key is not None and key.limits.by_usage:
                asking = asking_for_usage(body)
                if asking is not body:
                    exchange, body = UnaskedUsage(exchange), asking
            return await self._pass_through(provider, destination, exchange, body)
        if self._inbound.refusal is not None:
            raise Untranslatable(self._inbound.refusal.message)
        if provider.dialect == "anthropic":
            exchange, body = self.exchange, self._inbound.body
            if raw is None:  # a client of OpenAI's dialect sends no reasoning back
                exchange = MarkedExchange(exchange, provider.name)
            return await self._pass_through(provider, destination, exchange, body)
        return await self._translate(provider, destination)

    async def _translate(self, provider: Provider, destination: Destination) -> Failed | Served:
        result = await self._translated(provider, destination)
        if isinstance(result, Failed) and self._room.told(destination, result):
            self._record.trace.failed(result)
            self._trying(destination)
            result = await self._translated(provider, destination)
        return result

    async def _translated(self, provider: Provider, destination: Destination) -> Failed | Served:
        most, id_ = self._room.tokens(destination), self._foreign.new_id()
        sent = translated(provider, destination.model, self._inbound.body, id_, most)
        spoken = Spoken()
        opened: list[Delivery] = []

        def open_delivery(headers: list[tuple[bytes, bytes]]) -> Delivery:
            delivery = Delivery(
                self.exchange,
                200,
                [*headers, *self._added(destination)],
                lambda: self._good(provider, destination, 200),
                self._record.complete,
            )
            opened.append(delivery)
            return delivery

        upstream = self._foreign.upstream_for(provider, self._record)
        try:
            if not sent.stream:
                return await converse(upstream, sent, open_delivery, spoken)
            if self._kept is None:
                self.exchange = self._kept = KeptStream(self.exchange)
            self._kept.added = self._added(destination)
            async with self._kept.kept_alive():
                return await converse(upstream, sent, open_delivery, spoken)
        finally:
            self._book(opened)
            if spoken.usage is not None and opened and opened[-1].started:
                self._record.usage = spoken.usage

    async def _pass_through(
        self, provider: Provider, destination: Destination, exchange: Exchange, body: bytes
    ) -> Failed | Served:
        record = self._record
        stream = record.asked.stream
        request: UpstreamRequest = same_dialect(provider, destination.model, body, stream=stream)
        meter: UsageMeter | None = None
        opened: list[Delivery] = []

        def open_delivery(response: UpstreamResponse) -> Delivery:
            nonlocal meter
            meter = meter_for(record.route, response.headers, stream=stream)
            delivery = Delivery(
                exchange,
                response.status,
                to_client(response.headers, self._added(destination)),
                lambda: self._good(provider, destination, response.status),
                record.complete,
                meter,
            )
            opened.append(delivery)
            return delivery

        try:
            upstream = self._foreign.upstream_for(provider, record)
            result = await attempt(
                upstream, request, open_delivery, asked=Asked(destination.model), stream=stream
            )
        finally:
            self._book(opened)
            if meter is not None and opened and opened[-1].started:
                record.metered(meter)
                record.served_model = record.served_model or destination.model
        if isinstance(result, Failed):
            return judged(result)
        if withheld(exchange):
            # A whole answer that broke off while it waited for its end: nobody has seen any of it.
            return unreached(UpstreamFault(FaultKind.DISCONNECT, "it broke off in its answer"))
        return result

    def _good(self, provider: Provider, destination: Destination, status: int) -> None:
        self._record.status = status
        self._record.served_model = destination.model
        self._room.taken(destination)
        if provider.name in self._state.rests:
            try:
                self._foreign.providers.tell_nowait(ProviderServed(provider.name))
            except AskFailed:
                return  # the program is stopping

    def _book(self, opened: list[Delivery]) -> None:
        if opened:
            self._record.first_byte_at = opened[-1].started_at
            self._record.bytes_out = opened[-1].bytes_out

    async def _report(self, provider: Provider, result: Failed) -> None:
        fault: Fault = result.verdict.reason  # type: ignore[assignment]
        if fault in ("request", "model"):
            return
        event = ProviderFailed(provider.name, fault, result.verdict.retry_after)
        try:
            await insist(self._foreign.providers, event, timeout=ASK_SECONDS)
        except AskFailed:
            return  # the next request will find out for itself

    # --- words

    def _added(self, destination: Destination | None) -> list[tuple[bytes, bytes]]:
        added = [
            *request_id_header(self._record),
            (b"x-supervisor-attempts", str(self._record.attempts).encode()),
        ]
        if destination is not None:
            served = f"{destination.provider}/{destination.model}"
            added.append((b"x-supervisor-fallback", served.encode("ascii", "backslashreplace")))
        return added

    def _reason(self, destination: Destination) -> str:
        words = f"{destination.reason}: {destination.provider}/{destination.model}"
        if destination.reason == "redirect":
            return f"{words}, {self._state.redirecting.reason}"
        return f"{words}, {self._on_its_way}" if self._on_its_way else words

    def _reason_told(self) -> str:
        return "the provider refuses the request" if self._refused else "the first choice's answer"

"""One request, from its body to its last byte: take in, ask, attempt, classify, report, again.

Nothing has been sent to the client until an attempt produced a good head and, for a stream, its
first content; until then every failure can go to the next account unseen. After that a broken
upstream is passed on as the break it is: clients retry that best (`wire.md` A17).
"""

from __future__ import annotations

import msgspec
import trio

from protocol import egress
from protocol.accounts import Scope
from protocol.asked import Asked
from protocol.dispatch import Acquire, Lease, Refusal
from protocol.errors import Problem
from protocol.headers import to_client, with_retry_after
from protocol.hops import Hops, weighed
from protocol.peek import peek
from protocol.usage import UsageMeter, meter_for
from protocol.verdict import Action
from server import renewing
from server.as_sent import as_sent, asked_by
from server.attempt import Failed, Served, attempt
from server.authored import author, refused, request_id_header, unreachable
from server.delivery import Delivery
from server.departures import ended_by_departure
from server.desk import Desk, Ports, Tried
from server.elsewhere import Elsewhere
from server.entry import enter
from server.exchange import ClientGone, Exchange, withheld
from server.held_stream import HeldStream
from server.intake import Body, Refused
from server.provider_outcome import dry
from server.record import Record
from server.repeats import Repeating
from server.upstream_port import UpstreamResponse

OVERLOAD_DELAYS = (0.75, 3.0)
"""Longest waits (seconds, full jitter) before the two more tries after an overload (rule 5)."""

HOLD_SPREAD = 2.0
"""Seconds over which held streams come back."""


async def relay(exchange: Exchange, ports: Ports, record: Record, ask: Acquire) -> None:
    """Serves one request of a relayed route; its line goes to the journal however it ends."""
    body = Body(ports.budget)
    try:
        await body.read(exchange, ports.body_bytes_max())
        record.bytes_in = len(body.content)
        record.trace.body_read()
        async with ended_by_departure(exchange, record.left):
            await _Relay(exchange, ports, record, body.content).serve(ask)
    except Refused as refusal:
        await author(exchange, record, refusal.problem)
    except ClientGone:
        record.left()
    finally:
        body.release()
        ports.write_line(record)


class _Relay:
    """The state of one request between its attempts."""

    def __init__(self, exchange: Exchange, ports: Ports, record: Record, body: bytes) -> None:
        self._exchange = exchange
        self._ports = ports
        self._record = record
        self._body = body
        self._desk = Desk(ports)
        self._first: Failed | None = None
        self._first_account = ""
        self._overloads = 0
        self._waited = 0.0
        self._hops = Hops()
        self._repeating: Repeating | None = None
        self._asked = Asked()
        self._repeatable = False
        self._sent = False
        self._delivery: Delivery | None = None
        self._elsewhere: Elsewhere | None = None

    async def serve(self, ask: Acquire) -> None:
        """Until the client has an answer, the upstream's or one of ours."""
        try:
            await self._serve(ask)
        except Refused as refusal:  # the dispatcher cannot answer; nothing was sent yet
            await author(self._exchange, self._record, refusal.problem)

    async def _serve(self, ask: Acquire) -> None:
        self._record.asked = peek(self._body)
        entry = await enter(self._exchange, self._body, ask, self._ports.foreign, self._record)
        if entry.answered or (entry.elsewhere is not None and await entry.elsewhere.before()):
            return
        self._elsewhere = entry.elsewhere
        self._exchange, self._body = entry.answering, entry.body
        self._asked = asked_by(self._exchange.head, entry.ask)
        ask = msgspec.structs.replace(entry.ask, betas=self._asked.betas)
        self._repeatable = ask.route.repeatable
        outcome = await self._acquire(ask)
        while True:
            if isinstance(outcome, Refusal):
                if not await self._wait_for(outcome, ask):
                    await self._give_up(None, outcome)
                    return
                ask = msgspec.structs.replace(ask, tried=(), after_burst=False, shunned=())
                self._hops, self._repeating = Hops(), None
                outcome = await self._acquire(ask)
                continue
            lease = outcome
            try:
                lease = await self._desk.fresh(lease)
                tried = Tried(self._asked, trio.current_time())
                result = await self._attempt(lease, tried)
                lease, result = await self._renewed(lease, tried, result)
            finally:
                await self._desk.release(lease)  # noqa: ASYNC102 - it shields itself
            if isinstance(result, Served):
                self._record.served(result.terminal)
                if withheld(self._exchange):
                    raise Refused(Problem(502, "the upstream broke off in its answer; try again"))
                return
            result = self._weighed(lease, result)
            self._record.trace.failed(result)
            await self._desk.report_failure(lease, result, tried)
            if result.verdict.scope is Scope.EGRESS:
                await self._desk.report_egress(lease, result.verdict.retry_after)
            if self._first is None or self._first.status is None:
                self._first, self._first_account = result, lease.account
            repeating = self._repeating = self._repeating or Repeating(self._ports.repeats)
            repeating.failed(lease, result.verdict)
            ask = msgspec.structs.replace(
                ask,
                tried=(*ask.tried, lease.account),
                after_burst=self._hops.after_burst,
                shunned=repeating.shunned,
            )
            following = await self._follow(ask, lease, result)
            if not isinstance(following, Lease):
                repeating.settle()
            if following is None:
                await self._give_up(result, await self._sooner(ask, lease, result))
                return
            outcome = following

    async def _renewed(
        self, lease: Lease, tried: Tried, result: Failed | Served
    ) -> tuple[Lease, Failed | Served]:
        """A login's token that was refused is renewed, once for all who wait, and tried again."""
        for _ in range(self._ports.refresh_policy().attempts):
            if not renewing.refused(lease, result) or not self._may_repeat():
                break
            again = await self._desk.renewed(lease)
            if again is None:
                break
            lease, result = again, await self._attempt(again, tried)
        return lease, result

    def _may_repeat(self) -> bool:
        return self._repeatable and not self._exhausted()

    def _exhausted(self) -> bool:
        limit = self._ports.attempts_max()
        return bool(limit) and self._record.attempts >= limit

    async def _acquire(self, ask: Acquire) -> Lease | Refusal:
        desk = self._desk
        outcome = await desk.acquire(ask)
        self._record.queued += desk.answered_at - desk.asked_at
        self._record.trace.chose(outcome, desk.asked_at, desk.answered_at)
        return outcome

    async def _wait_for(self, refusal: Refusal, ask: Acquire) -> bool:
        """Everybody rests, but somebody is back soon enough: a wait is better than a refusal.

        `max_wait` bounds all short waits of one request, `max_hold` the long ones of a stream, which
        is opened for that. An account asked for by name answers with its own limit instead.
        """
        pause = refusal.available_in
        if pause is None or ask.pinned is not None or not ask.route.repeatable:
            return False
        wait_max, hold_max = self._ports.patience()
        self._waited += pause
        if self._waited <= wait_max:
            with self._record.waiting("max_wait"):
                await trio.sleep(pause)
        elif self._waited <= hold_max and self._record.asked.stream:
            with self._record.waiting("max_hold"):
                await self._hold(pause)
        else:
            return False
        return True

    async def _hold(self, seconds: float) -> None:
        if not isinstance(self._exchange, HeldStream):
            self._exchange = held = HeldStream(self._exchange)
            await held.open(request_id_header(self._record))
        # Everybody who is held for the same account would come back at the same moment.
        await self._exchange.wait(seconds + self._ports.random.uniform(0, HOLD_SPREAD))

    def _weighed(self, lease: Lease, failed: Failed) -> Failed:
        """The failure in the light of those before it, and of what others met."""
        self._hops, verdict = weighed(
            self._hops, failed.verdict, after_burst=lease.after_burst, base_url=lease.base_url
        )
        return msgspec.structs.replace(failed, verdict=verdict)

    async def _attempt(self, lease: Lease, tried: Tried) -> Failed | Served:
        record, head = self._record, self._exchange.head
        record.attempts += 1
        if not self._sent:  # by us: a provider may have been asked before
            self._sent = True
            self._ports.repeats.first(lease.base_url)
        record.account = lease.account
        record.trace.trying(lease.account)
        record.reason = "; ".join(lease.reasons)
        meter: UsageMeter | None = None
        request = as_sent(head, lease, self._body)

        def open_delivery(response: UpstreamResponse) -> Delivery:
            nonlocal meter
            meter = meter_for(record.route, response.headers, stream=record.asked.stream)
            headers = to_client(response.headers, self._added(lease.account))
            self._delivery = Delivery(
                self._exchange,
                response.status,
                headers,
                lambda: self._good(lease, response, tried),
                record.complete,
                meter,
            )
            return self._delivery

        try:
            result = await attempt(
                self._ports.upstream_for(lease, record),
                request,
                open_delivery,
                asked=self._asked,
                stream=record.asked.stream,
            )
            if isinstance(result, Failed):
                meter = None  # nobody was served: the next attempt's usage is the one that counts
            return result
        finally:
            if meter is not None:
                self._book(lease, meter)
            if self._delivery is not None:
                record.first_byte_at = self._delivery.started_at
                record.bytes_out = self._delivery.bytes_out
                self._delivery = None  # it knows us by its callbacks: no cycle for the collector

    def _book(self, lease: Lease, meter: UsageMeter) -> None:
        """Also of an answer that was cut: what was seen of it was paid for."""
        usage = self._record.metered(meter)
        if usage is not None:
            self._desk.report_usage(lease, usage)

    def _good(self, lease: Lease, response: UpstreamResponse, tried: Tried) -> None:
        self._record.status = response.status
        self._ports.repeats.answered(lease.base_url)
        if self._repeating is not None:
            self._repeating.settle()
        self._desk.report_success(
            lease, response.status, response.headers, tried, whole=not self._record.asked.stream
        )

    async def _follow(self, ask: Acquire, lease: Lease, failed: Failed) -> Lease | Refusal | None:
        """Who is next after a failure; None when this answer, or the first, is the client's."""
        if not self._may_repeat():
            return None
        seconds = failed.verdict.retry_after
        if failed.verdict.scope is Scope.EGRESS and seconds is not None:
            return egress.met(seconds)
        if failed.verdict.action is Action.NEXT:
            return await self._acquire(ask)
        if failed.verdict.action is not Action.AGAIN or lease.credential is None:
            return None
        if self._overloads == len(OVERLOAD_DELAYS) or lease.base_url in ask.shunned:
            return None
        longest = OVERLOAD_DELAYS[self._overloads]
        self._overloads += 1
        with self._record.trace.pause("overload"):
            await trio.sleep(self._ports.random.uniform(0, longest))
        desk = self._desk
        outcome = await desk.acquire_again(ask, lease.account)
        self._record.trace.chose(outcome, desk.asked_at, desk.answered_at)
        return outcome

    async def _sooner(self, ask: Acquire, lease: Lease, last: Failed) -> Refusal | None:
        """Not all were asked: when the next one could serve, if the answer to come is a limit's."""
        limited = self._first is not None and self._first.verdict.benches
        if not limited or last.verdict.action is Action.DELIVER or lease.credential is None:
            return None
        return await self._desk.earliest(msgspec.structs.replace(ask, tried=()))

    async def _give_up(self, last: Failed | None, refusal: Refusal | None) -> None:
        """A fallback, else the upstream's own first answer, if there was one; else one of ours."""
        foreign = self._ports.foreign
        pool = foreign is None or foreign.pool()
        if self._elsewhere is not None and dry(last, self._first, refusal, pool=pool):
            why = refusal.message if refusal else last.detail if last else ""
            if await self._elsewhere.after(why, self._exchange):
                return
            self._exchange = self._elsewhere.answering(self._exchange)
        told = self._first
        if last is not None and last.verdict.action is Action.DELIVER:
            told = last
        elif told is not None:
            self._record.account = self._first_account
        if told is None or told.status is None:
            problem = unreachable(told) if told else refused(refusal)
            await author(self._exchange, self._record, problem)
            return
        headers = to_client(told.headers, self._added(self._record.account or ""))
        if refusal is not None and refusal.retry_after is not None:
            headers = with_retry_after(headers, max(int(refusal.retry_after), 1))
        ended = "complete" if told.verdict.action is Action.DELIVER else "upstream_error"
        status = told.status

        def delivered() -> None:
            self._record.delivered = True
            self._record.ended(ended, status)

        self._record.error_type = told.error.type or None
        self._record.first_byte_at = trio.current_time()
        self._record.bytes_out = len(told.body)
        delivery = Delivery(self._exchange, status, headers, lambda: None, delivered)
        await delivery.add(told.body)
        await delivery.finish()

    def _added(self, account: str) -> list[tuple[bytes, bytes]]:
        return [
            *request_id_header(self._record),
            (b"x-supervisor-account", account.encode()),
            (b"x-supervisor-attempts", str(self._record.attempts).encode()),
        ]

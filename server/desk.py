"""The relay's side of its talks with the actors: leases, reports, the journal's line.

An actor that crashes over a question is asked again: its mailbox and its last state outlive it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import msgspec
import trio

from actors.asking import insist
from actors.dropped import DroppedLines
from actors.mailbox import AskFailed, Mailbox
from actors.messages import (
    AccountMessage,
    AdmitKey,
    Describe,
    DispatcherMessage,
    JournalMessage,
    KeyringMessage,
    RefreshMessage,
    Report,
    Reported,
    Used,
)
from protocol import egress
from protocol.asked import Asked
from protocol.config import Refresh
from protocol.dispatch import Acquire, Again, Lease, Refusal, Release
from protocol.egress import EgressLimited
from protocol.errors import Problem
from protocol.inbound_keys import InboundKey
from protocol.quota_readings import Readings
from protocol.ramp import RAMP_SECONDS
from protocol.request import Headers
from protocol.secrets import scrub
from protocol.usage import Usage
from protocol.verdict import SUCCESS
from server.attempt import Failed
from server.attempt_trace import About, AttemptTrace
from server.budget import BodyBudget
from server.foreign import Foreign
from server.intake import Refused
from server.record import Record
from server.renewing import renewed, time_left
from server.repeats import Repeats
from server.upstream_port import Upstream

NOW = 1.0
"""The shortest `retry-after` there is (`interface.md` rule 2), in seconds."""

ASK_SECONDS = 10.0
"""For an answer of an actor, its restarts included. None of them waits on anybody."""
TELL_SECONDS = 5.0
"""For a message to find room; a mailbox that is full for so long belongs to a dead actor."""


class Ports(msgspec.Struct, frozen=True):
    """What a request needs of the rest of the program.

    `wall_clock` gives epoch seconds; `patience` gives `max_wait` and `max_hold`; without `foreign`
    there is nobody but the accounts.
    """

    dispatcher: Mailbox[DispatcherMessage]
    account: Callable[[str], Mailbox[AccountMessage] | None]
    journal: Mailbox[JournalMessage]
    upstream: Callable[[str], Upstream]
    budget: BodyBudget
    body_bytes_max: Callable[[], int]
    attempts_max: Callable[[], int]
    patience: Callable[[], tuple[float, float]]
    wall_clock: Callable[[], float]
    random: random.Random
    refresh: Mailbox[RefreshMessage]
    refresh_policy: Callable[[], Refresh]
    readings: Readings = msgspec.field(default_factory=Readings)
    repeats: Repeats = msgspec.field(default_factory=Repeats)
    dropped: DroppedLines = msgspec.field(default_factory=DroppedLines)
    foreign: Foreign | None = None
    trace: AttemptTrace | None = None
    keyring: Mailbox[KeyringMessage] | None = None

    async def admit(self, key: InboundKey) -> Problem | None:
        """Why this inbound key may not send one request more; None: it may. Asked for each request,
        for limits are spent, and a key that was valid a moment ago may be revoked."""
        if self.keyring is None:
            return Problem(503, "the proxy has nobody to ask about keys", retry_after=1)
        try:
            return await insist(self.keyring, AdmitKey(key.id), timeout=ASK_SECONDS)
        except AskFailed as failure:
            return _unavailable(failure)

    def upstream_for(self, lease: Lease, record: Record) -> Upstream:
        """Where an attempt on `lease` goes; the debug log watches it where that is wanted."""
        upstream = self.upstream(lease.base_url)
        if self.trace is None:
            return upstream
        about = About(record.request_id, lease.account, record.attempts)
        return self.trace.watch(upstream, about)

    def write_line(self, record: Record) -> None:
        """The journal is the one receiver that may lose a message; it never delays a request."""
        if record.ours:
            return
        try:
            taken = self.journal.tell_nowait(record.over())
        except AskFailed:
            taken = False  # the program is stopping and the journal has gone before this request
        if not taken:
            self.dropped.not_taken += 1


class Tried(msgspec.Struct, frozen=True):
    """What an attempt asked for, and when it began (monotonic seconds)."""

    asked: Asked = Asked()
    began: float = math.inf


class _Success(msgspec.Struct, frozen=True):
    """A good answer, whose headers are read once the client has it. `at`: epoch seconds."""

    lease: Lease
    status: int
    headers: Headers
    tried: Tried
    at: float


class Desk:
    """Asks and tells for one request."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._patience = RAMP_SECONDS
        self.asked_at = 0.0
        self.answered_at = 0.0
        """When the dispatcher was asked last, and when it had answered (monotonic seconds)."""
        self._success: _Success | None = None  # to be told with what the answer cost
        self._unsent: list[tuple[Mailbox[AccountMessage], Reported | Used]] = []

    async def acquire(self, ask: Acquire) -> Lease | Refusal:
        """A lease, or why there is none; raises Refused when the dispatcher cannot answer.

        All the waiting of one request for ramps together is bounded (`protocol.ramp`).
        """
        self.asked_at = trio.current_time()
        ask = msgspec.structs.replace(ask, patient_until=self.asked_at + self._patience)
        try:
            return await self._ask_dispatcher(ask)
        finally:
            self._patience = max(0.0, self._patience - (self.answered_at - self.asked_at))

    async def acquire_again(self, ask: Acquire, account: str) -> Lease | Refusal:
        """The same account once more."""
        self.asked_at = trio.current_time()
        return await self._ask_dispatcher(Again(account, ask))

    async def earliest(self, ask: Acquire) -> Refusal | None:
        """What `ask` would be told now, without a lease for it; where it would be served, that this
        is so from now on. None when the dispatcher cannot answer."""
        try:
            state = await insist(self._ports.dispatcher, Describe(), timeout=ASK_SECONDS)
        except AskFailed:
            return None
        ask = msgspec.structs.replace(ask, patient_until=0.0, shunned=())
        _, outcome = egress.choose(state, ask, trio.current_time())
        return outcome if isinstance(outcome, Refusal) else Refusal("limited", "", NOW)

    async def _ask_dispatcher(self, question: Acquire | Again) -> Lease | Refusal:
        dispatcher = self._ports.dispatcher
        try:
            return await insist(dispatcher, question, timeout=ASK_SECONDS, now=self.asked_at)
        except AskFailed as failure:
            raise Refused(_unavailable(failure)) from failure
        finally:
            self.answered_at = trio.current_time()

    async def fresh(self, lease: Lease) -> Lease:
        """The lease, with a token that lives long enough for a request where that can be had."""
        left = time_left(lease, self._ports)
        if left is None or left >= self._ports.refresh_policy().blocking_under:
            return lease
        return await renewed(lease, self._ports, forced=False) or lease

    async def renewed(self, lease: Lease) -> Lease | None:
        """The lease with another token than the one that was refused; None: there is none."""
        return await renewed(lease, self._ports, forced=True)

    async def release(self, lease: Lease) -> None:
        """Gives a lease back, also while the request is being cancelled."""
        success, self._success = self._success, None
        if success is not None:
            self._tell(lease, self._reported(success))
        message = Release(lease.id, lease.account)
        try:
            if not self._unsent and self._ports.dispatcher.tell_nowait(message):
                return
        except AskFailed:
            return  # the program is stopping
        with trio.CancelScope(shield=True, deadline=trio.current_time() + TELL_SECONDS):
            try:
                await self._ports.dispatcher.tell(message)
                while self._unsent:
                    mailbox, event = self._unsent.pop(0)
                    await mailbox.tell(event)
            except AskFailed:
                return  # the program is stopping, or the account was removed

    async def report_failure(self, lease: Lease, failed: Failed, tried: Tried = Tried()) -> None:
        """Returns when it counts: the dispatcher's next choice knows of it."""
        mailbox = self._ports.account(lease.account)
        if mailbox is None:
            return
        now = self._ports.wall_clock()
        report = Report(
            Reported(
                lease.id,
                failed.verdict,
                now,
                failed.status,
                scrub(failed.detail)[:200],
                self._ports.readings.read_anew(lease.account, failed.headers, now),
                asked=tried.asked,
                began=tried.began,
                credential=lease.credential,
            )
        )
        try:
            await insist(mailbox, report, timeout=ASK_SECONDS)
        except AskFailed:
            return  # removed, or stuck for now: the request goes on without its account

    async def report_egress(self, lease: Lease, seconds: float | None) -> None:
        """A second account met a short limit: nobody gets a lease for a while."""
        with trio.move_on_after(TELL_SECONDS):
            try:
                await self._ports.dispatcher.tell(EgressLimited(lease.base_url, seconds))
            except AskFailed:
                return  # the program is stopping

    def report_success(
        self,
        lease: Lease,
        status: int,
        headers: Headers = (),
        tried: Tried = Tried(),
        *,
        whole: bool = False,
    ) -> None:
        """Told at the answer's head; when there is no room, at its end: no stream waits for it.

        `whole`: the answer's end is near, so it may be told together with what it cost. Not where
        others wait for this success.
        """
        success = _Success(lease, status, headers, tried, self._ports.wall_clock())
        if whole and not lease.ramped:
            self._success = success
        else:
            self._tell(lease, self._reported(success))

    def report_usage(self, lease: Lease, usage: Usage) -> None:
        """Told when the attempt is over, before its lease is given back."""
        success = self._success
        if success is not None and success.lease.id == lease.id:
            self._success = None
            self._tell(lease, self._reported(success, usage))
        else:
            self._tell(lease, Used(lease.id, usage))

    def _reported(self, success: _Success, usage: Usage | None = None) -> Reported:
        lease, headers, now = success.lease, success.headers, success.at
        return Reported(
            lease.id,
            SUCCESS,
            now,
            success.status,
            "",
            self._ports.readings.read(lease.account, lease.credential, headers, now),
            asked=success.tried.asked,
            began=success.tried.began,
            credential=lease.credential,
            awaited=lease.ramped,
            usage=usage,
        )

    def _tell(self, lease: Lease, event: Reported | Used) -> None:
        mailbox = self._ports.account(lease.account)
        if mailbox is None:
            return
        try:
            if not mailbox.tell_nowait(event):
                self._unsent.append((mailbox, event))
        except AskFailed:
            return  # removed meanwhile


def _unavailable(failure: AskFailed) -> Problem:
    return Problem(529, f"the proxy cannot serve right now: {failure}; try again", retry_after=1)

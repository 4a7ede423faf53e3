"""The relay's talks with the actors: leases, reports and lines, also when actors are away."""

from __future__ import annotations

import random

import msgspec
import pytest
import trio

from actors.mailbox import Mailbox
from actors.messages import (
    AccountMessage,
    DispatcherMessage,
    EgressLimited,
    JournalMessage,
    Release,
    Reported,
    Used,
)
from protocol.accounts import Credential, Scope
from protocol.asked import Asked
from protocol.config import Refresh
from protocol.dispatch import Acquire, Lease, Refusal
from protocol.ramp import RAMP_SECONDS
from protocol.request import RequestHead, Route
from protocol.secrets import Secret
from protocol.usage import Usage
from protocol.verdict import Action, Verdict
from server.attempt import Failed
from server.budget import BodyBudget
from server.desk import ASK_SECONDS, Desk, Ports, Tried
from server.intake import Refused
from server.record import Record

ASK = Acquire(Route.MESSAGES)
LEASE = Lease(7, "work", None, "http://api.test")
LIMITED = Failed(Verdict(Action.NEXT, Scope.ACCOUNT, "rate_limited", 30.0), "429", 429)


class Office:
    """A desk and the mailboxes behind it; nobody reads them unless a test does."""

    def __init__(self) -> None:
        self.dispatcher: Mailbox[DispatcherMessage] = Mailbox("dispatcher")
        self.journal: Mailbox[JournalMessage] = Mailbox("journal", capacity=1)
        self.account: Mailbox[AccountMessage] = Mailbox("account/work", capacity=1)
        self.ports = Ports(
            dispatcher=self.dispatcher,
            account=lambda name: self.account if name == "work" else None,
            journal=self.journal,
            upstream=self._no_upstream,  # type: ignore[arg-type]
            budget=BodyBudget(lambda: 1),
            body_bytes_max=lambda: 1,
            attempts_max=lambda: 0,
            patience=lambda: (0.0, 0.0),
            wall_clock=lambda: 0.0,
            random=random.Random(1),
            refresh=Mailbox("refresh"),
            refresh_policy=Refresh,
        )
        self.desk = Desk(self.ports)

    def _no_upstream(self, base_url: str) -> object:
        raise AssertionError(f"nobody asked for {base_url}")


@pytest.mark.promise("A5")
async def test_a_dispatcher_that_does_not_answer_is_a_529_at_the_deadline(
    autojump_clock: object,
) -> None:
    """The client hears that it is worth trying again."""
    office = Office()
    began = trio.current_time()
    with pytest.raises(Refused) as caught:
        await office.desk.acquire(ASK)
    assert trio.current_time() - began == pytest.approx(ASK_SECONDS)
    assert (caught.value.problem.status, caught.value.problem.retry_after) == (529, 1)


async def test_a_dispatcher_that_crashes_over_the_question_is_asked_again(
    autojump_clock: object,
) -> None:
    """The request never hears of it."""
    office = Office()

    async def crash_then_answer() -> None:
        inbox = office.dispatcher.open_inbox()
        await inbox.receive()
        inbox.abandon(redeliver=False)
        envelope = await office.dispatcher.open_inbox().receive()
        assert isinstance(envelope.message, Acquire)
        envelope.reply_to(envelope.message).send(Refusal("limited", "nobody"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_then_answer)
        assert await office.desk.acquire(ASK) == Refusal("limited", "nobody")


async def test_a_success_that_finds_no_room_is_told_when_the_lease_is_given_back(
    autojump_clock: object,
) -> None:
    """No stream waits for it, and it is not lost."""
    office = Office()
    office.desk.report_success(LEASE, 200)
    office.desk.report_success(Lease(8, "work", None, ""), 200)
    assert office.account.depth == 1
    inbox = office.account.open_inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.desk.release, LEASE)
        told = [(await inbox.receive()).message for _ in range(2)]
    assert [getattr(message, "lease", None) for message in told] == [7, 8]


async def test_a_usage_that_finds_no_room_is_told_with_the_lease_also_under_cancellation(
    autojump_clock: object,
) -> None:
    """The client's leaving is just when a usage is told, and it is not lost then."""
    office = Office()
    office.desk.report_success(LEASE, 200)
    office.desk.report_usage(LEASE, Usage(1, 2))
    assert office.account.depth == 1
    told: list[AccountMessage] = []

    async def read() -> None:
        inbox = office.account.open_inbox()
        await trio.sleep(1)
        while len(told) < 2:
            told.append((await inbox.receive()).message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with trio.CancelScope() as scope:
            scope.cancel()
            await office.desk.release(LEASE)
    assert told[1] == Used(7, Usage(1, 2))


async def test_a_whole_answer_is_told_with_what_it_cost_as_one(autojump_clock: object) -> None:
    office = Office()
    office.desk.report_success(LEASE, 200, whole=True)
    assert office.account.depth == 0
    office.desk.report_usage(LEASE, Usage(1, 2))
    told = (await office.account.open_inbox().receive()).message
    assert isinstance(told, Reported)
    assert (told.lease, told.usage) == (7, Usage(1, 2))
    await office.desk.release(LEASE)
    assert office.account.depth == 0


async def test_a_whole_answer_that_says_nothing_of_its_cost_is_told_with_its_lease(
    autojump_clock: object,
) -> None:
    """Also when the client has left meanwhile."""
    office = Office()
    office.desk.report_success(LEASE, 200, whole=True)
    with trio.CancelScope() as scope:
        scope.cancel()
        await office.desk.release(LEASE)
    told = (await office.account.open_inbox().receive()).message
    assert isinstance(told, Reported)
    assert (told.lease, told.usage) == (7, None)


@pytest.mark.parametrize(("ramped", "whole"), [(True, True), (False, False)])
async def test_a_success_is_told_at_once_where_others_wait_for_it_and_of_a_stream(
    autojump_clock: object, ramped: bool, whole: bool
) -> None:
    office = Office()
    lease = msgspec.structs.replace(LEASE, ramped=ramped)
    office.desk.report_success(lease, 200, whole=whole)
    told = (await office.account.open_inbox().receive()).message
    assert isinstance(told, Reported)
    assert told.awaited is ramped
    office.desk.report_usage(lease, Usage(1, 2))
    assert (await office.account.open_inbox().receive()).message == Used(7, Usage(1, 2))


async def test_the_cost_of_one_attempt_is_not_put_down_to_another(autojump_clock: object) -> None:
    office = Office()
    office.account.capacity = 9
    office.desk.report_success(LEASE, 200, whole=True)
    office.desk.report_usage(Lease(8, "work", None, ""), Usage(1, 2))
    await office.desk.release(LEASE)
    inbox = office.account.open_inbox()
    told = [envelope.message for envelope in inbox.receive_waiting(9)]
    assert sorted((m.lease, m.usage) for m in told if isinstance(m, Reported | Used)) == [
        (7, None), (8, Usage(1, 2))
    ]  # fmt: skip


async def test_a_report_says_what_was_tried_with_which_credential(autojump_clock: object) -> None:
    """So that a success proves no more than that, and a replaced key nothing at all."""
    office = Office()
    key = Credential(Secret("key-of-work"), bearer=False)
    lease = Lease(7, "work", key, "http://api.test")
    tried = Tried(Asked("claude-x", ("beta",)), 4.5)
    office.desk.report_success(lease, 200, tried=tried)
    told = (await office.account.open_inbox().receive()).message
    assert isinstance(told, Reported)
    assert (told.asked, told.began, told.credential) == (tried.asked, 4.5, key)


async def test_a_limit_of_the_egress_is_told_and_a_dispatcher_that_is_gone_hurts_nobody(
    autojump_clock: object,
) -> None:
    """The request has its answer anyway."""
    office = Office()
    await office.desk.report_egress(LEASE, 20.0)
    assert (await office.dispatcher.open_inbox().receive()).message == EgressLimited(
        LEASE.base_url, 20.0
    )
    office.dispatcher.close()
    await office.desk.report_egress(LEASE, 20.0)


async def test_a_lease_is_given_back_even_while_the_request_is_being_cancelled(
    autojump_clock: object,
) -> None:
    """Otherwise an account would look busy for ever."""
    office = Office()
    with trio.CancelScope() as scope:
        scope.cancel()
        await office.desk.release(LEASE)
    envelope = await office.dispatcher.open_inbox().receive()
    assert envelope.message == Release(7, "work")


async def test_a_lease_that_finds_no_room_is_given_back_as_soon_as_there_is_some(
    autojump_clock: object,
) -> None:
    """Also while its request is being cancelled."""
    office = Office()
    before = 0
    while office.dispatcher.tell_nowait(Release(100 + before, "other")):
        before += 1
    given: list[DispatcherMessage] = []

    async def read() -> None:
        inbox = office.dispatcher.open_inbox()
        await trio.sleep(1)
        while len(given) < before + 1:
            given.append((await inbox.receive()).message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with trio.CancelScope() as scope:
            scope.cancel()
            await office.desk.release(LEASE)
        with trio.move_on_after(5) as limit:
            while len(given) < before + 1:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert not limit.cancelled_caught
    assert given[-1] == Release(7, "work")


async def test_reports_about_an_account_that_is_gone_go_nowhere_and_hurt_nobody(
    autojump_clock: object,
) -> None:
    """It was removed from the configuration while the request ran."""
    office = Office()
    gone = Lease(9, "gone", None, "")
    office.desk.report_success(gone, 200)
    office.desk.report_usage(gone, Usage(1))
    await office.desk.report_failure(gone, LIMITED)
    office.account.close()
    office.desk.report_success(LEASE, 200)
    await office.desk.report_failure(LEASE, LIMITED)


async def test_a_full_journal_loses_a_line_and_delays_nothing(autojump_clock: object) -> None:
    """It is the one receiver that may."""
    office = Office()
    record = Record(RequestHead("GET", b"/v1/models", ()), "r", Route.MODELS, 0.0)
    office.ports.write_line(record)
    office.ports.write_line(record)
    assert office.journal.depth == 1
    assert office.ports.dropped.not_taken == 1, "it is counted"
    office.journal.close()
    office.ports.write_line(record)
    assert office.ports.dropped.not_taken == 2


async def test_all_choices_of_a_request_share_one_patience(autojump_clock: object) -> None:
    """Who has waited in one account's ramp does not wait as long again in the next one's."""
    office = Office()

    async def dispatcher() -> None:
        inbox = office.dispatcher.open_inbox()
        for until in (RAMP_SECONDS,) * 3:
            envelope = await inbox.receive()
            question = envelope.message
            assert isinstance(question, Acquire)
            assert question.patient_until == pytest.approx(until)
            await trio.sleep(0.75)
            envelope.reply_to(question).send(LEASE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher)
        for _ in range(3):
            await office.desk.acquire(ASK)
    assert trio.current_time() == pytest.approx(2.25)


async def test_time_that_passes_between_two_choices_is_no_patience_spent(
    autojump_clock: object,
) -> None:
    office = Office()

    async def dispatcher() -> None:
        inbox = office.dispatcher.open_inbox()
        for until in (RAMP_SECONDS, 60.0 + RAMP_SECONDS):
            envelope = await inbox.receive()
            question = envelope.message
            assert isinstance(question, Acquire)
            assert question.patient_until == pytest.approx(until)
            envelope.reply_to(question).send(LEASE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher)
        await office.desk.acquire(ASK)
        await trio.sleep(60)
        await office.desk.acquire(ASK)

"""What survives a crash, and what is told about it."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.mailbox import ActorStopped, Mailbox
from protocol.status import CrashReport
from supervisor.child import ChildSpec
from supervisor.engine import Supervisor
from tests.supervisor.actors import (
    AnyContext,
    Boom,
    Crash,
    Leave,
    Note,
    group,
    park,
    serve,
    supervised,
)


class Counted(msgspec.Struct, frozen=True):
    notes: int


async def test_the_next_incarnation_gets_the_published_state_and_a_second_crash_clears_it(
    autojump_clock: MockClock,
) -> None:
    restored: list[Counted | None] = []

    async def count(context: AnyContext) -> None:
        state = context.restored or Counted(0)
        restored.append(context.restored)
        context.ready()
        async for envelope in context.mailbox:
            if isinstance(envelope.message, Crash):
                raise Boom("told to")
            state = Counted(state.notes + 1)
            context.publish(state)

    mailbox: Mailbox[Note | Crash] = Mailbox("a")
    async with supervised(group(ChildSpec("a", count, mailbox))):
        for message in (Note("1"), Note("2"), Crash(), Note("3"), Crash(), Crash()):
            await mailbox.tell(message)
            await trio.sleep(1)
        assert restored == [None, Counted(2), Counted(3), None]


@pytest.mark.parametrize(("redeliver", "times"), [(True, 2), (False, 1)])
async def test_a_message_that_crashes_its_reader_is_given_once_more_if_the_child_wants_that(
    redeliver: bool, times: int, autojump_clock: MockClock
) -> None:
    mailbox: Mailbox[Crash] = Mailbox("a")
    async with supervised(group(ChildSpec("a", serve, mailbox, redeliver=redeliver))) as tree:
        await mailbox.tell(Crash())
        await trio.sleep(10)
        assert tree.crash_types == [("a", "Boom")] * times
        assert tree.reports[-1].while_handling == "Crash"


@pytest.mark.promise("X5")
async def test_a_crash_report_is_one_line_bounded_and_without_credentials(
    autojump_clock: MockClock,
) -> None:
    async def leaks(context: AnyContext) -> None:
        context.ready()
        if context.incarnation == 1:
            await trio.sleep(1)
            text = "bad\r\nkey sk-ant-" + "a" * 40 + " \x1b[31m\u2028" + "x" * 1000
            raise ExceptionGroup("two", [ExceptionGroup("one", [Boom(text)]), ValueError("b")])
        await context.stopping.wait()

    async with supervised(group(ChildSpec("a", leaks))) as tree:
        await trio.sleep(5)
        (report,) = tree.reports
        crash = tree.status("a").last_crash
    assert report.message.startswith("bad key *** [31m xxx")
    assert report.message.endswith("(the first of 2 exceptions)")
    assert report.message.isprintable()
    assert len(report.message) <= 300
    assert (report.type, report.actor, report.incarnation) == ("Boom", "a", 1)
    assert report.where.startswith("test_engine_reports.py:")
    assert report.where.endswith(" in leaks")
    assert report.at.isoformat() == "2023-11-14T22:13:21+00:00"
    assert crash is not None
    assert (crash.at, crash.type, crash.message) == (report.at, "Boom", report.message)


async def test_a_crash_report_names_the_line(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[Crash] = Mailbox("a")
    async with supervised(group(ChildSpec("a", serve, mailbox))) as tree:
        await mailbox.tell(Crash())
        await trio.sleep(5)
    assert tree.reports[0].where.startswith("actors.py:")
    assert tree.reports[0].where.endswith(" in handle")


async def test_supervision_goes_on_when_the_report_cannot_be_delivered(
    autojump_clock: MockClock,
) -> None:
    def broken(report: CrashReport) -> None:
        raise OSError("disk full")

    mailbox: Mailbox[Crash] = Mailbox("a")
    supervisor = Supervisor(
        [group(ChildSpec("a", serve, mailbox))],
        random=Random(1),
        report=broken,
        wall_clock=trio.current_time,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await mailbox.tell(Crash())
        await trio.sleep(5)
        (status,) = supervisor.statuses(trio.current_time())
        assert (status.state, status.restarts, supervisor.failed_reports) == ("running", 1, 1)
        supervisor.stop()


async def test_a_status_has_the_fields_of_the_status_page(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[Note] = Mailbox("a")
    async with supervised(group(ChildSpec("a", park, mailbox))) as tree:
        await mailbox.tell(Note("x"))
        await trio.sleep(2)
        assert msgspec.to_builtins(tree.status("a")) == {
            "name": "a",
            "state": "running",
            "incarnation": 1,
            "restarts": 0,
            "last_crash": None,
            "mailbox": 1,
            "oldest_message_age": 2.0,
        }


async def test_a_transient_child_that_is_done_refuses_messages(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[Leave] = Mailbox("a")
    async with supervised(group(ChildSpec("a", serve, mailbox, restart="transient"))) as tree:
        await mailbox.tell(Leave())
        await trio.sleep(1)
        assert tree.status("a").state == "stopped"
        with pytest.raises(ActorStopped):
            await mailbox.tell(Leave())

"""An actor may crash at any await: nothing is lost, nothing happens twice, nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.mailbox import ActorCrashed, Mailbox
from actors.runtime import Run
from protocol.question import Question
from supervisor.child import ChildSpec, GroupSpec
from tests.kit.crashes import CountedRun, InjectedCrash, count_awaits, crash_at, crash_on_message
from tests.supervisor.actors import AnyContext, Log, idle, supervised


class Add(msgspec.Struct, frozen=True):
    number: int


class Total(Question[int], frozen=True):
    """How much has been added?"""


class Quote(Question[str], frozen=True):
    item: str


Message = Add | Total | Quote


class Sum(msgspec.Struct, frozen=True):
    total: int


async def ledger(context: AnyContext) -> None:
    """Adds up what it is told and answers two kinds of questions, with awaits at every stage."""
    await trio.sleep(0.1)
    state: Sum = context.restored or Sum(0)
    context.ready()
    try:
        async for envelope in context.mailbox:
            await trio.lowlevel.checkpoint()
            match envelope.message:
                case Add(number):
                    await trio.sleep(0.1)
                    state = Sum(state.total + number)
                    context.publish(state)
                    await trio.sleep(0.1)
                case Total() as question:
                    with trio.move_on_after(0.1):
                        await trio.sleep_forever()
                    envelope.reply_to(question).send(state.total)
                    await trio.lowlevel.checkpoint()
                case Quote(item) as quote:
                    await trio.sleep(0.1)
                    envelope.reply_to(quote).send(f"price of {item}")
    finally:
        await trio.lowlevel.cancel_shielded_checkpoint()


class Outcome(msgspec.Struct, frozen=True):
    answers: list[str]
    asked_again: int
    total: int
    crashes: list[tuple[str, str]]
    siblings: list[str]


async def ask_until_answered(
    mailbox: Mailbox[Message], question: Question[Any], again: Callable[[], None]
) -> str:
    while True:  # noqa: ASYNC913 - an ask is a cancel point
        try:
            return str(await mailbox.ask(question, timeout=20))
        except ActorCrashed:
            again()


async def play(run: Run, *, redeliver: bool = True) -> Outcome:
    """The script: three adds, two kinds of questions, a pause to let everything settle, a stop."""
    log, mailbox = Log(), Mailbox[Message]("ledger")
    answers: list[str] = []
    again = 0

    def count_again() -> None:
        nonlocal again
        again += 1

    group = GroupSpec(
        "g",
        "one_for_one",
        (
            ChildSpec("before", log.watch(idle)),
            ChildSpec("ledger", run, mailbox, redeliver=redeliver),
            ChildSpec("after", log.watch(idle)),
        ),
    )
    with trio.fail_after(60):
        async with supervised(group) as tree:
            await mailbox.tell(Add(1))
            await mailbox.tell(Add(20))
            answers.append(await ask_until_answered(mailbox, Quote("tea"), count_again))
            await mailbox.tell(Add(300))
            answers.append(await ask_until_answered(mailbox, Quote("milk"), count_again))
            await trio.sleep(5)
            total = await ask_until_answered(mailbox, Total(), count_again)
            await trio.sleep(5)
            siblings = list(log.texts)
    return Outcome(answers, again, int(total), tree.crash_types, siblings)


def assert_unharmed(outcome: Outcome) -> None:
    assert outcome.answers == ["price of tea", "price of milk"]
    assert outcome.total == 321
    assert outcome.siblings == ["+before", "+after"], "nobody else was restarted"


async def test_a_crash_at_any_await_loses_nothing_and_repeats_nothing(
    autojump_clock: MockClock,
) -> None:
    dry = count_awaits(ledger)
    calm = await play(dry)
    assert_unharmed(calm)
    assert (calm.crashes, calm.asked_again) == ([], 0)
    assert len(dry.points) == 18
    for nth in range(1, len(dry.points) + 1):
        injected = crash_at(ledger, nth)
        outcome = await play(injected)
        assert injected.crashed
        assert injected.points == dry.points[:nth], "the same way up to the crash"
        assert outcome.crashes == [("ledger", "InjectedCrash")]
        assert_unharmed(outcome)
        assert outcome.asked_again <= 1
    beyond = crash_at(ledger, len(dry.points) + 1)
    assert (await play(beyond)).crashes == []
    assert not beyond.crashed


@pytest.mark.parametrize("nth", range(1, 7))
async def test_a_crash_on_any_message_loses_nothing(nth: int, autojump_clock: MockClock) -> None:
    outcome = await play(crash_on_message(ledger, nth))
    assert outcome.crashes == [("ledger", "InjectedCrash")]
    assert_unharmed(outcome)


async def test_a_crash_in_a_question_reaches_its_asker_who_may_ask_again(
    autojump_clock: MockClock,
) -> None:
    asked_again = [(await play(crash_on_message(ledger, nth))).asked_again for nth in range(1, 7)]
    assert asked_again == [0, 0, 1, 0, 1, 1]


async def test_without_redelivery_the_sweep_finds_messages_that_are_lost(
    autojump_clock: MockClock,
) -> None:
    """The control: this sweep would notice."""
    dry = count_awaits(ledger)
    await play(dry)
    totals = {
        (await play(crash_at(ledger, nth), redeliver=False)).total
        for nth in range(1, len(dry.points) + 1)
    }
    assert totals == {321, 320, 301, 21}


async def test_a_crash_while_it_waits_for_its_next_message_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    """Other sweeps step over that wait, because the messages that end it are points of their own.
    It holds none: they are in the queue until they are read."""
    dry = count_awaits(ledger, step_over=frozenset())
    await play(dry)
    waits = [nth for nth, point in enumerate(dry.points, 1) if "Inbox.receive" in point]
    assert len(dry.points) - len(waits) == 18
    assert waits
    for nth in waits:
        outcome = await play(crash_at(ledger, nth, step_over=frozenset()))
        assert outcome.crashes == [("ledger", "InjectedCrash")]
        assert_unharmed(outcome)


async def test_points_are_named_by_who_waits_for_whom() -> None:
    async def inner() -> None:
        await trio.lowlevel.checkpoint()

    async def run(context: AnyContext) -> None:
        await inner()

    counted: CountedRun = count_awaits(run)
    await counted(None)  # type: ignore[arg-type]
    (point,) = counted.points
    assert [name.rpartition(".")[2] for name in point.split(" > ")][1:4] == [
        "run",
        "inner",
        "checkpoint",
    ]


async def test_the_injected_crash_comes_out_of_the_await_itself() -> None:
    seen: list[str] = []

    async def run(context: AnyContext) -> None:
        try:
            await trio.lowlevel.checkpoint()
        except InjectedCrash as crash:
            seen.append(str(crash))

    injected = crash_at(run, 1)
    for _ in range(2):
        await injected(None)  # type: ignore[arg-type]
    assert len(seen) == 1, "only the first life is crashed"
    assert seen[0].startswith("at await 1: ")

"""What becomes of messages when their reader crashes or stops."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import ActorCrashed, ActorStopped, Mailbox
from actors.runtime import Context
from tests.actors.echo import Double, Message, Note, asking, double, serve


@pytest.fixture
def mailbox() -> Mailbox[Message]:
    return Mailbox("echo", capacity=4)


# ------------------------------------------------------------------------------- crashes and ends


async def test_what_is_queued_is_served_by_the_next_incarnation(mailbox: Mailbox[Message]) -> None:
    first = mailbox.open_inbox()
    async with asking(mailbox, 1) as answer:
        await mailbox.tell(Note("queued"))
        first.abandon(redeliver=False)
        second = mailbox.open_inbox()
        assert double(await second.receive())
        assert (await second.receive()).message == Note("queued")
    assert answer() == 2


async def test_open_asks_of_a_crashed_incarnation_fail_at_once(mailbox: Mailbox[Message]) -> None:
    inbox = mailbox.open_inbox()
    async with asking(mailbox, 1) as deferred, asking(mailbox, 2) as handled:
        envelopes = [await inbox.receive(), await inbox.receive()]
        inbox.abandon(redeliver=True)
        await wait_all_tasks_blocked()
        assert isinstance(deferred(), ActorCrashed)
        assert isinstance(handled(), ActorCrashed)
        assert [double(envelope) for envelope in envelopes] == [False, False]
    assert mailbox.depth == 0, "an ask is never redelivered: its asker may ask again"


async def test_a_told_message_is_given_once_more_after_a_crash_and_not_twice(
    mailbox: Mailbox[Message],
) -> None:
    for text in ("a", "b", "c"):
        await mailbox.tell(Note(text))
    first = mailbox.open_inbox()
    await first.receive()
    first.receive_waiting(1)
    first.abandon(redeliver=True)
    assert mailbox.depth == 3
    second = mailbox.open_inbox()
    again = [await second.receive(), *second.receive_waiting(1)]
    assert [(e.message, e.redelivered) for e in again] == [(Note("a"), True), (Note("b"), True)]
    second.abandon(redeliver=True)
    third = mailbox.open_inbox()
    assert [e.message for e in third.receive_waiting(9)] == [Note("c")]


async def test_of_messages_that_came_together_a_crash_takes_only_the_one_being_handled(
    mailbox: Mailbox[Message],
) -> None:
    """And that one is given once more, where the actor wants it."""
    for redeliver, left in ((False, ["c", "d"]), (True, ["b", "c", "d"])):
        for text in ("a", "b", "c", "d"):
            assert mailbox.tell_nowait(Note(text))
        inbox = mailbox.open_inbox()
        await inbox.receive()
        await inbox.receive()  # in the same step of the reader
        inbox.abandon(redeliver=redeliver)
        again = mailbox.open_inbox().receive_waiting(9)
        assert [envelope.message for envelope in again] == [Note(text) for text in left]
        mailbox.open_inbox().abandon(redeliver=False)


async def test_what_a_life_published_is_not_taken_for_the_next_ones(
    mailbox: Mailbox[Message],
) -> None:
    context: Context[Message, str] = Context("echo", 1, mailbox.open_inbox())
    assert mailbox.published is None
    context.publish("as it is")
    assert mailbox.published == "as it is"
    mailbox.open_inbox()
    assert mailbox.published is None


async def test_a_message_whose_effect_is_published_is_not_given_again(
    mailbox: Mailbox[Message],
) -> None:
    inbox = mailbox.open_inbox()
    context: Context[Message, str] = Context("echo", 1, inbox)
    await mailbox.tell(Note("a"))
    await mailbox.tell(Note("b"))
    await inbox.receive()
    context.publish("a has taken effect")
    inbox.receive_waiting(1)
    inbox.abandon(redeliver=True)
    assert [e.message for e in mailbox.open_inbox().receive_waiting(9)] == [Note("b")]


async def test_a_message_that_was_finished_is_not_given_again(
    mailbox: Mailbox[Message], autojump_clock: MockClock
) -> None:
    inbox = mailbox.open_inbox()
    await mailbox.tell(Note("a"))
    await inbox.receive()
    with trio.move_on_after(1):
        await inbox.receive()
    inbox.abandon(redeliver=True)
    assert mailbox.depth == 0


async def test_on_a_stop_for_good_the_queue_is_read_to_its_end_and_senders_are_refused(
    mailbox: Mailbox[Message],
) -> None:
    inbox = mailbox.open_inbox()
    for number in range(4):
        await mailbox.tell(Note(str(number)))
    async with trio.open_nursery() as nursery:

        async def too_late() -> None:
            with pytest.raises(ActorStopped):
                await mailbox.tell(Note("waiting for room"))

        nursery.start_soon(too_late)
        await wait_all_tasks_blocked()
        mailbox.refuse()
    with pytest.raises(ActorStopped, match="echo is stopped"):
        await mailbox.tell(Note("late"))
    with pytest.raises(ActorStopped):
        mailbox.tell_nowait(Note("late"))
    with pytest.raises(ActorStopped):
        await mailbox.ask(Double(1), timeout=1)
    assert [e.message async for e in inbox] == [Note(str(number)) for number in range(4)]
    with pytest.raises(trio.EndOfChannel):
        await inbox.receive()


async def test_a_waiting_receive_ends_when_the_stop_is_for_a_restart(
    mailbox: Mailbox[Message],
) -> None:
    inbox = mailbox.open_inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, inbox)
        await wait_all_tasks_blocked()
        inbox.end()
    await mailbox.tell(Note("for the next one"))
    assert inbox.receive_nowait() is None
    assert [e.message for e in mailbox.open_inbox().receive_waiting(9)] == [
        Note("for the next one")
    ]


async def test_open_and_queued_asks_fail_when_the_actor_is_stopped_for_good(
    mailbox: Mailbox[Message],
) -> None:
    inbox = mailbox.open_inbox()
    async with asking(mailbox, 1) as open_ask, asking(mailbox, 2) as queued:
        await inbox.receive()
        mailbox.close()
        await wait_all_tasks_blocked()
        assert isinstance(open_ask(), ActorStopped)
        assert isinstance(queued(), ActorStopped)
    assert (mailbox.depth, mailbox.oldest_message_age(trio.current_time())) == (0, 0.0)


async def test_a_mailbox_opens_again_for_an_actor_that_comes_back(
    mailbox: Mailbox[Message],
) -> None:
    mailbox.open_inbox()
    mailbox.close()
    inbox = mailbox.open_inbox()
    await mailbox.tell(Note("back"))
    assert (await inbox.receive()).message == Note("back")

"""An answer arrives certainly or comes back."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import AskTimeout, Envelope, Mailbox, Reply
from tests.actors.echo import Double, Message, Note, asking, double, serve


@pytest.fixture
def mailbox() -> Mailbox[Message]:
    return Mailbox("echo", capacity=4)


async def test_an_ask_gets_its_answer(mailbox: Mailbox[Message]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox.open_inbox())
        assert await mailbox.ask(Double(21), timeout=1) == 42
        nursery.cancel_scope.cancel()


async def test_an_answer_may_come_later_and_from_elsewhere(mailbox: Mailbox[Message]) -> None:
    inbox = mailbox.open_inbox()
    async with asking(mailbox, 1) as first, asking(mailbox, 2) as second:
        kept = [await inbox.receive(), await inbox.receive()]
        await wait_all_tasks_blocked()
        assert (first(), second()) == (None, None)
        assert [double(envelope) for envelope in reversed(kept)] == [True, True]
    assert (first(), second()) == (2, 4)


async def test_an_ask_can_be_failed_with_an_error(mailbox: Mailbox[Message]) -> None:
    inbox = mailbox.open_inbox()
    async with asking(mailbox, 1) as answer:
        reply = (await inbox.receive()).reply
        assert reply is not None
        assert reply.fail(LookupError("none left"))
    assert isinstance(answer(), LookupError)


async def test_only_the_first_answer_counts_and_the_second_one_says_so(
    mailbox: Mailbox[Message],
) -> None:
    inbox = mailbox.open_inbox()
    async with asking(mailbox, 1) as answer:
        envelope = await inbox.receive()
        assert double(envelope)
        assert envelope.reply is not None
        assert not envelope.reply.send(99)
        assert not envelope.reply.fail(LookupError())
    assert answer() == 2


async def test_an_answer_in_the_very_moment_of_asking_is_not_lost(
    mailbox: Mailbox[Message],
) -> None:
    """The receiver runs while the asker has sent and does not wait yet."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox.open_inbox())
        for number in range(200):
            assert await mailbox.ask(Double(number), timeout=1) == 2 * number
        nursery.cancel_scope.cancel()


async def test_an_asker_that_left_gives_the_answer_back(
    mailbox: Mailbox[Message], autojump_clock: MockClock
) -> None:
    inbox = mailbox.open_inbox()
    async with asking(mailbox, 1, seconds=2) as answer:
        envelope = await inbox.receive()
        await trio.sleep(3)
        assert isinstance(answer(), AskTimeout)
        assert not double(envelope)


async def test_an_answer_handed_over_survives_the_cancellation_that_follows(
    mailbox: Mailbox[Message],
) -> None:
    """True means the asker has it: it was woken with the value before it was cancelled."""
    inbox = mailbox.open_inbox()
    leases: list[int] = []

    async def ask() -> None:
        leases.append(await mailbox.ask(Double(21), timeout=10))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        envelope = await inbox.receive()
        await wait_all_tasks_blocked()
        given = double(envelope)
        nursery.cancel_scope.cancel()
    assert (given, leases) == (True, [42])


async def test_an_asker_cancelled_before_the_answer_gives_it_back(
    mailbox: Mailbox[Message],
) -> None:
    inbox = mailbox.open_inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: mailbox.ask(Double(21), timeout=10))
        envelope = await inbox.receive()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        assert not double(envelope)


async def test_a_question_cannot_be_told(mailbox: Mailbox[Message]) -> None:
    with pytest.raises(TypeError, match="Double wants an answer"):
        await mailbox.tell(Double(1))
    with pytest.raises(TypeError, match="Double wants an answer"):
        mailbox.tell_nowait(Double(1))


def test_there_is_no_reply_to_a_question_that_the_envelope_does_not_carry() -> None:
    with pytest.raises(TypeError, match="no reply to Double"):
        Envelope(Note("x"), None, 0.0).reply_to(Double(1))
    with pytest.raises(TypeError, match="no reply to Double"):
        Envelope(Double(1), Reply(), 0.0).reply_to(Double(1))

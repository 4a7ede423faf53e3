"""Messages arrive once, in order, and wait for room."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import IN_A_ROW, AskTimeout, Mailbox
from tests.actors.echo import Double, Message, Note, serve


@pytest.fixture
def mailbox() -> Mailbox[Message]:
    return Mailbox("echo", capacity=4)


# ------------------------------------------------------------------------------ room and deadlines


async def test_a_sender_waits_for_room(mailbox: Mailbox[Message]) -> None:
    inbox = mailbox.open_inbox()
    for number in range(4):
        assert mailbox.tell_nowait(Note(str(number)))
    assert not mailbox.tell_nowait(Note("one too many"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.tell, Note("patient"))
        await wait_all_tasks_blocked()
        texts = [(await inbox.receive()).message for _ in range(5)]
    assert texts == [Note("0"), Note("1"), Note("2"), Note("3"), Note("patient")]
    assert mailbox.depth == 0


async def test_two_hundred_askers_at_once_are_all_served_by_a_mailbox_of_64() -> None:
    mailbox: Mailbox[Message] = Mailbox("echo")
    answers: list[int] = []

    async def ask(number: int) -> None:
        answers.append(await mailbox.ask(Double(number), timeout=5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox.open_inbox())
        async with trio.open_nursery() as askers:
            for number in range(200):
                askers.start_soon(ask, number)
        nursery.cancel_scope.cancel()
    assert sorted(answers) == [2 * number for number in range(200)]


async def test_askers_of_a_parked_actor_hear_so_at_their_deadline_and_are_never_executed(
    autojump_clock: MockClock,
) -> None:
    mailbox: Mailbox[Message] = Mailbox("echo")
    inbox = mailbox.open_inbox()
    ended_at: list[float] = []

    async def ask(number: int) -> None:
        with pytest.raises(AskTimeout, match="echo did not answer within 3 s"):
            await mailbox.ask(Double(number), timeout=3)
        ended_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for number in range(70):
            nursery.start_soon(ask, number)
    assert ended_at == [3.0] * 70
    assert mailbox.depth == 64
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.tell, Note("sent later"))
        assert (await inbox.receive()).message == Note("sent later")
    assert mailbox.depth == 0


async def test_a_deadline_that_is_over_already_sends_nothing(
    mailbox: Mailbox[Message], autojump_clock: MockClock
) -> None:
    with pytest.raises(AskTimeout):
        await mailbox.ask(Double(1), timeout=-1)
    assert mailbox.depth == 0


def test_a_mailbox_without_room_for_one_message_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Mailbox("none", capacity=0)


# ---------------------------------------------------------------------------------------- reading


async def test_a_receive_that_runs_out_of_time_loses_nothing(
    mailbox: Mailbox[Message], autojump_clock: MockClock
) -> None:
    inbox = mailbox.open_inbox()
    received: list[object] = []

    async def tell() -> None:
        for number in range(20):
            await trio.sleep(1)
            await mailbox.tell(Note(str(number)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        while len(received) < 20:
            with trio.move_on_after(0.5):
                received.append((await inbox.receive()).message)
    assert received == [Note(str(number)) for number in range(20)]


async def test_what_waits_is_read_in_one_step_of_the_reader() -> None:
    mailbox: Mailbox[Message] = Mailbox("echo")
    for number in range(40):
        mailbox.tell_nowait(Note(str(number)))
    inbox = mailbox.open_inbox()
    order: list[str] = []

    async def read() -> None:
        order.extend([(await inbox.receive()).message.text for _ in range(40)])  # type: ignore[union-attr]

    async def other() -> None:
        order.append("other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(other)
    assert order.index("other") in (0, 40)
    order.remove("other")
    assert order == [str(number) for number in range(40)]


async def test_a_reader_who_never_catches_up_gives_others_their_turn() -> None:
    mailbox: Mailbox[Message] = Mailbox("echo")
    inbox = mailbox.open_inbox()
    read = 0

    async def drown() -> None:
        nonlocal read
        while True:  # noqa: ASYNC913 - that is what is tested
            mailbox.tell_nowait(Note("one more"))
            await inbox.receive()
            read += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drown)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert 0 < read <= 3 * IN_A_ROW
        nursery.cancel_scope.cancel()
    assert mailbox.depth == 1, "cancelled, it left in the queue what it had not read"


async def test_whether_more_comes_at_once_is_known() -> None:
    mailbox: Mailbox[Message] = Mailbox("echo", capacity=2 * IN_A_ROW)
    inbox = mailbox.open_inbox()
    for _ in range(IN_A_ROW + 1):
        mailbox.tell_nowait(Note(""))
    more = []
    for _ in range(IN_A_ROW + 1):
        await inbox.receive()
        more.append(inbox.more())
    assert more == [*[True] * (IN_A_ROW - 1), False, False], "not when others have their turn first"


async def test_senders_get_room_in_the_order_in_which_they_came(
    autojump_clock: MockClock,
) -> None:
    """Also before one who comes when there is room, but who would overtake them."""
    mailbox: Mailbox[Message] = Mailbox("echo", capacity=1)
    inbox = mailbox.open_inbox()
    await mailbox.tell(Note("0"))
    texts: list[str] = []
    async with trio.open_nursery() as nursery:
        for number in range(1, 4):
            nursery.start_soon(mailbox.tell, Note(str(number)))
            await wait_all_tasks_blocked()
        for _ in range(4):
            texts.append((await inbox.receive()).message.text)  # type: ignore[union-attr]
            assert len(texts) > 3 or not mailbox.tell_nowait(Note("pushy"))
    assert texts == ["0", "1", "2", "3"]


async def test_a_batch_takes_what_is_waiting_up_to_a_limit(mailbox: Mailbox[Message]) -> None:
    inbox = mailbox.open_inbox()
    for number in range(4):
        await mailbox.tell(Note(str(number)))
    first = await inbox.receive()
    batch = inbox.receive_waiting(2)
    assert [envelope.message for envelope in [first, *batch]] == [Note("0"), Note("1"), Note("2")]
    assert inbox.receive_waiting(9) != []
    assert inbox.receive_waiting(9) == []
    assert inbox.receive_nowait() is None


async def test_the_age_of_the_oldest_message_counts_the_one_being_handled(
    mailbox: Mailbox[Message], autojump_clock: MockClock
) -> None:
    inbox = mailbox.open_inbox()
    assert mailbox.oldest_message_age(trio.current_time()) == 0.0
    await mailbox.tell(Note("old"))
    await trio.sleep(5)
    await mailbox.tell(Note("young"))
    await inbox.receive()
    await trio.sleep(2)
    assert mailbox.oldest_message_age(trio.current_time()) == pytest.approx(7.0)
    assert mailbox.depth == 1
    await inbox.receive()
    assert mailbox.oldest_message_age(trio.current_time()) == pytest.approx(2.0)
    with trio.move_on_after(1):
        await inbox.receive()
    assert mailbox.oldest_message_age(trio.current_time()) == 0.0


async def test_the_age_counts_senders_that_wait_for_room(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[Message] = Mailbox("echo", capacity=1)
    inbox = mailbox.open_inbox()
    await mailbox.tell(Note("first"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.tell, Note("second"))
        await trio.sleep(4)
        await inbox.receive()
        await trio.sleep(1)
        await inbox.receive()
        assert mailbox.oldest_message_age(trio.current_time()) == pytest.approx(5.0)


async def test_a_sender_cancelled_while_it_waits_for_room_leaves_no_trace(
    autojump_clock: MockClock,
) -> None:
    mailbox: Mailbox[Message] = Mailbox("echo", capacity=1)
    inbox = mailbox.open_inbox()
    await mailbox.tell(Note("first"))
    with trio.move_on_after(1):
        await mailbox.tell(Note("second"))
    assert inbox.receive_nowait() is not None
    assert inbox.receive_nowait() is None
    with trio.move_on_after(1):
        await inbox.receive()
    assert mailbox.oldest_message_age(trio.current_time()) == 0.0

"""A question is put again when the actor crashes over it, within one deadline."""

from __future__ import annotations

import pytest
import trio

from actors.asking import ASKS_MAX, insist
from actors.mailbox import ActorCrashed, AskTimeout, Mailbox
from protocol.question import Question


class Ping(Question[str], frozen=True):
    """Answered with "pong"."""


async def crash_then_answer(mailbox: Mailbox[Ping], crashes: int) -> None:
    """Reads a question and crashes, so often; then answers the next."""
    for _ in range(crashes):
        inbox = mailbox.open_inbox()
        await inbox.receive()
        inbox.abandon(redeliver=False)
        await trio.sleep(1)
    envelope = await mailbox.open_inbox().receive()
    envelope.reply_to(envelope.message).send("pong")


async def test_two_crashes_cost_time_and_no_answer(autojump_clock: object) -> None:
    """The third life answers."""
    mailbox: Mailbox[Ping] = Mailbox("fragile")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_then_answer, mailbox, 2)
        assert await insist(mailbox, Ping(), timeout=10) == "pong"


async def test_all_lives_together_have_one_deadline(autojump_clock: object) -> None:
    """An actor that crashes and is slow to come back does not keep its asker for ever."""
    mailbox: Mailbox[Ping] = Mailbox("slow")
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_then_answer, mailbox, 1)
        with pytest.raises(AskTimeout):
            await insist(mailbox, Ping(), timeout=0.5)
        assert trio.current_time() - began == pytest.approx(0.5)
        nursery.cancel_scope.cancel()


async def test_a_question_that_crashes_its_actor_every_time_is_not_put_for_ever(
    autojump_clock: object,
) -> None:
    """Three crashes are within what one actor may have; then it is the question's fault."""
    mailbox: Mailbox[Ping] = Mailbox("poisoned")
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_then_answer, mailbox, 1000)
        with pytest.raises(ActorCrashed):
            await insist(mailbox, Ping(), timeout=60)
        assert trio.current_time() - began == pytest.approx(ASKS_MAX - 1)
        nursery.cancel_scope.cancel()

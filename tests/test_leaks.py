"""What is looked for after every test is found when it is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from actors.mailbox import Mailbox
from protocol.question import Question
from tests.kit.leaks import DESCRIPTORS, descriptors, left_behind, waiting_at_mailboxes


class Ask(Question[int], frozen=True):
    """Anything."""


@pytest.mark.promise("A8", control=True)
@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="this system does not tell what is open")
def test_a_descriptor_that_is_left_is_found_even_under_a_number_that_was_used_before() -> None:
    def pair() -> Iterator[socket.socket]:
        yield from socket.socketpair()

    first, second = pair()
    before = descriptors()
    first.close()
    third, fourth = pair()
    assert len(left_behind(before)) == 2
    for one in (second, third, fourth):
        one.close()
    assert left_behind(before) == []


@pytest.mark.promise("A8", control=True)
async def test_a_sender_and_an_asker_who_wait_are_found(autojump_clock: object) -> None:
    mailbox: Mailbox[object] = Mailbox("parked", capacity=1)
    inbox = mailbox.open_inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: mailbox.ask(Ask(), timeout=9e9))
        await trio.sleep(1)
        assert waiting_at_mailboxes() == ["an asker waits at parked"]
        await inbox.receive()
        assert waiting_at_mailboxes() == ["an asker waits at parked"], "read, and not answered"
        assert mailbox.tell_nowait("one")
        nursery.start_soon(mailbox.tell, "no room")
        await trio.sleep(1)
        assert "1 senders wait at parked" in waiting_at_mailboxes()
        nursery.cancel_scope.cancel()
    assert waiting_at_mailboxes() == []

"""A response is held back until it is committed, and never turns back after that."""

from __future__ import annotations

import trio

from protocol.request import RequestHead
from protocol.usage import UsageMeter
from server.delivery import Delivery


class Client:
    """An exchange that notes what it is given."""

    def __init__(self, method: str = "POST") -> None:
        self.head = RequestHead(method, b"/", ())
        self.seen: list[object] = []

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await trio.lowlevel.checkpoint()
        self.seen.append(status)

    async def send(self, chunk: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.seen.append(chunk)

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()
        self.seen.append("end")


def delivery_to(client: Client, committed: list[str]) -> Delivery:
    """A delivery of a 200."""
    return Delivery(
        client,
        200,
        [],
        lambda: committed.append("committed"),
        lambda: committed.append("delivered"),
    )  # type: ignore[arg-type]


async def test_nothing_is_seen_before_the_commit_and_all_of_it_after() -> None:
    """Held pieces go out as one, later ones as they come."""
    client, committed = Client(), list[str]()
    delivery = delivery_to(client, committed)
    await delivery.add(b"a")
    await delivery.add(b"b")
    assert (client.seen, committed, delivery.started) == ([], [], False)
    await delivery.commit()
    await delivery.add(b"c")
    await delivery.finish()
    assert client.seen == [200, b"ab", b"c", "end"]
    assert committed == ["committed", "delivered"]
    assert delivery.bytes_out == 3


async def test_an_abandoned_delivery_gives_back_what_it_held_and_a_late_commit_does_nothing() -> (
    None
):
    client, committed = Client(), list[str]()
    delivery = delivery_to(client, committed)
    await delivery.add(b"held")
    assert delivery.abandon() == b"held"
    await delivery.commit()
    assert (client.seen, committed) == ([], [])


async def test_a_head_request_gets_no_body() -> None:
    """Its length is counted all the same."""
    client = Client("HEAD")
    delivery = delivery_to(client, [])
    await delivery.add(b"body")
    await delivery.finish()
    assert client.seen == [200, b"", "end"]


async def test_a_body_of_known_length_is_delivered_with_its_last_byte() -> None:
    """The client may close right then, before anybody says that this was the end."""
    noted: list[str] = []
    client = Client()
    delivery = Delivery(
        client,  # type: ignore[arg-type]
        200,
        [(b"Content-Length", b"4")],
        lambda: None,
        lambda: noted.append("delivered"),
    )
    await delivery.commit()
    await delivery.add(b"ab")
    assert noted == []
    await delivery.add(b"cd")
    assert noted == ["delivered"]


def metered(client: Client, noted: list[str], meter: UsageMeter) -> Delivery:
    """A delivery of a stream."""
    return Delivery(client, 200, [], lambda: None, lambda: noted.append("delivered"), meter)  # type: ignore[arg-type]


async def test_a_stream_is_delivered_with_its_last_event() -> None:
    """Its client may close right then; the bytes themselves pass as they came."""
    noted, client = list[str](), Client()
    delivery = metered(client, noted, UsageMeter(events=True))
    await delivery.commit()
    await delivery.add(b"event: message_stop\ndata: {}\n")
    assert noted == []
    await delivery.add(b"\n")
    assert noted == ["delivered"]
    assert client.seen == [200, b"event: message_stop\ndata: {}\n", b"\n"]


async def test_a_last_event_that_is_still_held_has_not_been_delivered() -> None:
    """Only the commit hands it over."""
    noted, client = list[str](), Client()
    delivery = metered(client, noted, UsageMeter(events=True))
    await delivery.add(b"event: message_stop\n\n")
    assert noted == []
    await delivery.commit()
    assert noted == ["delivered"]

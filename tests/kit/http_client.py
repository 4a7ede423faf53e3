"""A small HTTP/1.1 client over any trio stream, for tests in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import h11
import msgspec
import trio

from tests.kit import canaries


class Received(msgspec.Struct):
    """A response as far as it came. `complete`: it ended as its framing says."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = []
    body: bytes = b""
    complete: bool = False

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key == name.encode():
                return value.decode()
        return None

    def json(self) -> object:
        return json.loads(self.body)


class MemoryClient:
    """One connection; requests one after the other."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._parser = h11.Connection(h11.CLIENT)

    async def post(
        self, target: str, document: object, headers: Mapping[str, str] | None = None
    ) -> Received:
        """Sends `document` (bytes go as they are) and reads the whole answer."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        await self.send("POST", target, body, headers)
        received = await self.receive()
        canaries.answered(target, received.body)
        return received

    async def get(self, target: str, headers: Mapping[str, str] | None = None) -> Received:
        """A GET and its whole answer."""
        await self.send("GET", target, None, headers)
        received = await self.receive()
        canaries.answered(target, received.body)
        return received

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Sends a request, and reads nothing."""
        sent = {"host": "localhost", **(headers or {})}
        if body is not None:
            sent.setdefault("content-type", "application/json")
            sent["content-length"] = str(len(body))
        fields = [(name.encode(), value.encode()) for name, value in sent.items()]
        events: Iterable[h11.Event] = [h11.Request(method=method, target=target, headers=fields)]
        data = b"".join(self._parser.send(event) or b"" for event in events)
        if body:
            data += self._parser.send(h11.Data(data=body)) or b""
        data += self._parser.send(h11.EndOfMessage()) or b""
        await self.stream.send_all(data)

    async def receive(self) -> Received:
        """Reads a response to its end, or to where the connection broke."""
        received = await self.receive_head()
        while await self.receive_more(received):
            pass
        return received

    async def receive_head(self) -> Received:
        """Reads up to the response head; status 0 when the connection ended before it."""
        received = Received()
        while received.status == 0 and await self._advance(received):
            pass
        return received

    async def receive_more(self, received: Received) -> bool:
        """Reads a little more of the body; False at its end."""
        return not received.complete and await self._advance(received)

    async def leave(self) -> None:
        """Closes the connection."""
        await self.stream.aclose()

    async def _advance(self, received: Received) -> bool:
        try:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                self._parser.receive_data(await self.stream.receive_some(65536))
                return True
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            return False
        if isinstance(event, h11.Response):
            received.status, received.headers = event.status_code, list(event.headers)
        elif isinstance(event, h11.Data):
            received.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            received.complete = True
            if self._parser.our_state is h11.DONE:
                self._parser.start_next_cycle()
        elif isinstance(event, h11.ConnectionClosed):
            return False
        return True

"""Usage that a client of OpenAI's dialect did not ask for.

Providers tell what a stream has used only to who asks for it. A key with a limit of tokens or dollars
would never spend any by not asking. So for such a key it is always asked for, and the chunk that tells
it goes to the client only where that wanted it: some fail at a chunk without choices. Everybody
else's body stays as it came.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from protocol.peek import read_json
from protocol.request import RequestHead
from server.exchange import Exchange

KEPT_BYTES_MAX = 256 * 1024
"""Of one event; a longer one passes as it comes, and so does what follows it."""

_END = re.compile(rb"\r?\n\r?\n")
_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw])
_document = msgspec.json.Decoder(dict[str, Any])


def asking_for_usage(body: bytes) -> bytes:
    """`body` with `stream_options.include_usage`; the body itself where it is asked for already,
    where it asks for no stream, or cannot be read."""
    fields = read_json(_top_level, body)
    if fields is None or bytes(fields.get("stream", b"")) != b"true":
        return body
    given = bytes(fields.get("stream_options", b"null"))
    options = {} if given == b"null" else read_json(_document, given)
    if options is None or options.get("include_usage") is True:
        return body
    options["include_usage"] = True
    return msgspec.json.encode({**fields, "stream_options": options})


class UnaskedUsage:
    """Wraps the client's exchange for one attempt: the chunk with nothing but usage is left out."""

    withheld = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._streams = False
        self._kept = b""

    @property
    def head(self) -> RequestHead:
        return self._exchange.head

    def body(self) -> AsyncGenerator[bytes, None]:
        return self._exchange.body()

    async def gone(self) -> None:
        await self._exchange.gone()

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        told = {name.lower(): value.strip().lower() for name, value in headers}
        plain = told.get(b"content-encoding", b"") in (b"", b"identity")
        self._streams = plain and told.get(b"content-type", b"").startswith(b"text/event-stream")
        if self._streams:
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        await self._exchange.start(status, headers)

    async def send(self, chunk: bytes) -> None:
        if not self._streams or not chunk:
            await self._exchange.send(chunk)
            return
        kept, place, said = self._kept + chunk, 0, []
        for end in _END.finditer(kept, max(len(self._kept) - 3, 0)):  # an end may lie between two
            event = kept[place : end.end()]
            place = end.end()
            if not _is_usage_alone(event):
                said.append(event)
        self._kept = kept[place:]
        if len(self._kept) > KEPT_BYTES_MAX:
            said.append(self._kept)
            self._kept, self._streams = b"", False
        if said:
            await self._exchange.send(b"".join(said))

    async def finish(self) -> None:
        if self._kept and not _is_usage_alone(self._kept):
            await self._exchange.send(self._kept)
        await self._exchange.finish()


def _is_usage_alone(event: bytes) -> bool:
    if b'"usage"' not in event:
        return False
    _, found, data = event.strip().partition(b"data:")
    chunk = read_json(_document, data) if found else None
    return chunk is not None and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)

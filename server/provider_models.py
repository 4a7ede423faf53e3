"""`GET /v1/models`: Anthropic's list with the providers' models and the aliases after it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from protocol.config import Config
from protocol.config.model import Provider
from protocol.model_list import anthropic_page, merged, openai_page, read_page
from protocol.peek import read_json
from protocol.providers import Providers, foreign_models
from protocol.request import RequestHead, of_openai, without_alias
from protocol.translation.answer_openai import error_body
from server.authored import request_id_header
from server.exchange import Exchange
from server.foreign import Foreign
from server.provider_count import fetched
from server.provider_request import (
    ANTHROPIC_VERSION,
    anthropic_target,
    gemini_version,
    headers_for,
)
from server.record import Record
from server.upstream_port import UpstreamRequest
from server.wrapped_exchange import WrappedExchange

Json = dict[str, Any]

_document = msgspec.json.Decoder(dict[str, Any])
_LENGTH = frozenset({b"content-length", b"content-type"})


async def models_exchange(exchange: Exchange, foreign: Foreign, record: Record) -> Exchange | None:
    """What to answer the accounts' list on; None: a model of ours was asked for, and is answered."""
    config, head = foreign.config(), exchange.head
    openai = of_openai(head, record.route)
    ours = bool(config.providers or config.models.aliases)
    if not (ours or (openai and foreign.pool())):
        return exchange
    state = await foreign.known() if ours else Providers()
    created = int(record.at) if openai else None
    wanted = _one(head)
    if not wanted:
        return _Merging(exchange, config, state, created)
    entry = next((one for one in own_models(config, state) if one["id"] == wanted), None)
    if entry is None:
        return _Merging(exchange, config, state, created)
    await _answer(exchange, entry if created is None else _openai(entry, created), record)
    return None


async def list_of(foreign: Foreign, provider: Provider) -> tuple[str, ...] | None:
    """The names that `provider` lists itself; None when it does not. The caller bounds the time."""
    match provider.dialect:
        case "anthropic":
            path = anthropic_target(provider, "/models") + b"?limit=1000"
        case "gemini":
            path = f"{gemini_version(provider)}/models?pageSize=1000".encode()
        case _:
            path = b"/models"
    request = UpstreamRequest("GET", path, headers_for(provider), b"")
    body = await fetched(foreign.upstream(provider.base_url), request)
    document = None if body is None else read_json(_document, body)
    return None if document is None else tuple(read_page(document))


class _Merging(WrappedExchange):
    """Collects Anthropic's answer; a good one is merged, any other is the client's as it is.

    `created` (epoch seconds) for a caller of OpenAI's kind, None for one of Anthropic's.
    """

    def __init__(
        self, exchange: Exchange, config: Config, state: Providers, created: int | None
    ) -> None:
        super().__init__(exchange)
        self._config = config
        self._state = state
        self._created = created
        self._status = 200
        self._changes = True
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self.withheld = False

    @property
    def head(self) -> RequestHead:
        """Asks for the list also where only its head is wanted: its length is another one here."""
        head = msgspec.structs.replace(self._exchange.head, method="GET")
        if self._created is None:
            return head
        version = (b"anthropic-version", ANTHROPIC_VERSION)
        return msgspec.structs.replace(head, headers=(*head.headers, version))

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status, self._headers = status, headers
        # An error passes as it is, but for who reads another dialect.
        self.withheld = status == 200 or (status >= 400 and self._created is not None)
        self._changes = self.withheld
        if not self._changes:
            await self._exchange.start(status, headers)

    async def send(self, chunk: bytes) -> None:
        if self._changes:
            self._body += chunk
        else:
            await self._send(chunk)

    async def finish(self) -> None:
        self.withheld = False
        if self._changes:
            told = bytes(self._body)
            good = self._status == 200
            body = self._merged(told) if good else error_body(self._status, told)
            kept = [pair for pair in self._headers if pair[0].lower() not in _LENGTH]
            added = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ]
            await self._exchange.start(self._status, [*added, *kept])
            await self._send(body)
        await self._exchange.finish()

    async def _send(self, chunk: bytes) -> None:
        await self._exchange.send(b"" if self._exchange.head.method == "HEAD" else chunk)

    def _merged(self, body: bytes) -> bytes:
        document = read_json(_document, body)
        if document is None:
            return body
        data = document.get("data")
        if not isinstance(data, list):
            if self._created is None or not isinstance(document.get("id"), str):
                return body
            return msgspec.json.encode(_openai(document, self._created))
        theirs = [entry for entry in data if isinstance(entry, dict)]
        # Ours stand at the end of the last page.
        whole = document.get("has_more") is not True and not _asks_backwards(self.head)
        entries = _joined(theirs, self._config, self._state) if whole else theirs
        if self._created is not None:
            return msgspec.json.encode(openai_page(entries, self._created))
        return msgspec.json.encode({**document, **anthropic_page(entries)} if whole else document)


def _joined(theirs: list[Json], config: Config, state: Providers) -> list[Json]:
    models = config.models
    return merged(theirs, foreign_models(config, state), models.aliases, models.long_context)


def own_models(config: Config, state: Providers) -> list[Json]:
    """The providers' models and the aliases, without Anthropic's."""
    return _joined([], config, state)


def _openai(entry: Json, created: int) -> Json:
    made: Json = openai_page([entry], created)["data"][0]
    return made


def _one(head: RequestHead) -> str:
    """The model of `/v1/models/{id}`, else ""."""
    return unquote(without_alias(head.path).removeprefix("/v1/models").strip("/"))


def _asks_backwards(head: RequestHead) -> bool:
    query = head.target.partition(b"?")[2].decode("ascii", "replace")
    return "before_id" in parse_qs(query)


async def _answer(exchange: Exchange, document: Json, record: Record) -> None:
    body = msgspec.json.encode(document)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await exchange.start(200, [*headers, *request_id_header(record)])
    if exchange.head.method != "HEAD":
        await exchange.send(body)
        record.bytes_out = len(body)
    record.complete()
    record.status = 200
    await exchange.finish()

"""Counting the tokens of a request that is a provider's: its own number, else an estimate."""

from __future__ import annotations

import msgspec
import trio

from protocol.config.model import Provider
from protocol.destination import Destination
from protocol.providers import provider_named
from protocol.token_estimate import estimated
from protocol.translation import to_gemini
from protocol.translation.foreign_state import own_state
from protocol.translation.read_anthropic import read_request
from protocol.translation.refusal import Untranslatable
from server.attempt import ERROR_BODY_BYTES_MAX
from server.authored import author, request_id_header
from server.exchange import Exchange
from server.foreign import Foreign
from server.provider_request import (
    anthropic_target,
    document_of,
    for_compatible,
    gemini_target,
    headers_for,
    post,
)
from server.record import Record
from server.upstream_port import Upstream, UpstreamFault, UpstreamRequest

COUNT_SECONDS = 10.0
"""A client that counts waits for the number before it goes on."""

ESTIMATED = (b"x-supervisor-estimate", b"true")


async def count_elsewhere(
    exchange: Exchange, body: bytes, destination: Destination, foreign: Foreign, record: Record
) -> None:
    """Answers the client."""
    record.provider, record.served_model = destination.provider, destination.model
    try:
        document = document_of(body)
    except Untranslatable as refusal:
        await author(exchange, record, refusal.problem)
        return
    provider = provider_named(foreign.config(), destination.provider)
    tokens: int | None = None
    if provider is not None:
        request = _request(provider, destination.model, body)
        if request is not None:
            record.attempts += 1
            tokens = await _asked(foreign.upstream_for(provider, record), request)
    added = [*request_id_header(record)]
    if tokens is None:
        tokens = estimated(document)
        added.append(ESTIMATED)
    answer = msgspec.json.encode({"input_tokens": tokens})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer)).encode()),
    ]
    await exchange.start(200, [*headers, *added])
    await exchange.send(answer)
    record.bytes_out = len(answer)
    record.complete()
    record.status = 200
    await exchange.finish()


def _request(provider: Provider, model: str, body: bytes) -> UpstreamRequest | None:
    """None: this provider counts nothing, or not this."""
    match provider.dialect:
        case "anthropic":
            target = anthropic_target(provider, "/messages/count_tokens")
            body = for_compatible(provider, model, body)
            return UpstreamRequest("POST", target, headers_for(provider), body)
        case "gemini":
            try:
                conversation = own_state(read_request(document_of(body)), provider.name)
                written = to_gemini.write_request(conversation, model)
            except Untranslatable:
                return None
            asked = {"generateContentRequest": {"model": f"models/{model}", **written}}
            return post(
                provider, gemini_target(provider, model, "countTokens"), asked, stream=False
            )
    return None


async def _asked(upstream: Upstream, request: UpstreamRequest) -> int | None:
    with trio.move_on_after(COUNT_SECONDS):
        body = await fetched(upstream, request)
        return None if body is None else _tokens(body)
    return None


async def fetched(upstream: Upstream, request: UpstreamRequest) -> bytes | None:
    """The body of a good answer; None for any other. The caller bounds the time."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with upstream.send(request) as response:
            if response.status != 200:
                return None
            async with response.chunks() as chunks:
                async for chunk in chunks:
                    pieces.append(chunk)
                    size += len(chunk)
                    if size > ERROR_BODY_BYTES_MAX:
                        return None
    except UpstreamFault:
        return None
    return b"".join(pieces)


def _tokens(body: bytes) -> int | None:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(document, dict):
        return None
    for name in ("input_tokens", "totalTokens"):
        tokens = document.get(name)
        if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0:
            return tokens
    return None

"""One attempt at a provider of another dialect: sent, translated back, delivered or told why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from protocol.accounts import Scope
from protocol.held_stream import HEADERS
from protocol.limits_evidence import read_retry_after
from protocol.peek import ErrorInfo
from protocol.providers import Fault, fault_of
from protocol.request import Headers
from protocol.secrets import scrub
from protocol.sse import Event, EventScanner
from protocol.translation.provider_error import ProviderError, read_failure, retry_delay
from protocol.translation.writer import encode_event
from protocol.usage import Usage
from protocol.verdict import Action, FaultKind, Verdict
from server.attempt import ERROR_BODY_BYTES_MAX, Failed, Served
from server.delivery import Delivery
from server.provider_request import Translated, Translator
from server.upstream_port import Upstream, UpstreamFault, UpstreamResponse

Json = dict[str, Any]
OpenDelivery = Callable[[list[tuple[bytes, bytes]]], Delivery]

WHOLE_BYTES_MAX = 64 * 1024 * 1024
"""Of an answer, or of one event of a stream, that has to be in memory to be translated."""

_PREFACE = frozenset({"message_start", "ping"})


class Spoken:
    """What came of an attempt beside its result."""

    def __init__(self) -> None:
        self.usage: Usage | None = None


async def converse(
    upstream: Upstream, sent: Translated, open_delivery: OpenDelivery, spoken: Spoken
) -> Failed | Served:
    """Sends `sent` and delivers the answer in Anthropic's dialect.

    Nothing reaches the client before the first content; until then a failure is a `Failed`.
    """
    try:
        async with upstream.send(sent.request) as response:
            if response.status >= 300:
                body = await _read(response, ERROR_BODY_BYTES_MAX)
                error = read_failure(_as_error(response.status), body)
                return failed(error, _seconds(response.headers, body))
            if sent.stream:
                return await _stream(response, sent, open_delivery(list(HEADERS)), spoken)
            return await _whole(response, sent, open_delivery, spoken)
    except UpstreamFault as fault:
        return unreached(fault)
    except ProviderError as error:
        return failed(error)


def failed(error: ProviderError, seconds: float | None = None) -> Failed:
    """As an Anthropic error in the provider's own words, nothing secret in them."""
    message = scrub(error.message)
    info = ErrorInfo(error.type, message)
    body = msgspec.json.encode({"type": "error", "error": {"type": error.type, "message": message}})
    verdict = verdict_of(fault_of(error.status, message), seconds)
    detail = f"{error.status} {error.type} {message}"
    headers = ((b"content-type", b"application/json"),)
    return Failed(verdict, detail, error.status, headers, body, info)


def unreached(fault: UpstreamFault) -> Failed:
    """The provider did not answer, or not to the end."""
    return Failed(verdict_of("server"), f"{fault.kind.value}: {fault.detail}")


def verdict_of(fault: Fault, seconds: float | None = None) -> Verdict:
    """For the explanation of the request; `fault` is the reason."""
    scope = Scope.REQUEST if fault in ("request", "model") else Scope.PROVIDER
    return Verdict(Action.NEXT, scope, fault, seconds)


def _as_error(status: int) -> int:
    return status if status >= 400 else 502  # a redirect is never followed


def _seconds(headers: Headers, body: bytes) -> float | None:
    told = read_retry_after(headers)
    return retry_delay(body) if told is None else told


async def _read(response: UpstreamResponse, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async with response.chunks() as chunks:
        async for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size > limit:
                raise UpstreamFault(FaultKind.PROTOCOL, "an answer without end")
    return b"".join(pieces)


async def _whole(
    response: UpstreamResponse, sent: Translated, open_delivery: OpenDelivery, spoken: Spoken
) -> Served:
    body = await _read(response, WHOLE_BYTES_MAX)
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        answer = None
    if not isinstance(answer, dict):
        raise ProviderError(502, "api_error", "the provider's answer is no JSON object")
    message = sent.whole(answer)
    spoken.usage = _usage(message["usage"])
    written = msgspec.json.encode(message)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(written)).encode()),
    ]
    delivery = open_delivery(headers)
    await delivery.add(written)
    await delivery.finish()
    return Served("complete")


def _usage(usage: Json) -> Usage:
    return Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_tokens=usage["cache_read_input_tokens"],
        cache_write_tokens=usage["cache_creation_input_tokens"],
    )


async def _stream(
    response: UpstreamResponse, sent: Translated, delivery: Delivery, spoken: Spoken
) -> Served:
    translator = sent.translator()
    terminal = ""
    try:
        try:
            terminal = await _translate(response, translator, delivery)
        except UpstreamFault as fault:
            stalled = fault.kind is FaultKind.TIMEOUT
            words = f"the provider's stream broke off: {scrub(fault.detail)}"
            error = ProviderError(504 if stalled else 502, "api_error", words)
            await _pass_on(translator.fail(error), delivery)
            terminal = "stall" if stalled else "upstream_closed"
    finally:
        # Also when the client left in the middle: the last numbers told are not the final ones.
        cut = terminal != "complete"
        spoken.usage = msgspec.structs.replace(translator.usage, partial=cut)
    await delivery.finish()
    return Served(terminal)


async def _translate(response: UpstreamResponse, translator: Translator, delivery: Delivery) -> str:
    """How it ended. Raises UpstreamFault, and ProviderError while nothing was shown."""
    if _is_json(response.headers):  # a server that knows no streams gives the whole answer
        whole = Event("", await _read(response, WHOLE_BYTES_MAX))
        return await _pass_on([*translator.feed(whole), *translator.finish()], delivery)
    # A call may be as large as the file that it writes, and Gemini gives it in one event.
    scanner = EventScanner(WHOLE_BYTES_MAX)
    async with response.chunks() as chunks:
        async for chunk in chunks:
            for event in scanner.feed(chunk):
                ended = await _pass_on(translator.feed(event), delivery)
                if ended:
                    return ended
    # The last event may lack the empty line that ends it.
    rest = [out for event in scanner.feed(b"\n\n") for out in translator.feed(event)]
    return await _pass_on([*rest, *translator.finish()], delivery)


async def _pass_on(events: Iterable[Json], delivery: Delivery) -> str:
    """The terminal word once the answer is over, else "".

    An error before any content is raised: somebody else may serve.
    """
    terminal = ""
    pieces: list[bytes] = []
    content = False
    for event in events:
        kind = event["type"]
        if kind == "error":
            terminal = "upstream_error"
            error = event["error"]
            if not (delivery.started or content):
                raise ProviderError(_status_of(error["type"]), error["type"], error["message"])
            event = {**event, "error": {**error, "message": scrub(error["message"])}}
        elif kind == "message_stop":
            terminal = "complete"
        content = content or kind not in _PREFACE
        pieces.append(encode_event(event))
    if pieces:
        await delivery.add(b"".join(pieces))
        if content:
            await delivery.commit()
    return terminal


_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "timeout_error": 504,
}


def _status_of(error_type: str) -> int:
    return _STATUS_OF_TYPE.get(error_type, 502)


def _is_json(headers: Headers) -> bool:
    return any(
        name.lower() == b"content-type" and value.strip().lower().startswith(b"application/json")
        for name, value in headers
    )

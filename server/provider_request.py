"""A client's request as a provider gets it: address, headers, body, and how to read the answer.

Nothing of the client's headers goes along: they are credentials, Anthropic's own betas, and words
about the client (`peers.md` P21, P22). The headers are written from nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from protocol.body_edit import with_model, without_identity
from protocol.config.model import Provider
from protocol.peek import read_json
from protocol.sse import Event
from protocol.translation import from_gemini, from_openai, to_gemini, to_openai
from protocol.translation.foreign_state import own_state
from protocol.translation.provider_error import ProviderError
from protocol.translation.quirks import quirks_for
from protocol.translation.read_anthropic import read_request
from protocol.translation.refusal import Untranslatable
from protocol.translation.returning import without_foreign_state
from protocol.usage import Usage
from server.upstream_port import UpstreamRequest

Json = dict[str, Any]
Header = tuple[bytes, bytes]

ANTHROPIC_VERSION = b"2023-06-01"

_document = msgspec.json.Decoder(dict[str, Any])


class Translator(Protocol):
    """A stream's machine (`protocol.translation.from_openai`, `from_gemini`)."""

    usage: Usage

    def feed(self, event: Event) -> list[Json]: ...

    def finish(self) -> list[Json]: ...

    def fail(self, error: ProviderError) -> list[Json]: ...


class Translated(msgspec.Struct, frozen=True):
    """`translator` for an answer that comes as a stream, `whole` for one that does not."""

    request: UpstreamRequest
    stream: bool
    translator: Callable[[], Translator]
    whole: Callable[[Json], Json]


def headers_for(provider: Provider, *, stream: bool = False) -> list[Header]:
    """The provider's own key in the place where its dialect has it, and the configured headers.

    A configured header replaces one of the same name.
    """
    accept = b"text/event-stream" if stream else b"application/json"
    made = [
        (b"content-type", b"application/json"),
        (b"accept", accept),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"llm-supervisor"),
    ]
    if provider.dialect == "anthropic":
        made.append((b"anthropic-version", ANTHROPIC_VERSION))
    if provider.api_key:
        key = provider.api_key.reveal().encode()
        match provider.dialect:
            case "openai":
                made.append((b"authorization", b"Bearer " + key))
            case "gemini":
                made.append((b"x-goog-api-key", key))
            case "anthropic":
                made.append((b"x-api-key", key))
    own = [(name.lower().encode(), value) for name, value in provider.headers.items()]
    names = {name for name, _ in own}
    kept = [header for header in made if header[0] not in names]
    return kept + [(name, value.reveal().encode()) for name, value in own]


def translated(
    provider: Provider, model: str, body: bytes, message_id: str, most: int | None = None
) -> Translated:
    """An Anthropic request in the provider's dialect (openai or gemini), for an answer of no more
    than `most` tokens.

    Raises Untranslatable for what this provider cannot be told.
    """
    conversation = own_state(read_request(document_of(body)), provider.name)
    if most is not None:
        conversation = conversation.at_most(most)
    asked = (conversation.names(), message_id, model, provider.name, conversation.call_ids())
    if provider.dialect == "gemini":
        request = to_gemini.write_request(conversation, model)
        method = "streamGenerateContent?alt=sse" if conversation.stream else "generateContent"
        return Translated(
            post(provider, gemini_target(provider, model, method), request, conversation.stream),
            conversation.stream,
            lambda: from_gemini.GeminiStream(*asked),
            lambda answer: from_gemini.GeminiStream(*asked).whole(answer),
        )
    quirks = quirks_for(provider.base_url)
    request = to_openai.write_request(conversation, model, quirks)
    stops = () if quirks.stops(model) else conversation.sampling.stop
    return Translated(
        post(provider, openai_target(provider), request, conversation.stream),
        conversation.stream,
        lambda: from_openai.OpenAIStream(*asked, stops),
        lambda answer: from_openai.OpenAIStream(*asked, stops).whole(answer),
    )


def same_dialect(provider: Provider, model: str, body: bytes, *, stream: bool) -> UpstreamRequest:
    """The client's own body with another model's name, and nothing in it that is for others alone."""
    if provider.dialect == "openai":
        target, body = openai_target(provider), with_model(body, model)
    else:
        target, body = (
            anthropic_target(provider, "/messages"),
            for_compatible(provider, model, body),
        )
    return UpstreamRequest("POST", target, headers_for(provider, stream=stream), body)


def for_compatible(provider: Provider, model: str, body: bytes) -> bytes:
    """A body for an Anthropic-compatible provider."""
    return without_foreign_state(without_identity(with_model(body, model)), provider.name)


def document_of(body: bytes) -> Json:
    """A request's body as an object. Raises Untranslatable."""
    document = read_json(_document, body)
    if document is None:
        raise Untranslatable("the request body is no JSON object")
    return document


def post(provider: Provider, target: bytes, document: Json, stream: bool) -> UpstreamRequest:
    """`document` sent to `target`."""
    headers = headers_for(provider, stream=stream)
    return UpstreamRequest("POST", target, headers, msgspec.json.encode(document))


def openai_target(provider: Provider) -> bytes:
    """Below the base URL, which may name the whole path already."""
    return b"" if _path(provider).endswith("/chat/completions") else b"/chat/completions"


def anthropic_target(provider: Provider, what: str) -> bytes:
    """`what` of the Messages API; a base URL is written with or without its `/v1`."""
    path = _path(provider)
    if path.endswith(what):
        return b""
    return (what if path.endswith("/v1") else f"/v1{what}").encode()


def gemini_target(provider: Provider, model: str, method: str) -> bytes:
    """A method of a model."""
    name = quote(model.removeprefix("models/"), safe="")
    return f"{gemini_version(provider)}/models/{name}:{method}".encode()


def gemini_version(provider: Provider) -> str:
    """The version that a base URL without a path lacks."""
    return "" if _path(provider) else "/v1beta"


def _path(provider: Provider) -> str:
    return urlsplit(provider.base_url).path.rstrip("/")

"""What the scripted upstream says when no script says otherwise: a small, well-behaved API."""

from __future__ import annotations

from collections.abc import Mapping

from server.scripted.answers import Answer, Answerer, Headers, Source
from server.scripted.errors import error
from server.scripted.messages import (
    DELTAS,
    Block,
    json_answer,
    message,
    message_events,
    stream,
    text_block,
    tokens_in,
)
from server.scripted.requests import SeenRequest

MODELS: dict[str, str] = {
    "claude-opus-5-5": "Claude Opus 5.5",
    "claude-sonnet-5-5": "Claude Sonnet 5.5",
    "claude-haiku-5-5": "Claude Haiku 5.5",
}
CREATED_AT = "2026-01-01T00:00:00Z"
GREETING = "Hello from the scripted upstream."
AFTER_TOOL = "The tool has answered; this turn is done."
PROBED_PATHS = frozenset({"/", "/api/hello"})


def reply_to(seen: SeenRequest) -> Answer:
    """A sensible answer to whatever was asked.

    Messages are greeted, streamed or whole as asked, with the model that was asked for; a turn that
    brings a tool's result gets a closing text. Tokens are counted, models listed, probes answered;
    anything else is Anthropic's 404, and a body that makes no sense its 400.
    """
    method, endpoint = seen.method.decode("latin-1"), seen.endpoint.rstrip("/") or "/"
    match (method, endpoint):
        case ("POST", "/v1/messages"):
            return _message(seen)
        case ("POST", "/v1/messages/count_tokens"):
            return _count(seen)
        case (_, "/v1/messages" | "/v1/messages/count_tokens"):
            return error(405, "invalid_request_error", "Method Not Allowed")
        case ("GET" | "HEAD", "/v1/models"):
            return json_answer(_model_page(), request_id=_request_id(seen))
        case ("GET" | "HEAD", _) if endpoint.startswith("/v1/models/"):
            return _model(seen, endpoint.removeprefix("/v1/models/"))
        case ("GET" | "HEAD", _) if endpoint in PROBED_PATHS:
            return json_answer({}, request_id=_request_id(seen))
        case _:
            return error(404, message=f"Not found: {seen.path}", request_id=_request_id(seen))


def reply_with(*blocks: Block, pause: float = 0.0, deltas: int = DELTAS) -> Answerer:
    """An answerer that says these blocks to whoever asks for a message, streamed or whole as asked.

    `pause` is the time in seconds between two events of a stream. Other endpoints are answered as
    by `reply_to`.
    """

    def answer(seen: SeenRequest) -> Answer:
        if (seen.method, seen.endpoint) != (b"POST", "/v1/messages"):
            return reply_to(seen)
        return _message(seen, blocks, pause, deltas)

    return answer


def adding_headers(source: Source, headers: Mapping[str, str] | Headers) -> Answerer:
    """Answers as `source` does, with more headers; for the rate-limit headers of a good answer."""

    def answer(seen: SeenRequest) -> Answer:
        given = source if isinstance(source, Answer) else source(seen)
        return given.with_headers(headers)

    return answer


def brings_tool_result(body: dict[str, object]) -> bool:
    """Whether the last turn of the user carries the result of a tool."""
    turns = body.get("messages")
    users = [one for one in turns if _role(one) == "user"] if isinstance(turns, list) else []
    content = users[-1].get("content") if users else None
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )


def _role(turn: object) -> object:
    return turn.get("role") if isinstance(turn, dict) else None


def _message(
    seen: SeenRequest, blocks: tuple[Block, ...] = (), pause: float = 0.0, deltas: int = DELTAS
) -> Answer:
    try:
        body = _checked(seen, "model", "max_tokens", "messages")
    except ValueError as problem:
        return error(400, message=str(problem), request_id=_request_id(seen))
    said = blocks or (text_block(AFTER_TOOL if brings_tool_result(body) else GREETING),)
    model, message_id = str(body["model"]), f"msg_scripted_{seen.number:06d}"
    counted = tokens_in(seen.body.decode("utf-8", "replace"))
    if body.get("stream") is True:
        events = message_events(
            said, model=model, deltas=deltas, input_tokens=counted, message_id=message_id
        )
        return stream(events, pause=pause, request_id=_request_id(seen))
    whole = message(said, model=model, input_tokens=counted, message_id=message_id)
    return whole.with_headers({"request-id": _request_id(seen)})


def _count(seen: SeenRequest) -> Answer:
    try:
        _checked(seen, "model", "messages")
    except ValueError as problem:
        return error(400, message=str(problem), request_id=_request_id(seen))
    counted = tokens_in(seen.body.decode("utf-8", "replace"))
    return json_answer({"input_tokens": counted}, request_id=_request_id(seen))


def _checked(seen: SeenRequest, *fields: str) -> dict[str, object]:
    """The body, which must be a JSON object with these fields; ValueError says what is wrong."""
    try:
        body = seen.json()
    except ValueError as problem:
        raise ValueError("The request body is not valid JSON") from problem
    for field in fields:
        if field not in body:
            raise ValueError(f"{field}: Field required")
    return body


def _model(seen: SeenRequest, model: str) -> Answer:
    if model not in MODELS:
        return error(404, message=f"model: {model}", request_id=_request_id(seen))
    return json_answer(_model_entry(model), request_id=_request_id(seen))


def _model_entry(model: str) -> dict[str, object]:
    return {
        "type": "model",
        "id": model,
        "display_name": MODELS[model],
        "created_at": CREATED_AT,
    }


def _model_page() -> dict[str, object]:
    entries = [_model_entry(model) for model in MODELS]
    first, last = entries[0]["id"], entries[-1]["id"]
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}


def _request_id(seen: SeenRequest) -> str:
    return f"req_scripted_{seen.number:06d}"

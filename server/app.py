"""The routes that are ours, as ordinary Quart views. What they show and do is `Management`."""

from __future__ import annotations

import re
import secrets
from typing import Any, Protocol

import msgspec
from quart import Blueprint, Quart, Response, request
from werkzeug.exceptions import HTTPException

from protocol.errors import Problem, answer
from protocol.request import is_openais
from protocol.request_line import escaped

Views = dict[str, Any]
JSON = "application/json"
REQUESTS_SHOWN = 100
REQUESTS_SHOWN_MAX = 1000
_WITHOUT_VERSION = {"/messages", "/messages/count_tokens", "/chat/completions", "/models"}


class Management(Protocol):
    """What the routes need of the program. Raises `Refused` for what cannot be done."""

    def live(self) -> Views: ...

    async def health(self) -> tuple[int, Views]: ...

    async def status(self) -> Views: ...

    async def metrics(self) -> tuple[bytes, str]: ...

    async def accounts(self) -> list[Views]: ...

    def actors(self) -> list[Views]: ...

    async def models(self) -> list[Views]: ...

    async def requests(self, limit: int) -> list[Views]: ...

    async def request(self, request_id: str) -> Views: ...

    async def act(self, name: str, action: str) -> Views: ...

    async def keys(self) -> list[Views]: ...

    async def look_at_keys(self) -> Views: ...

    async def reload(self) -> tuple[int, Views]: ...

    def drain(self) -> None: ...


class NotPossible(Exception):
    """A management request that cannot be served; `problem` is its answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def reply(document: object, status: int = 200) -> Response:
    """A JSON answer. It has texts of clients and upstreams, and may be shown on a terminal."""
    text = escaped(msgspec.json.encode(document).decode())
    return Response(text.encode(), status, content_type=JSON)


def refuse(problem: Problem) -> Response:
    """One of our errors, in the shape that the relayed routes use."""
    request_id = secrets.token_hex(16)
    openai = is_openais(request.path, versioned="anthropic-version" in request.headers)
    made = answer(problem, request_id, openai=openai)
    headers = {name.decode(): value.decode() for name, value in made.headers}
    headers["x-supervisor-request-id"] = request_id
    return Response(made.body, made.status, headers)


def own_routes(management: Management) -> Blueprint:
    """Every route of ours."""
    routes = Blueprint("own", __name__)
    _add_probes(routes, management)
    _add_views(routes, management)
    _add_actions(routes, management)
    return routes


def _add_probes(routes: Blueprint, management: Management) -> None:
    @routes.get("/")
    @routes.get("/api/hello")
    async def hello() -> Response:
        return reply({"name": "llm-supervisor", **management.live(), "see": "/status"})

    @routes.get("/health/live")
    async def live() -> Response:
        return reply(management.live())

    @routes.get("/health")
    async def health() -> Response:
        status, view = await management.health()
        return reply(view, status)


def _add_views(routes: Blueprint, management: Management) -> None:
    @routes.get("/status")
    async def status() -> Response:
        return reply(await management.status())

    @routes.get("/metrics")
    async def metrics() -> Response:
        text, media_type = await management.metrics()
        return Response(text, content_type=media_type)

    @routes.get("/status/accounts")
    async def accounts() -> Response:
        return reply({"accounts": await management.accounts()})

    @routes.get("/status/accounts/<name>")
    async def account(name: str) -> Response:
        return reply(find_account(await management.accounts(), name))

    @routes.get("/status/actors")
    async def actors() -> Response:
        return reply({"actors": management.actors()})

    @routes.get("/status/keys")
    async def keys() -> Response:
        return reply({"keys": await management.keys()})

    @routes.get("/status/models")
    async def models() -> Response:
        return reply({"models": await management.models()})

    @routes.get("/status/requests")
    async def requests() -> Response:
        text = request.args.get("limit", str(REQUESTS_SHOWN))
        if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= REQUESTS_SHOWN_MAX:
            raise NotPossible(Problem(400, f"limit must be from 1 to {REQUESTS_SHOWN_MAX}"))
        return reply({"requests": await management.requests(int(text))})

    @routes.get("/status/requests/<request_id>")
    async def one_request(request_id: str) -> Response:
        return reply(await management.request(request_id))


def _add_actions(routes: Blueprint, management: Management) -> None:
    @routes.post("/status/accounts/<name>/<any(refresh,enable,disable,reset):action>")
    async def act(name: str, action: str) -> Response:
        return reply(await management.act(name, action))

    @routes.post("/status/keys/reload")
    async def look_at_keys() -> Response:
        return reply(await management.look_at_keys())

    @routes.post("/status/reload")
    async def reload() -> Response:
        status, view = await management.reload()
        return reply(view, status)

    @routes.post("/status/drain")
    async def drain() -> Response:
        management.drain()
        return reply({"draining": True}, 202)


def add_error_answers(app: Quart) -> None:
    """Unknown routes and unforeseen errors get our shape, never a page of HTML."""

    @app.before_request
    async def take_body() -> None:
        # A response that overtakes its request's body costs the client its connection.
        await request.get_data()

    @app.errorhandler(NotPossible)
    async def not_possible(error: NotPossible) -> Response:
        return refuse(error.problem)

    @app.errorhandler(HTTPException)
    async def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        if status == 404:
            return refuse(Problem(404, _nothing_there(request.method, request.path)))
        answered = refuse(Problem(status, error.description or "this cannot be served"))
        if status == 405 and "Allow" in dict(error.get_headers()):
            answered.headers["Allow"] = dict(error.get_headers())["Allow"]
        return answered


def _nothing_there(method: str, path: str) -> str:
    """The most usual mistake is a base URL without `/v1`."""
    message = f"there is no {method} {path[:200]} here"
    if path in _WITHOUT_VERSION:
        return f"{message}; did you mean /v1{path}?"
    return f"{message}; docs/operating.md lists the routes"


def find_account(accounts: list[Views], name: str) -> Views:
    """The account of that name; raises NotPossible (404)."""
    for account in accounts:
        if account["name"] == name:
            return account
    raise NotPossible(Problem(404, f"there is no account {name[:100]!r}"))

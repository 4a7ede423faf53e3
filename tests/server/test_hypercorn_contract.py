"""The private parts of hypercorn and quart-trio that the reference lane stands on.

None of them is promised to stay. When one moves this file fails first, and says which: read the
changes of that release against `server/contained_http.py`, `server/connection.py` and
`server/app_tasks.py`, then change the pins and this file together.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
from typing import Any

import h11
import pytest
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol import events
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio import tcp_server
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from quart import Quart
from quart_trio.asgi import TrioASGIHTTPConnection

from server.reference_lane import FrontDoor


@pytest.mark.parametrize(
    ("package", "version"),
    [("hypercorn", "0.18.0"), ("quart", "0.22."), ("quart-trio", "0.12."), ("h11", "0.16.")],
)
def test_the_versions_are_the_ones_that_were_read(package: str, version: str) -> None:
    assert importlib.metadata.version(package).startswith(version)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            H11Protocol.__init__,
            "self app config context task_group connection_state ssl client server send",
        ),
        (H11Protocol.handle, "self event"),
        (H11Protocol.stream_send, "self event"),
        (H11Protocol._handle_events, "self"),
        (H11Protocol._create_stream, "self request"),
        (H11Protocol._maybe_recycle, "self"),
        (H11Protocol._close_stream, "self"),
        (H11Protocol._send_h11_event, "self event"),
        (
            HTTPStream.__init__,
            "self app config context task_group ssl client server send stream_id",
        ),
        (HTTPStream.handle, "self event"),
        (HTTPStream.app_send, "self message"),
        (tcp_server.TCPServer.__init__, "self app config context state stream"),
        (tcp_server.TCPServer.run, "self"),
        (tcp_server.TCPServer._read_data, "self"),
        (tcp_server.TCPServer._close, "self"),
        (tcp_server.TCPServer.protocol_send, "self event"),
        (TaskGroup.__init__, "self"),
        (TaskGroup.spawn, "self func args"),
        (TaskGroup.spawn_app, "self app config scope send"),
        (WorkerContext.__init__, "self max_requests"),
        (TrioASGIHTTPConnection.__call__, "self receive send"),
    ],
)
def test_what_is_overridden_or_called_has_the_same_parameters(
    function: Any, parameters: str
) -> None:
    assert list(inspect.signature(function).parameters) == parameters.split()


def _calls(function: Any) -> set[str]:
    """The names that a function of theirs uses."""
    return set(function.__code__.co_names)


def test_their_code_still_calls_what_we_override() -> None:
    """An override that nobody calls would contain nothing."""
    assert "_maybe_recycle" in _calls(H11Protocol.stream_send)
    assert "_close_stream" not in _calls(H11Protocol.stream_send)
    assert {"spawn_app", "app_put"} <= _calls(HTTPStream.handle)
    assert {"send", "closed", "_send_closed"} <= _calls(HTTPStream.app_send)
    assert {"send_eof", "aclose"} <= _calls(tcp_server.TCPServer._close)
    assert {"send_lock", "send_all", "shield"} <= _calls(tcp_server.TCPServer.protocol_send)
    assert "asgi_http_class" in _calls(Quart.asgi_app)
    assert FrontDoor.asgi_app is Quart.asgi_app


def test_the_events_have_the_same_fields() -> None:
    fields = {
        event: [field.name for field in dataclasses.fields(event)]
        for event in (events.Request, events.Response, events.Body, events.EndBody)
    }
    assert fields == {
        events.Request: ["stream_id", "headers", "http_version", "method", "raw_path", "state"],
        events.Response: ["stream_id", "headers", "status_code"],
        events.Body: ["stream_id", "data"],
        events.EndBody: ["stream_id"],
    }
    assert RawData(b"x").data == b"x"
    assert Updated(idle=True).idle
    assert Closed() == Closed()
    assert STREAM_ID == 1


def test_the_objects_have_the_attributes_that_we_use() -> None:
    context = WorkerContext(None)
    protocol = H11Protocol(
        None,
        Config(),
        context,
        None,
        None,
        False,
        None,
        None,
        None,  # type: ignore[arg-type]
    )
    assert isinstance(protocol.connection, h11.Connection)
    assert protocol.stream is None
    for name in ("app", "config", "context", "task_group", "connection_state", "ssl", "send"):
        assert hasattr(protocol, name), name
    assert hasattr(context.terminated, "set")
    assert context.terminated.is_set() is False
    assert tcp_server.MAX_RECV == 65536
    group = TaskGroup()
    assert group._nursery is None


def test_h11_still_tells_what_it_did_not_read() -> None:
    """A pipelined request is handed to the next parser."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest")
    assert isinstance(connection.next_event(), h11.Request)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.next_event() is h11.PAUSED
    assert connection.trailing_data == (b"rest", False)
    assert connection.their_state is h11.DONE

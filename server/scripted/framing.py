"""The bytes of an answer around its body: head, chunks, and how a connection is reset."""

from __future__ import annotations

import http
import os
import socket
import struct
from typing import Literal, TypeAlias

import h11
import trio

from server.scripted.answers import Answer
from server.scripted.memory import MemoryStream
from server.scripted.requests import SeenRequest

BodyFraming: TypeAlias = Literal["content-length", "chunked", "close"]
BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body, whatever their headers say."""
_OWN_PHRASES = {413: "Request Entity Too Large", 529: "Overloaded"}


def framing_of(answer: Answer, seen: SeenRequest) -> BodyFraming:
    """How the end of the body is told; HTTP/1.0 knows no chunks."""
    framing = answer.framing
    if framing == "auto":
        lengthy = answer.parts is None or answer.header("content-length") is not None
        framing = "content-length" if lengthy else "chunked"
    if framing == "chunked" and seen.http_version < b"1.1":
        return "close"
    return framing


def head_of(answer: Answer, framing: BodyFraming) -> bytes:
    """Status line and headers; framing headers that the answer has itself are left alone."""
    headers = list(answer.headers)
    if framing == "content-length" and answer.header("content-length") is None:
        if answer.status not in BODILESS:
            headers.append(("content-length", str(answer.body_length())))
    elif framing == "chunked" and answer.header("transfer-encoding") is None:
        headers.append(("transfer-encoding", "chunked"))
    elif framing == "close" and answer.header("connection") is None:
        headers.append(("connection", "close"))
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def framed(data: bytes, framing: BodyFraming) -> bytes:
    """A piece of the body as it goes over the wire."""
    return b"%x\r\n%b\r\n" % (len(data), data) if framing == "chunked" else data


def keeps_alive(answer: Answer, seen: SeenRequest, parser: h11.Connection) -> bool:
    """Whether both sides mean to go on with this connection after the answer."""
    asked_to_close = (answer.header("connection") or "").lower() == "close"
    if asked_to_close or framing_of(answer, seen) == "close":
        return False
    return parser.their_state is h11.DONE


def reset_on_close(stream: trio.abc.Stream) -> None:
    """Make the coming close of this stream a reset."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, MemoryStream):
        stream.reset()
    elif isinstance(stream, trio.SocketStream):
        # Lingering for zero seconds: the kernel drops what is unsent and sends RST, not FIN.
        layout = "hh" if os.name == "nt" else "ii"
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(layout, 1, 0))


def _phrase(status: int) -> str:
    if status in _OWN_PHRASES:
        return _OWN_PHRASES[status]
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"

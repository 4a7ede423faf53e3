"""A listening socket from the service manager: taken only if it is what the configuration says."""

from __future__ import annotations

import os
import socket

import pytest

from supervisor import activation
from supervisor.cannot_serve import CannotServe


def _given(monkeypatch: pytest.MonkeyPatch, one: socket.socket, count: str = "1") -> dict[str, str]:
    monkeypatch.setattr(activation, "FIRST", os.dup(one.fileno()))
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": "x", "A": "b"}


def test_it_is_taken_with_its_variables_and_no_child_inherits_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        environ = _given(monkeypatch, server)
        taken = activation.handed_over(environ, "localhost", server.getsockname()[1])
        assert taken is not None
        with taken:
            assert taken.getsockname() == server.getsockname()
            assert not taken.get_inheritable()
            assert not taken.getblocking()
    assert environ == {"A": "b"}


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "me", "LISTEN_FDS": "0"}]
)
def test_what_was_given_to_another_process_is_not_taken(environ: dict[str, str]) -> None:
    environ = {key: value.replace("me", str(os.getpid())) for key, value in environ.items()}
    assert activation.handed_over(environ, "127.0.0.1", 4080) is None


@pytest.mark.parametrize(
    ("bound", "host", "more", "says"),
    [
        ("127.0.0.1", "127.0.0.1", 1, "the configuration says"),
        ("0.0.0.0", "127.0.0.1", 0, "the configuration says"),
        ("127.0.0.1", "nowhere.invalid", 0, "the configuration says"),
    ],
)
def test_another_address_is_refused_because_who_may_ask_was_judged_by_the_configured_one(
    monkeypatch: pytest.MonkeyPatch, bound: str, host: str, more: int, says: str
) -> None:
    with socket.create_server((bound, 0)) as server:
        environ = _given(monkeypatch, server)
        with pytest.raises(CannotServe, match=says) as refused:
            activation.handed_over(environ, host, server.getsockname()[1] + more)
    assert refused.value.code == 78
    with pytest.raises(OSError):
        os.fstat(activation.FIRST)


def test_a_free_port_may_be_any(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = activation.handed_over(_given(monkeypatch, server), "127.0.0.1", 0)
        assert taken is not None
        taken.close()


@pytest.mark.parametrize(
    ("kind", "says"),
    [("unix", "a TCP address"), ("not listening", "does not listen"), ("file", "is no socket")],
)
def test_what_is_no_listening_tcp_socket_is_refused(
    monkeypatch: pytest.MonkeyPatch, kind: str, says: str
) -> None:
    if kind == "file":
        descriptor = os.open(os.devnull, os.O_RDONLY)
        monkeypatch.setattr(activation, "FIRST", descriptor)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        with pytest.raises(CannotServe, match=says):
            activation.handed_over(environ, "127.0.0.1", 0)
        os.close(descriptor)
        return
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as one:
        environ = _given(monkeypatch, one)
        with pytest.raises(CannotServe, match=says):
            activation.handed_over(environ, "127.0.0.1", 0)


def test_more_than_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        environ = _given(monkeypatch, server, "2")
        with pytest.raises(CannotServe, match="one can be used"):
            activation.handed_over(environ, "127.0.0.1", 0)
        os.close(activation.FIRST)

"""Calls to the running instance end in an answer or in a clear exception."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from protocol.secrets import Secret
from supervisor import instance
from supervisor.instance_client import NothingAnswers, Refused, get_json, post_json, reachable_host
from tests.supervisor.stub_instance import StubServer, stub_instance


@contextmanager
def started(state_dir: Path, token: str = "") -> Iterator[tuple[StubServer, instance.Instance]]:
    with stub_instance(state_dir, token=token) as server:
        found = instance.read(state_dir)
        assert found is not None
        yield server, found


def test_get_and_post_return_what_was_answered(tmp_path: Path) -> None:
    with started(tmp_path) as (server, found):
        server.answers["POST", "/empty"] = (202, b"")
        assert get_json(found, "/status/requests?limit=1") == {"requests": []}
        assert post_json(found, "/status/reload") == {"restart_needed": []}
        assert post_json(found, "/empty") is None
        assert [line[:2] for line in server.seen] == [
            ("GET", "/status/requests?limit=1"),
            ("POST", "/status/reload"),
            ("POST", "/empty"),
        ]


def test_the_token_is_sent_as_bearer_and_only_when_there_is_one(tmp_path: Path) -> None:
    with started(tmp_path, token="hush-hush-hush") as (server, found):
        with pytest.raises(Refused) as caught:
            get_json(found, "/status")
        assert (caught.value.status, caught.value.message) == (401, "a token is needed")
        get_json(found, "/status", token=Secret("hush-hush-hush"))
        assert [line[2] for line in server.seen] == [None, "Bearer hush-hush-hush"]


def test_a_refusal_carries_its_body(tmp_path: Path) -> None:
    with started(tmp_path) as (server, found):
        server.answers["POST", "/status/reload"] = (422, {"errors": ["one"]})
        with pytest.raises(Refused) as caught:
            post_json(found, "/status/reload")
        assert caught.value.body == {"errors": ["one"]}
        server.answers["POST", "/status/reload"] = (502, b"<html>")
        with pytest.raises(Refused, match="Bad Gateway") as caught:
            post_json(found, "/status/reload")
        assert caught.value.body is None


def test_an_answer_that_is_not_json_is_no_answer(tmp_path: Path) -> None:
    with started(tmp_path) as (server, found):
        server.answers["GET", "/status"] = (200, b"\xff<html>")
        with pytest.raises(NothingAnswers, match="does not answer with JSON"):
            get_json(found, "/status")


def test_a_closed_port_is_no_answer() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = at("127.0.0.1", closed.getsockname()[1])
        with pytest.raises(NothingAnswers, match=f"{found.url}.*refused"):
            get_json(found, "/status")


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = at("127.0.0.1", silent.getsockname()[1])
        with pytest.raises(NothingAnswers, match="timed out"):
            get_json(found, "/status", timeout=0.1)


def test_something_that_does_not_speak_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.close()

        speaker = threading.Thread(target=speak)
        speaker.start()
        with pytest.raises(NothingAnswers):
            get_json(at("127.0.0.1", listener.getsockname()[1]), "/status")
        speaker.join()


@pytest.mark.parametrize(
    ("host", "bound"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1")]
)
def test_a_wildcard_is_reached_over_loopback_and_ipv6_is_written_in_brackets(
    host: str, bound: str
) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    try:
        listener = socket.create_server((bound, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    asked: list[bytes] = []

    def answer() -> None:
        connection, _ = listener.accept()
        asked.append(connection.recv(1000))
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        connection.close()

    port = listener.getsockname()[1]
    thread = threading.Thread(target=answer)
    thread.start()
    with listener:
        assert get_json(at(host, port), "/status") == {}
        thread.join()
    name = f"[{bound}]" if ":" in bound else bound
    assert f"host: {name}:{port}\r\n".encode() in asked[0].lower()


def test_an_instance_with_tls_is_reached_whatever_name_its_certificate_has(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("proxy.example").configure_cert(context)
    with stub_instance(tmp_path, tls=context):
        found = instance.running(tmp_path)
        assert found is not None
        assert found.url.startswith("https://127.0.0.1:")


def test_no_proxy_of_the_environment_stands_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with started(tmp_path) as (_, found):
        assert get_json(found, "/status/requests") == {"requests": []}


def test_a_host_is_reached_as_it_is_unless_it_is_a_wildcard() -> None:
    hosts = ["", "0.0.0.0", "::", "[::]", "[::1]", "10.0.0.1", "localhost"]
    reached = [reachable_host(host) for host in hosts]
    assert reached == ["127.0.0.1", "127.0.0.1", "::1", "::1", "::1", "10.0.0.1", "localhost"]


def test_a_broken_answer_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise http.client.IncompleteRead(b"")

    monkeypatch.setattr("http.client.HTTPResponse.read", broken)
    with started(tmp_path) as (_, found), pytest.raises(NothingAnswers):
        get_json(found, "/status")


def at(host: str, port: int) -> instance.Instance:
    return instance.Instance(pid=1, host=host, port=port, started_at="", id="x", version="0.1.0")

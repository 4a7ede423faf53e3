"""The listening socket."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from supervisor.listening import address_of, listen


def test_port_zero_is_any_free_one_and_clients_wait_in_its_queue() -> None:
    with listen("127.0.0.1", 0) as listening:
        host, port = address_of(listening)
        assert host == "127.0.0.1"
        assert port > 0
        # Nobody accepts, and a client is connected all the same.
        with socket.create_connection((host, port), timeout=5) as client:
            client.sendall(b"early")
            listening.settimeout(5)
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.recv(5) == b"early"


def test_it_neither_blocks_nor_is_inherited_by_what_we_start() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert listening.getblocking() is False
        assert listening.get_inheritable() is False


def test_a_duplicate_listens_on_when_the_original_is_closed() -> None:
    with listen("127.0.0.1", 0) as listening:
        address = address_of(listening)
        with listening.dup():
            listening.close()
            socket.create_connection(address, timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def descriptors_open() -> int:
    """How many, where the system tells."""
    told = Path("/proc/self/fd")
    return len(list(told.iterdir())) if told.is_dir() else 0


def test_a_taken_port_is_an_error_that_says_so_and_leaves_nothing_open() -> None:
    with listen("127.0.0.1", 0) as first:
        before = descriptors_open()
        with pytest.raises(OSError) as caught:
            listen(*address_of(first))
        assert caught.value.errno == errno.EADDRINUSE
        assert descriptors_open() == before


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_it_listens_on_ipv6_too() -> None:
    try:
        listening = listen("::1", 0)
    except OSError:
        pytest.skip("no IPv6 loopback address here")
    with listening:
        assert address_of(listening)[0] == "::1"

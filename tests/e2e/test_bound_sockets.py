"""X3: what a started program listens on, told by the kernel and not by the program."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Upstream
from tests.kit.live import accounts
from tests.kit.process import listening, pointed_at, write_config
from tests.kit.rounds import rounds

if sys.platform != "linux":
    pytest.skip("told by /proc", allow_module_level=True)

LISTENING = "0A"
Address = tuple[str, int]


def bound(pid: int) -> set[Address]:
    """Every TCP address that the process and its children listen on, and every UDP address."""
    inodes = {
        target.removeprefix("socket:[").removesuffix("]")
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for target in _targets(process.pid)
        if target.startswith("socket:[")
    }
    return {
        address
        for table in ("tcp", "tcp6", "udp", "udp6")
        for address, state, inode in _sockets(Path("/proc/net") / table)
        if inode in inodes and (state == LISTENING or table.startswith("udp"))
    }


def _targets(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield str(entry.readlink())
        except OSError:
            continue  # closed meanwhile


def _sockets(table: Path) -> Iterator[tuple[Address, str, str]]:
    if not table.exists():
        return
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        host, port = fields[1].split(":")
        words = struct.pack(
            f"={len(host) // 8}I", *struct.unpack(f">{len(host) // 8}I", bytes.fromhex(host))
        )
        family = socket.AF_INET if len(words) == 4 else socket.AF_INET6
        yield (socket.inet_ntop(family, words), int(port, 16)), fields[3], fields[9]


@pytest.mark.promise("X3")
@pytest.mark.sweep
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"][: rounds(1, 3)])
async def test_a_program_listens_on_loopback_and_nowhere_else(
    host: str, upstream: Upstream, config: Path, state: Path
) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    write_config(config, pointed_at(upstream.url, accounts("a")))
    async with listening(config, "--host", host, state=state) as process:
        found = bound(process.process.pid)
        assert {port for _, port in found} == {process.port}
    assert found
    assert all(ipaddress.ip_address(one).is_loopback for one, _ in found)


@pytest.mark.promise("X3", control=True)
async def test_one_that_is_configured_open_is_seen_to_be(
    upstream: Upstream, config: Path, state: Path
) -> None:
    """Twice in the configuration: the host, and who may come in."""
    open_to_all = '[access]\ntoken = "sesame-open-to-all"\n' + accounts("a")
    write_config(config, pointed_at(upstream.url, open_to_all))
    async with listening(config, "--host", "0.0.0.0", state=state) as process:
        assert ("0.0.0.0", process.port) in bound(process.process.pid)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True

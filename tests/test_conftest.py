"""The isolation of the tests is itself worth tests: without it they would pass for wrong reasons."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies

from tests.conftest import REAL_SETTINGS, LeftLoopback, TouchedRealSettings, _ended_after

ELSEWHERE = "192.0.2.1"  # reserved for documentation: no machine has it


def test_the_home_is_empty_and_everything_that_is_looked_up_lies_below_it(home: Path) -> None:
    assert Path.home() == home
    assert [entry.name for entry in home.iterdir()] == [".runtime"]
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "SUPERVISOR_STATE_DIR"):
        assert Path(os.environ[name]).is_relative_to(home)


def test_no_setting_of_the_person_at_the_keyboard_is_seen() -> None:
    assert not [name for name in os.environ if name.startswith(("ANTHROPIC_", "OPENAI_"))]
    assert not [name for name in os.environ if name.upper().endswith("_PROXY")]


def test_the_settings_of_the_person_at_the_keyboard_cannot_be_written(
    touches_no_real_settings: list[str], home: Path
) -> None:
    assert not REAL_SETTINGS.is_relative_to(home)
    for attempt in (
        lambda: REAL_SETTINGS.write_bytes(b"{}"),
        lambda: os.open(REAL_SETTINGS, os.O_RDWR),
        lambda: (home / "x").replace(REAL_SETTINGS),
        REAL_SETTINGS.unlink,
        REAL_SETTINGS.with_name(".settings.json.abc.0").touch,
    ):
        with pytest.raises(TouchedRealSettings):
            attempt()
    assert len(touches_no_real_settings) == 5
    touches_no_real_settings.clear()


def test_a_plain_socket_does_not_leave_loopback(only_loopback: list[str]) -> None:
    with socket.socket() as one, pytest.raises(LeftLoopback):
        one.connect((ELSEWHERE, 80))
    with socket.socket() as one, pytest.raises(LeftLoopback):
        one.connect_ex((ELSEWHERE, 80))
    with socket.socket(type=socket.SOCK_DGRAM) as one, pytest.raises(LeftLoopback):
        one.sendto(b"x", (ELSEWHERE, 53))
    assert len(only_loopback) == 3
    only_loopback.clear()


async def test_a_trio_stream_does_not_leave_loopback(only_loopback: list[str]) -> None:
    with pytest.RaisesGroup(LeftLoopback, allow_unwrapped=True, flatten_subgroups=True):
        await trio.open_tcp_stream(ELSEWHERE, 80)
    assert only_loopback
    only_loopback.clear()


async def test_no_name_is_looked_up_outside(only_loopback: list[str]) -> None:
    with pytest.raises(LeftLoopback):
        socket.getaddrinfo("upstream.example", 443)
    with pytest.raises(LeftLoopback):
        await trio.socket.getaddrinfo("upstream.example", 443)
    assert len(only_loopback) == 2
    only_loopback.clear()


async def test_a_name_below_invalid_does_not_resolve_and_that_is_no_fault() -> None:
    with pytest.raises(socket.gaierror):
        await trio.socket.getaddrinfo("upstream.invalid", 443)


async def test_loopback_stays_reachable() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="localhost")
    async with listener:
        port = listener.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port):
            pass


@hypothesis.given(strategies.integers())
@hypothesis.settings(max_examples=5)
def test_the_isolation_does_not_stand_in_the_way_of_hypothesis(number: int) -> None:
    assert hypothesis.settings.default.deadline is None
    assert isinstance(number, int)


async def test_a_test_that_hangs_is_ended_and_tells_where_it_waited(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def wait_for_nobody(patience: float) -> None:
        await trio.sleep(patience)  # jumped over: the limit goes by the wall clock
        await trio.sleep_forever()

    with pytest.raises(pytest.fail.Exception, match=r"(?s)hung for 0.2 s.*sleep_forever"):
        await _ended_after(0.2, wait_for_nobody)(patience=1000)


async def test_a_test_that_ends_in_time_ends_as_it_would() -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await _ended_after(30, fail)()

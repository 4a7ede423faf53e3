"""What an application is handed of its request."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from server.app_tasks import BODY_CHUNKS_MAX, AppInput, AppTasks
from tests.kit.raw_client import crashes


async def nothing() -> None:
    return


def chunk(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


GONE: dict[str, Any] = {"type": "http.disconnect"}


async def test_chunks_come_in_order_and_then_the_departure_for_ever() -> None:
    given = AppInput(nothing)
    await given.put(chunk(b"a"))
    await given.put(chunk(b"b", more=False))
    assert await given.receive() == chunk(b"a")
    assert await given.receive() == chunk(b"b", more=False)
    await given.put(GONE)
    assert [await given.receive() for _ in range(3)] == [GONE] * 3


async def test_a_departure_overtakes_the_chunks_before_it() -> None:
    given = AppInput(nothing)
    await given.put(chunk(b"a"))
    await given.put(GONE)
    await given.put(chunk(b"late"))
    assert await given.receive() == GONE


async def test_a_giver_waits_for_the_application_but_a_departure_does_not(
    autojump_clock: object,
) -> None:
    given = AppInput(nothing)
    for _ in range(BODY_CHUNKS_MAX):
        await given.put(chunk(b"x"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(given.put, chunk(b"waits"))
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await given.put(chunk(b"waits too"))
        await given.put(GONE)  # and lets the one that waits go


async def test_the_body_is_asked_for_only_when_the_application_has_to_wait() -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1

    given = AppInput(ask)
    await given.put(chunk(b"a"))
    await given.receive()
    assert asked == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(given.receive)
        await trio.testing.wait_all_tasks_blocked()
        assert asked == 1
        await given.put(GONE)


@pytest.mark.parametrize("fails", [True, False])
async def test_an_application_that_ends_is_tidied_up_after(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """However it ends; what it raised is logged, and its siblings go on."""
    sent: list[Any] = []

    async def app(*arguments: object) -> None:
        if fails:
            raise RuntimeError("injected")

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    async with AppTasks(nothing) as tasks:
        await tasks.spawn_app(app, None, {}, send)
        await trio.testing.wait_all_tasks_blocked()
    assert sent == [None]
    assert len(crashes(caplog)) == fails

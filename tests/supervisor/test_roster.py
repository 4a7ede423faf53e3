"""The account actors while the program runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock as Clock

from actors.mailbox import ActorStopped
from actors.messages import Describe, SetEnabled
from protocol import derive
from protocol.dispatch import DispatchState
from server.scripted import ScriptedUpstream
from supervisor.roster import TELL_SECONDS
from tests.kit.live import accounts
from tests.kit.program import RunningProgram, configured, program_in_memory


@pytest.fixture
async def program(autojump_clock: trio.testing.MockClock) -> AsyncIterator[RunningProgram]:
    """A program with the accounts a and b."""
    async with program_in_memory(accounts("a", "b"), ScriptedUpstream()) as program:
        yield program


async def align(program: RunningProgram, text: str) -> None:
    await program.parts.roster.align(derive.account_specs(configured(text)))
    await trio.testing.wait_all_tasks_blocked()


async def known(program: RunningProgram) -> DispatchState:
    return await program.parts.dispatcher.ask(Describe(), timeout=5)


def actors(program: RunningProgram) -> list[str]:
    statuses = program.program.engine.statuses(trio.current_time())
    return [status.name for status in statuses if status.name.startswith("account/")]


async def test_accounts_come_and_go_with_their_actors(
    program: RunningProgram, autojump_clock: Clock
) -> None:
    await align(program, accounts("b", "c"))
    assert sorted((await known(program)).accounts) == ["b", "c"]
    assert actors(program) == ["account/b", "account/c"]
    assert program.parts.roster.mailbox("a") is None
    assert len(program.parts.roster.mailboxes()) == 2
    await align(program, accounts("a"))
    assert sorted((await known(program)).accounts) == ["a"]
    await align(program, "")
    assert (await known(program)).accounts == {}
    assert actors(program) == []


async def test_the_same_accounts_again_are_left_in_peace(
    program: RunningProgram, autojump_clock: Clock
) -> None:
    mailbox = program.parts.roster.mailbox("a")
    assert mailbox is not None
    await mailbox.ask(SetEnabled(False), timeout=5)
    await align(program, accounts("a", "b"))
    assert program.parts.roster.mailbox("a") is mailbox
    assert not (await known(program)).accounts["a"].enabled, "what its owner said stays"


async def test_a_changed_account_is_the_same_actor_with_another_key(
    program: RunningProgram,
    autojump_clock: Clock,
) -> None:
    mailbox = program.parts.roster.mailbox("a")
    await align(program, accounts("a", "b").replace("key-a", "key-of-tomorrow"))
    assert program.parts.roster.mailbox("a") is mailbox
    credential = (await known(program)).accounts["a"].spec.credential
    assert credential is not None
    assert credential.secret.reveal() == "key-of-tomorrow"


async def test_there_is_never_a_moment_without_an_account(
    program: RunningProgram, autojump_clock: Clock
) -> None:
    fewest = 99

    async def look() -> None:
        nonlocal fewest
        while True:
            fewest = min(fewest, len((await known(program)).accounts))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        for names in (("c",), ("a", "b"), ("d", "e"), ("a",)):
            specs = derive.account_specs(configured(accounts(*names)))
            await program.parts.roster.align(specs)
        nursery.cancel_scope.cancel()
    assert fewest >= 1


async def test_an_actor_that_was_given_up_is_replaced_when_its_account_changes(
    program: RunningProgram,
    autojump_clock: Clock,
) -> None:
    mailbox = program.parts.roster.mailbox("a")
    assert mailbox is not None
    mailbox.refuse()
    with pytest.raises(ActorStopped):
        await mailbox.ask(SetEnabled(True), timeout=1)
    await align(program, accounts("a", "b").replace("key-a", "key-of-tomorrow"))
    replaced = program.parts.roster.mailbox("a")
    assert replaced is not None
    assert replaced is not mailbox
    state = await replaced.ask(SetEnabled(True), timeout=5)
    assert state.spec.credential is not None
    assert state.spec.credential.secret.reveal() == "key-of-tomorrow"
    assert actors(program).count("account/a") == 1


async def test_a_dispatcher_that_takes_nothing_does_not_hold_a_removal_for_ever(
    program: RunningProgram, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(message: object) -> None:
        await trio.sleep_forever()

    began = trio.current_time()
    with monkeypatch.context() as patched:
        patched.setattr(program.parts.dispatcher, "tell", never)
        await align(program, accounts("b"))
    assert trio.current_time() - began <= 2 * TELL_SECONDS + 6
    assert actors(program) == ["account/b"]


async def test_a_clients_credential_gets_an_actor_once_and_stays(
    program: RunningProgram, autojump_clock: Clock
) -> None:
    for _ in range(3):
        program.parts.roster.adopt("client-0000aaaa")
    await trio.testing.wait_all_tasks_blocked()
    assert actors(program).count("account/client-0000aaaa") == 1
    await align(program, accounts("a"))
    assert "account/client-0000aaaa" in actors(program)
    spec = (await known(program)).accounts["client-0000aaaa"].spec
    assert (spec.kind, spec.credential) == ("client", None)
    assert msgspec.structs.replace(spec, name="x").name == "x"


async def test_when_the_program_stops_nothing_is_added_any_more(
    program: RunningProgram, autojump_clock: Clock
) -> None:
    program.program.stop()
    program.parts.roster.adopt("client-0000bbbb")
    await align(program, accounts("a", "b", "c"))
    await program.program.engine.stopped.wait()

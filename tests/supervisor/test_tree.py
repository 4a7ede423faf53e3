"""The wiring: who is there, in which order, and what that order is for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from actors.runtime import Context
from supervisor.child import ChildSpec, GroupSpec
from supervisor.parts import Parts
from supervisor.quota_memory import nothing_known
from supervisor.tree import tree
from tests.kit.live import accounts
from tests.kit.memory_clients import MemoryClients
from tests.kit.memory_disk import MemoryDisk
from tests.kit.program import configured


async def nothing() -> None:
    """Stands in for closing the door."""


async def drained(context: Context[None, None]) -> None:
    """Stands in for the drain."""


@pytest.fixture
def groups() -> tuple[GroupSpec, ...]:
    config = configured(accounts("b", "a") + "\n[supervision]\nintensity = 7\n")
    parts = Parts(config, lambda: config, Path("/state"), None, disk=MemoryDisk())
    return tree(parts, nothing, drained)


@pytest.fixture
def children(groups: tuple[GroupSpec, ...]) -> list[ChildSpec]:
    return [child for group in groups for child in group.children]


async def test_everybody_is_there_in_start_order(children: list[ChildSpec]) -> None:
    assert [child.name for child in children] == [
        "journal",
        "log-rotator",
        "dispatcher",
        "providers",
        "quota-store",
        "account/b",
        "account/a",
        "vault",
        "refresh",
        "probe",
        "config-watcher",
        "usage-file",
        "model-lists",
        "loop-lag",
        "keyring",
        "connections",
        "front-end",
    ]


async def test_nobody_takes_another_down_and_all_have_the_configured_patience(
    groups: tuple[GroupSpec, ...], children: list[ChildSpec]
) -> None:
    assert {group.strategy for group in groups} == {"one_for_one"}
    assert {child.restart for child in children} == {"permanent"}
    assert {child.policy.intensity for child in children} == {7}


async def test_a_crash_loop_of_the_acceptor_does_not_end_the_drain_with_it(
    groups: tuple[GroupSpec, ...],
) -> None:
    """A group that gives up stops its members: the two must not be in one."""
    home = {child.name: group.name for group in groups for child in group.children}
    assert home["connections"] != home["front-end"]


async def test_only_the_drain_has_a_clock_of_its_own(children: list[ChildSpec]) -> None:
    unlimited = [child.name for child in children if child.shutdown_timeout == math.inf]
    assert unlimited == ["connections"]


async def test_an_account_finishes_what_it_was_told_when_it_crashes(
    children: list[ChildSpec],
) -> None:
    assert {child.redeliver for child in children if child.name.startswith("account/")} == {True}


async def test_where_a_file_must_not_be_overwritten_nobody_is_there_to_do_it() -> None:
    config = configured(accounts("a"))
    memory = nothing_known(None)
    parts = Parts(config, lambda: config, Path("/state"), None, disk=MemoryDisk(), memory=memory)
    names = [child.name for group in tree(parts, nothing, drained) for child in group.children]
    assert "quota-store" not in names
    assert "dispatcher" in names


async def test_clients_are_pointed_last_and_put_back_first() -> None:
    config = configured(accounts("a"))
    parts = Parts(config, lambda: config, Path("/state"), None, disk=MemoryDisk())
    parts.clients = MemoryClients(lambda: config)
    last = tree(parts, nothing, drained)[-1].children[-1]
    assert last.name == "settings-guard"
    assert last.shutdown_timeout > config.client.release_after
    assert parts.client_status()["state"] == "off"


async def test_the_quota_is_kept_after_the_accounts_last_word(children: list[ChildSpec]) -> None:
    """The stop order is the reverse of this: the dispatcher is still there to be asked then."""
    names = [child.name for child in children]
    assert names.index("dispatcher") < names.index("quota-store") < names.index("account/a")

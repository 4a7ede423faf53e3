"""How many connections fit. (That the limit is raised, a process shows: `tests/e2e`.)"""

from __future__ import annotations

import sys

import pytest

from supervisor import descriptors


@pytest.mark.promise("C8")
@pytest.mark.parametrize(("limit", "clients"), [(64, 20), (1024, 500), (10, 1), (0, 1)])
def test_each_client_has_room_for_its_upstream_connection(limit: int, clients: int) -> None:
    assert descriptors.connections_max(limit) == clients


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    infinity = resource.RLIM_INFINITY
    limits = (256, infinity)
    asked: list[tuple[int, int]] = []

    def refuse(_which: int, wanted: tuple[int, int]) -> None:
        asked.append(wanted)
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert descriptors.raise_limit() == 256
    assert asked == [(descriptors.ENOUGH, infinity)]
    limits = (infinity, infinity)
    assert descriptors.raise_limit() == sys.maxsize
    limits = (4096, 4096)
    assert descriptors.raise_limit() == 4096
    assert len(asked) == 1

"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from supervisor.doctor.account_checks import ACCOUNT_CHECKS
from supervisor.doctor.client_checks import CLIENT_CHECKS
from supervisor.doctor.facts import Facts
from supervisor.doctor.finding import Finding
from supervisor.doctor.instance_checks import INSTANCE_CHECKS
from supervisor.doctor.machine_checks import MACHINE_CHECKS

Check = Callable[[Facts], Iterable[Finding]]

AREAS: tuple[tuple[str, tuple[Check, ...]], ...] = (
    ("the program", INSTANCE_CHECKS),
    ("Claude Code", CLIENT_CHECKS),
    ("accounts", ACCOUNT_CHECKS),
    ("the machine and the way to the upstream", MACHINE_CHECKS),
)


def findings(facts: Facts) -> list[tuple[str, list[Finding]]]:
    """By area, in order; an area without findings is well."""
    return [
        (area, [finding for check in checks for finding in check(facts)]) for area, checks in AREAS
    ]

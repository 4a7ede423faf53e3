"""The program itself: whether it runs, as configured, and does what a gateway has to do."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.doctor.facts import Facts
from supervisor.doctor.finding import Finding

RESTARTS_NOTED = 1
"""A part that was restarted so often is worth a look."""


def configuration(facts: Facts) -> Iterator[Finding]:
    for error in facts.config_errors:
        yield Finding("config-invalid", error, "correct it; `supervisor check` validates the file.")


def reload(facts: Facts) -> Iterator[Finding]:
    error = (facts.status.get("config") or {}).get("error")
    if error and not facts.config_errors:
        yield Finding(
            "config-refused",
            f"the running instance goes on with its old configuration: {error}",
            "correct the file; where it names a variable, restart with that set.",
        )


def runs(facts: Facts) -> Iterator[Finding]:
    if not facts.url and not facts.silent and not facts.config_errors:
        yield Finding(
            "not-running",
            f"nothing is running (state directory {facts.state_directory})",
            "`supervisor run`, or `supervisor service start`; if it runs with another state "
            "directory, set SUPERVISOR_STATE_DIR to that.",
        )


def answers(facts: Facts) -> Iterator[Finding]:
    if facts.silent:
        yield Finding(
            "not-answering",
            f"an instance holds the state directory and does not answer: {facts.silent}",
            "it may be starting or stopping: try again; if it stays so, end that process.",
        )


def port(facts: Facts) -> Iterator[Finding]:
    if facts.port_owner:
        yield Finding(
            "port-taken",
            f"port {facts.config.server.port} belongs to {facts.port_owner}",
            "stop that, or choose another: `supervisor run --port`, or server.port.",
        )


def version(facts: Facts) -> Iterator[Finding]:
    if facts.url and facts.running_version != facts.installed:
        yield Finding(
            "version-differs",
            f"version {facts.running_version} runs, {facts.installed} is installed",
            "restart it: `supervisor service stop` and `start`, or `supervisor stop` and `run`.",
        )


def actors(facts: Facts) -> Iterator[Finding]:
    for actor in facts.status.get("actors", ()):
        stopped = actor.get("state") in ("failed", "restarting")
        if not stopped and actor.get("restarts", 0) < RESTARTS_NOTED:
            continue
        crash = actor.get("last_crash") or {}
        last = f"; the last crash: {crash.get('type')}: {crash.get('message')}" if crash else ""
        often = actor.get("restarts", 0)
        yield Finding(
            "actor-trouble",
            f"{actor.get('name')} is {actor.get('state')}, restarted {often} "
            f"time{'' if often == 1 else 's'}{last}",
            "its log says more; report it with `supervisor status --json`.",
            "wrong" if stopped else "note",
        )


def log_lines(facts: Facts) -> Iterator[Finding]:
    lost = (facts.status.get("log") or {}).get("dropped_lines", 0)
    if lost:
        yield Finding(
            "log-lines-lost",
            f"{lost} lines of the request log were lost since the start",
            "make room on the disk of the logs, or lower logs.level.",
            "note",
        )


def front_door(facts: Facts) -> Iterator[Finding]:
    if facts.front_door:
        yield Finding(
            "front-door",
            f"{facts.url} does not answer as it should: {facts.front_door}",
            "see its log; restart it; look for a program between this one and it.",
        )


def contract(facts: Facts) -> Iterator[Finding]:
    for breach in facts.breaches or ():
        yield Finding(
            "contract-broken",
            f"{breach.rule}: {breach.found}",
            "set server.express = false and look again; either way, report it.",
        )


def service(facts: Facts) -> Iterator[Finding]:
    if facts.service_stale:
        yield Finding(
            "service-stale",
            facts.service_stale,
            "`supervisor service install` writes it anew.",
        )


INSTANCE_CHECKS = (
    configuration, reload, runs, answers, port, version, actors, log_lines, front_door, contract,
    service,
)  # fmt: skip

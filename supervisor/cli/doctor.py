"""`supervisor doctor`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supervisor import exit_codes
from supervisor.cli.auth_place import runs
from supervisor.cli.manual import PLACE_VARIABLES, Documented, Manual
from supervisor.cli.wording import printable

if TYPE_CHECKING:
    from supervisor.doctor.facts import Facts
    from supervisor.doctor.finding import Finding


_MANUAL = Manual(
    examples={
        "supervisor doctor": "Everything, in a second or two.",
        "supervisor doctor --offline --no-replay": "Only what can be read on this machine.",
        "supervisor doctor --json | jq '.findings[].fix'": "For programs.",
    },
    exits={
        exit_codes.STOPPED_AS_ASKED: "nothing is wrong; there may be notes",
        exit_codes.FAILED: "something is wrong; each with its fix",
    },
    environment={
        **PLACE_VARIABLES,
        "CLAUDE_CONFIG_DIR": "where Claude Code's settings and login are",
    },
    see=("supervisor status", "docs/troubleshooting.md#what-doctor-finds"),
)


@click.command(
    short_help="Look for everything that could be wrong, and say how to mend it.",
    cls=Documented,
    manual=_MANUAL,
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--offline", is_flag=True, help="Do not ask the upstream for the time.")
@click.option("--no-replay", is_flag=True, help="Leave out the gateway contract.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration file, if it is not the running instance's or in its usual place.",
)
def doctor(as_json: bool, offline: bool, no_replay: bool, config: Path | None) -> None:
    """Look for everything that could be wrong, and say how to mend it.

    Looked at are Claude Code's settings and what of this shell overrides them, the program and its
    port, accounts, the clock, file rights, the disk, certificates and proxies. The contract of a
    gateway for Claude Code is replayed by a second program of the same configuration in front of a
    built-in upstream; nothing is charged. The real upstream gets one request without a credential.

    The name in brackets at the end of a finding is its heading in docs/troubleshooting.md.
    """
    facts = look(config, online=not offline, replay=not no_replay)

    from supervisor.doctor.checks import findings

    by_area = findings(facts)
    if as_json:
        click.echo(json.dumps(_document(facts, by_area), indent=2))
    else:
        _tell(facts, by_area)
    if any(one.level == "wrong" for _, found in by_area for one in found):
        sys.exit(exit_codes.FAILED)


def look(config: Path | None, *, online: bool, replay: bool) -> Facts:
    """Everything that is looked at."""
    import msgspec

    from supervisor.doctor.gathering import gathered

    found = runs()
    if config is None and found is not None and found.instance.config:
        config = Path(found.instance.config)
    facts = gathered(config, os.environ, found, online=online)
    if not replay or facts.config_errors:
        return facts
    from supervisor.doctor.replica import replayed

    # The running one may have been given other accounts than this shell would give it.
    mode = facts.status.get("mode")
    pool = mode == "pool" if mode else bool(facts.accounts)
    breaches = replayed(facts.config, pool=pool)
    return msgspec.structs.replace(facts, breaches=tuple(breaches))


def _tell(facts: Facts, by_area: list[tuple[str, list[Finding]]]) -> None:
    for area, found in by_area:
        click.echo(f"{area}: {'ok' if not found else ''}".rstrip(" "))
        for one in found:
            click.echo(f"  {one.level}: {printable(one.message)} [{one.symptom}]")
            click.echo(f"    {printable(one.fix)}")
    left_out = _left_out(facts)
    if left_out:
        click.echo(f"not looked at: {', '.join(left_out)}")
    wrong = sum(one.level == "wrong" for _, found in by_area for one in found)
    click.echo(f"\n{wrong} {'thing is' if wrong == 1 else 'things are'} wrong" if wrong else
               "\nnothing is wrong")  # fmt: skip


def _left_out(facts: Facts) -> list[str]:
    """What could not be known, so that silence is not taken for health."""
    left_out = []
    if not facts.url:
        left_out.append("what only a running instance knows")
    elif not facts.status:
        left_out.append("the running instance's status: it wants a token that is not known here")
    if facts.breaches is None:
        left_out.append("the gateway contract")
    if facts.upstream is None:
        left_out.append("the way to the upstream, and the clock against its")
    elif facts.upstream.date is None:
        left_out.append("the clock against the upstream's")
    return left_out


def _document(facts: Facts, by_area: list[tuple[str, list[Finding]]]) -> dict[str, Any]:
    return {
        "version": facts.installed,
        "instance": facts.url or None,
        "healthy": not any(one.level == "wrong" for _, found in by_area for one in found),
        "not_looked_at": _left_out(facts),
        "findings": [
            {
                "area": area,
                "symptom": one.symptom,
                "level": one.level,
                "message": one.message,
                "fix": one.fix,
            }
            for area, found in by_area
            for one in found
        ],
    }

"""`make captures`: plays a new user's first day with the real program and draws what the terminal shows.

Writes docs/captures/*.svg. A second run writes the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from supervisor.version import version
from tests.captures.clock import NoClock
from tests.captures.picture import COLUMNS, Picture, Shown, svg
from tests.captures.play import (
    FAILED_OVER,
    HOME,
    KEY,
    MINUTES_BETWEEN,
    OBSERVED_SECONDS,
    REQUESTS,
    Stage,
    TooBusy,
    stage,
)
from tests.captures.steady import steady

FOLDER = Path(__file__).parents[2] / "docs" / "captures"
PAGE_COLUMNS = 80
WIDE_COLUMNS = 140
BROKEN = """\
[server]
prot = 4080

[routing]
strategy = "fill-frist"

[[account]]
name = "work"
api_key = "${NOT_SET}"
"""


async def pictures() -> list[Picture]:
    """Plays it."""
    async with stage() as here:
        drawn = [*await _before(here), *await _while_it_runs(here)]
        return [
            picture._replace(shown=tuple(_steady(here, shown) for shown in picture.shown))
            for picture in drawn
        ]


async def _before(here: Stage) -> list[Picture]:
    setup = await here.shows("supervisor setup --no-service", answers=4, ANTHROPIC_API_KEY=KEY)
    accounts = await here.shows("supervisor auth list")
    (here.home / "broken.toml").write_text(BROKEN, "utf-8")
    return [
        Picture("setup", "set up", (setup, accounts)),
        Picture(
            "check", "every mistake at once", (await here.shows("supervisor check broken.toml"),)
        ),
        Picture(
            "help",
            "help",
            (await here.shows("supervisor usage --help", columns=PAGE_COLUMNS),),
            PAGE_COLUMNS,
        ),
    ]


async def _while_it_runs(here: Stage) -> list[Picture]:
    async with here.running("supervisor run") as screen:
        banner = Picture("run", "run", (Shown("supervisor run", screen.said),))
        return [banner, *await _at_work(here), *await _afterwards(here)]


async def _at_work(here: Stage) -> list[Picture]:
    """Turn after turn, until the login is spent and the key takes over."""
    drawn = []
    *served, _, _ = REQUESTS
    for request_id, model, _ in REQUESTS:
        here.clock.move(MINUTES_BETWEEN)
        await here.asks(request_id, model)
        await trio.sleep(OBSERVED_SECONDS)
        if request_id == served[-1][0]:
            title = "quota, and when it will be used up"
            drawn.append(await _one(here, "status", title, "supervisor status"))
            title = "for Claude Code's status line"
            drawn.append(await _one(here, "statusline", title, "supervisor statusline"))
    here.clock.move(1)
    here.everything_has_its_price()
    return drawn


async def _afterwards(here: Stage) -> list[Picture]:
    (here.home / "monday.jsonl").write_bytes(here.log.read_bytes())
    explain = f"supervisor explain {FAILED_OVER}"
    simulate = "supervisor simulate --log monday.jsonl --allowance 20000"
    by_account = await here.shows("supervisor usage")
    by_model = await here.shows("supervisor usage --by model")
    made = await here.shows("supervisor keys create --name ann --days 30")
    listed = await here.shows("supervisor keys list")
    return [
        Picture("usage", "what it cost", (by_account, by_model)),
        Picture("keys", "keys for several people", (made, listed)),
        await _one(here, "logs", "what happened", "supervisor logs", WIDE_COLUMNS),
        await _one(here, "explain", "why it went there", explain, WIDE_COLUMNS),
        await _one(here, "simulate", "what another strategy would have done", simulate),
        await _one(here, "doctor", "what is wrong", "supervisor doctor --offline"),
    ]


async def _one(here: Stage, name: str, title: str, line: str, columns: int = COLUMNS) -> Picture:
    return Picture(name, title, (await here.shows(line, columns=columns),), columns)


def _steady(here: Stage, shown: Shown) -> Shown:
    if shown.line.endswith("--help"):
        return shown  # the same wherever and whenever; its dates are examples
    said = steady(
        shown.said,
        home=str(here.home),
        shown_home=HOME,
        port=here.port,
        upstream=here.upstream,
        clock=here.clock,
        version=version(),
    )
    return shown._replace(said=said)


def main() -> None:
    try:
        drawn = trio.run(pictures)
    except* (NoClock, TooBusy) as group:
        sys.exit(f"captures: {group.exceptions[0]}")
    FOLDER.mkdir(exist_ok=True)
    changed = 0
    for picture in drawn:
        file = FOLDER / f"{picture.name}.svg"
        content = svg(picture)
        changed += not file.exists() or file.read_text("utf-8") != content
        file.write_text(content, "utf-8")
    sys.stdout.write(f"drawn: {len(drawn)} pictures in docs/captures, {changed} of them changed\n")


if __name__ == "__main__":
    main()

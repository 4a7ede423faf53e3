"""What `--help` says beyond click's own: examples, exit codes, files, variables, where to read on.

A `Manual` stands beside its command and is drawn here alone, so all commands look the same. Its
examples are parsed by a test with the parser that serves users, and docs/commands.md is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import click

from supervisor import exit_codes
from supervisor.cli.exclusive import refuse_contradictions

Rows = Mapping[str, str]
_NO_ROWS: Rows = MappingProxyType({})

_UNBROKEN = "\N{NON-BREAKING HYPHEN}"

DONE = "done"
NOT_UNDERSTOOD = "the command line was not understood"

NEEDS_AN_INSTANCE: Mapping[int, str] = {
    exit_codes.NOTHING_ANSWERS: "nothing runs, or it does not answer",
    exit_codes.PERMISSION: "the running instance wants its access token, or a file may not be read",
}
NEEDS_A_CONFIGURATION: Mapping[int, str] = {
    exit_codes.PERMISSION: "a file may not be read or written",
    exit_codes.CONFIGURATION: "the configuration has errors; each is named",
}
STORE_EXITS: Mapping[int, str] = {
    exit_codes.PERMISSION: "the token store may not be read or written",
}
STATE_VARIABLE: Rows = {"SUPERVISOR_STATE_DIR": "the state directory, instead of the platform's"}
PLACE_VARIABLES: Rows = {
    "SUPERVISOR_CONFIG": "the configuration file, where none is named",
    **STATE_VARIABLE,
}


class Manual(NamedTuple):
    """The parts of a help page that are not in the command's docstring and options."""

    examples: Rows
    """A line as one would type it -> what it does."""
    exits: Mapping[int, str] = MappingProxyType({})
    """What each exit code means here; 0 and 2 are known without."""
    files: Rows = _NO_ROWS
    environment: Rows = _NO_ROWS
    see: tuple[str, ...] = ()
    """Other commands (`supervisor logs`) and pages (`docs/operating.md#costs`)."""
    also: Rows = _NO_ROWS
    """Rows of a section of its own, under `also_heading`."""
    also_heading: str = ""

    def exit_rows(self) -> Rows:
        """Every exit code in ascending order."""
        known = {
            exit_codes.STOPPED_AS_ASKED: DONE,
            exit_codes.USAGE: NOT_UNDERSTOOD,
            **self.exits,
        }
        return {str(code): known[code] for code in sorted(known)}

    def sections(self) -> list[tuple[str, Rows]]:
        """All but exit codes, examples and where to read on: heading and rows, none empty."""
        some = ((self.also_heading, self.also), ("Files", self.files))
        rest = [*some, ("Environment", self.environment)]
        return [(heading, rows) for heading, rows in rest if rows]


class _Formatter(click.HelpFormatter):
    """Breaks no line inside `--no-client` or `llm-supervisor`, as textwrap would after a hyphen."""

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", _UNBROKEN))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        kept = [(first, second.replace("-", _UNBROKEN)) for first, second in rows]
        super().write_dl(kept, col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_UNBROKEN, "-")


class _Context(click.Context):
    formatter_class = _Formatter


def _with_short_help_option(options: dict[str, Any]) -> dict[str, Any]:
    """`-h` on every command by itself: click makes the option once, in whatever context comes first."""
    settings = {**(options.get("context_settings") or {}), "help_option_names": ["-h", "--help"]}
    return {**options, "context_settings": settings}


class Documented(click.Command):
    """A command with a `manual`."""

    context_class = _Context

    def __init__(self, *args: Any, manual: Manual, **options: Any) -> None:
        super().__init__(*args, **_with_short_help_option(options))
        self.manual = manual

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:  # completion looks at half a line
            refuse_contradictions(self.params, args, ctx)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(self.manual, self.manual.exit_rows(), formatter)


class DocumentedGroup(click.Group):
    """A group with a `manual`, whose commands have one each."""

    command_class = Documented
    context_class = _Context

    def __init__(self, *args: Any, manual: Manual, **options: Any) -> None:
        super().__init__(*args, **_with_short_help_option(options))
        self.manual = manual

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Those of a group are its commands'; the program's own are listed.
        _write(self.manual, self.manual.exit_rows() if self.manual.exits else {}, formatter)


def _write(manual: Manual, exits: Rows, formatter: click.HelpFormatter) -> None:
    """The manual's sections, below what click writes."""
    with formatter.section("Examples"):
        for line, meaning in manual.examples.items():
            _write_line(line, formatter)
            with formatter.indentation(), formatter.indentation():
                formatter.write_text(meaning)
    for heading, rows in (("Exit codes", exits), *manual.sections()):
        if rows:
            with formatter.section(heading):
                formatter.write_dl(list(rows.items()))
    if manual.see:
        with formatter.section("See also"):
            for place in manual.see:
                _write_line(place, formatter)


def _write_line(line: str, formatter: click.HelpFormatter) -> None:
    """What is to be copied is not wrapped."""
    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")

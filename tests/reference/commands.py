"""docs/commands.md: every command, made of the parser that serves users and of nothing else.

`python -m tests.reference.commands` writes it (`make reference`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from supervisor.cli.group import PROGRAM, commands
from supervisor.cli.manual import Documented, DocumentedGroup, Manual

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "commands.md"
WIDTH = 80

INTRODUCTION = """\
# Commands

What `supervisor COMMAND --help` says of each. This page is written by `make reference` from the
program itself, and `make test` fails when the two do not agree.

![a help page](captures/help.svg)

Human text goes to a terminal with colours, plain where it is piped or `NO_COLOR` is set. Errors are on
stderr, with what to do next.
"""


def every_command() -> Iterator[tuple[str, Documented | DocumentedGroup]]:
    """`supervisor`, `supervisor run`, ..., `supervisor auth`, `supervisor auth add`, ..."""
    yield from _below(PROGRAM, commands)


def _below(path: str, command: click.Command) -> Iterator[tuple[str, Documented | DocumentedGroup]]:
    assert isinstance(command, Documented | DocumentedGroup), f"{path} has no manual"
    yield path, command
    if isinstance(command, DocumentedGroup):
        for name in command.list_commands(click.Context(command)):
            yield from _below(f"{path} {name}", command.commands[name])


def context_of(path: str, command: click.Command) -> click.Context:
    """As the program makes it, with the settings of the groups above; nothing is run."""
    parent = commands.context_class(commands, info_name=PROGRAM, **commands.context_settings)
    names = path.split()[1:]
    if not names:
        return parent
    return command.context_class(command, info_name=" ".join(names), parent=parent)


def help_of(path: str, command: click.Command, width: int = WIDTH) -> str:
    """The help page, for a terminal of `width` columns."""
    context = context_of(path, command)
    context.terminal_width = min(width, 80) - 2  # click leaves two free
    return command.get_help(context)


def render() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for path, command in every_command():
        level = "##" if path.count(" ") < 2 else "###"
        manual: Manual = command.manual
        parts.append(f"\n{level} `{path}`\n\n```\n{help_of(path, command)}\n```\n")
        parts += [f"\nMore: {', '.join(links)}.\n"] if (links := _links(manual)) else []
    return "".join(parts)


def _links(manual: Manual) -> list[str]:
    pages = [place for place in manual.see if place.startswith("docs/")]
    return [f"[{page.removeprefix('docs/')}]({page.removeprefix('docs/')})" for page in pages]


def main() -> None:
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"written: docs/{PAGE.name}\n")


if __name__ == "__main__":
    main()

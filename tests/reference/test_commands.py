"""Every help page: examples that the parser takes, pages that exist, lines that fit a terminal."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from supervisor import exit_codes
from supervisor.cli.group import PROGRAM, commands
from supervisor.cli.manual import Documented, DocumentedGroup
from tests.kit.markdown import anchors
from tests.reference import commands as page

EVERY = dict(page.every_command())
OPERATORS = {"|", "||", "&&", ";", ">", "<", ">>"}
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
PLAIN_COMMANDS = {"echo", "jq", "grep", "pass", "pipx", "head", "env"}
"""What an example may use beside us."""


def pieces(line: str) -> Iterator[list[str]]:
    """The commands of a line of the shell; what stands behind > and < is left out."""
    words: list[str] = []
    skip = False
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in lexer:
        if word in OPERATORS:
            if words:
                yield words
            words, skip = [], word in {">", "<", ">>"}
        elif not skip:
            words.append(word)
    if words:
        yield words


def parse(arguments: list[str]) -> list[str]:
    """Has the program's own parser look at it, and runs nothing; the names of the commands.

    Raises click's UsageError.
    """
    context = commands.make_context(PROGRAM, list(arguments))
    command: click.Command = commands
    names = []
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, found, rest = command.resolve_command(context, rest)
        assert name is not None
        assert found is not None
        names.append(name)
        command, context = found, found.make_context(name, rest, parent=context)
    return names


def examples() -> list[tuple[str, str]]:
    return [(path, line) for path, command in EVERY.items() for line in command.manual.examples]


def test_the_page_is_what_the_program_says() -> None:
    assert page.PAGE.read_text("utf-8") == page.render(), "run `make reference` and commit it"


def test_every_command_and_every_subcommand_is_on_the_page() -> None:
    told = re.findall(r"^##+ `(.+)`$", page.PAGE.read_text("utf-8"), re.M)
    assert told == list(EVERY)
    assert len(told) > 40
    assert {"supervisor", "supervisor run", "supervisor auth add"} <= set(told)


@pytest.mark.parametrize(("path", "line"), examples())
def test_each_example_is_taken_by_the_parser(path: str, line: str) -> None:
    ours = 0
    for words in pieces(line):
        while ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        if words[0] == PROGRAM:
            assert parse(words[1:])
            ours += 1
        else:
            assert words[0] in PLAIN_COMMANDS, line
    assert ours, "an example without the program"
    assert any(
        f"{PROGRAM} {' '.join(parse(words[1:]))}".startswith(path)
        for words in pieces(re.sub(r"^(\w+=\S+ )+", "", line))
        if words[0] == PROGRAM
    ), f"an example of another command than {path}"


@pytest.mark.parametrize(
    "line", ["run --prot 1", "usage --by colour", "keys create", "auth nonsense", "explain"]
)
def test_an_example_that_rotted_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(shlex.split(line))


@pytest.mark.parametrize("path", EVERY)
def test_each_help_page_is_whole(path: str) -> None:
    command = EVERY[path]
    shown = page.help_of(path, command)
    assert shown.startswith(f"Usage: {path} [OPTIONS]")
    if path != PROGRAM:
        assert command.short_help
        assert command.short_help.endswith(".")
    assert command.help
    assert command.manual.examples
    assert command.manual.see
    assert re.findall(r"^(\S.+):$", shown, re.M)[-1] == "See also"
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{path} {option.name}"


@pytest.mark.parametrize("path", EVERY)
def test_each_help_page_fits_a_terminal_of_eighty_columns(path: str) -> None:
    wide = [line for line in page.help_of(path, EVERY[path]).splitlines() if len(line) > 80]
    assert wide == []


@pytest.mark.parametrize("path", EVERY)
def test_each_exit_code_is_one_of_the_program(path: str) -> None:
    known = {value for value in vars(exit_codes).values() if isinstance(value, int)}
    assert set(EVERY[path].manual.exits) <= known
    shown = page.help_of(path, EVERY[path])
    if isinstance(EVERY[path], Documented):
        assert "Exit codes:\n  0 " in shown
    else:
        assert ("Exit codes:" in shown) == (path == PROGRAM)


@pytest.mark.parametrize("path", EVERY)
def test_what_is_named_to_read_on_is_there(path: str) -> None:
    for place in EVERY[path].manual.see:
        if place.startswith("docs/"):
            name, _, anchor = place.partition("#")
            assert (page.ROOT / name).is_file(), place
            assert not anchor or anchor in anchors((page.ROOT / name).read_text("utf-8")), place
        else:
            assert place in EVERY, place


def test_a_word_with_a_hyphen_is_never_broken() -> None:
    for path, command in EVERY.items():
        broken = re.findall(r"\w-$", page.help_of(path, command), re.M)
        assert broken == [], path


def test_a_group_says_which_exit_codes_only_where_they_are_its_own() -> None:
    assert isinstance(EVERY["supervisor keys"], DocumentedGroup)
    assert EVERY["supervisor keys"].manual.exits == {}


def test_pages_of_the_documentation_link_to_places_that_exist() -> None:
    """Every relative link of README and docs/, with its anchor."""
    root = page.ROOT
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    dead = [
        f"{source.relative_to(root)}: {target}"
        for source in pages
        for target in _links(source.read_text("utf-8"))
        if not _leads_somewhere(source, target)
    ]
    assert dead == []


def _links(text: str) -> list[str]:
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def _leads_somewhere(source: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    file = (source.parent / name) if name else source
    if not file.exists():
        return False
    return not anchor or anchor in anchors(file.read_text("utf-8"))

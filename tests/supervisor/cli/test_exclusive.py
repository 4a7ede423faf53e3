"""Flags that contradict each other are refused; click alone would take the last, and say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from supervisor.cli.group import commands
from tests.supervisor.cli.conftest import Invoke


def both_ways(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Every `--flag/--no-flag` of every command, each way said."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from both_ways(command, *path, name)
            continue
        for flag in command.params:
            if isinstance(flag, click.Option) and flag.secondary_opts:
                yield (*path, name, flag.opts[0], flag.secondary_opts[0])


@pytest.mark.parametrize(
    "line",
    [
        ("auth", "add", "work", "--api-key", "--token"),
        ("auth", "login", "work", "--pkce", "--console"),
        ("status", "--json", "--watch"),
        *both_ways(commands),
    ],
    ids=" ".join,
)
def test_flags_that_contradict_each_other_are_a_usage_error_that_names_both(
    line: tuple[str, ...], invoke: Invoke, state_dir: Path
) -> None:
    done = invoke(*line, stdin="sk-ant-api03-canary\n")
    assert done.exit_code == 2
    assert f"{line[-2]} and {line[-1]} exclude each other" in done.stderr
    assert f"Usage: supervisor {line[0]}" in done.stderr
    assert done.stdout == ""
    assert not state_dir.exists()


def test_their_order_changes_nothing(invoke: Invoke) -> None:
    done = invoke("auth", "add", "work", "--token", "--api-key", stdin="sk-ant-oat01-canary\n")
    assert done.exit_code == 2
    assert "--api-key and --token exclude each other" in done.stderr


def test_a_flag_said_twice_says_nothing_new(invoke: Invoke, state_dir: Path) -> None:
    done = invoke("auth", "add", "work", "--token", "--token", stdin="sk-ant-oat01-canary\n")
    assert done.exit_code == 0, done.stderr
    assert (state_dir / "accounts.json").exists()


def test_what_follows_two_hyphens_is_no_flag(invoke: Invoke) -> None:
    done = invoke("auth", "add", "--token", "--", "--api-key", stdin="sk-ant-oat01-canary\n")
    assert done.exit_code == 0, done.stderr
    assert "account --api-key (token) is stored" in done.stdout

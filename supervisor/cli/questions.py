"""Questions to a person, each of which a flag can answer beforehand."""

from __future__ import annotations

import sys

import click

from supervisor import exit_codes
from supervisor.cli.failure import Failure


class Questions:
    """With `yes` nobody is asked: every question is answered by its default."""

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes

    def agreed(self, question: str, flag: str, given: bool | None, *, default: bool = True) -> bool:
        """The answer: `given` by the flag, else the person's. Raises Failure where there is none."""
        if given is not None:
            return given
        if self._yes:
            return default
        self._somebody(question, f"--{flag} or --no-{flag}")
        return click.confirm(question, default=default, err=True)

    def number(self, question: str, flag: str, *, default: int) -> int:
        """The same for a port."""
        if self._yes:
            return default
        self._somebody(question, f"--{flag} NUMBER")
        answer: int = click.prompt(
            question, type=click.IntRange(1, 65535), default=default, err=True
        )
        return answer

    def _somebody(self, question: str, flags: str) -> None:
        if not sys.stdin.isatty():
            raise Failure(
                exit_codes.USAGE,
                f"nobody is there to answer: {question}",
                f"say {flags}, or --yes for the usual answer to everything; nothing was changed.",
            )

"""How a command ends when it could not do what was asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import click


class Failure(click.ClickException):
    """Ends the command with `exit_code`, after `message` and what to do next on stderr."""

    def __init__(self, exit_code: int, message: str, *what_to_do: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance
        self.what_to_do = what_to_do

    def show(self, file: IO[Any] | None = None) -> None:
        lines: Iterable[str] = (f"supervisor: {self.message}", *(f"  {x}" for x in self.what_to_do))
        for line in lines:
            click.echo(line, file=file, err=file is None)

"""A secret from a person or from a pipe, never from the command line, where others can see it."""

from __future__ import annotations

import sys

import click

from supervisor import exit_codes
from supervisor.cli.failure import Failure

LONGEST = 16_384
"""Characters; no credential comes near it, and a wrong file does."""


def read_secret(what: str) -> str:
    """One line from stdin, or asked for without an echo. Raises Failure for none and for rubbish."""
    if sys.stdin.isatty():
        text = str(click.prompt(what, hide_input=True, prompt_suffix=": ", err=True))
    else:
        text = sys.stdin.read(LONGEST + 1)
    text = text.strip()
    if not text:
        raise Failure(exit_codes.USAGE, f"no {what} was given: type it, or pipe it in")
    if len(text) > LONGEST or not all("!" <= character <= "~" for character in text):
        raise Failure(
            exit_codes.USAGE,
            f"that is no {what}: it is one line of visible ASCII without spaces",
        )
    return text

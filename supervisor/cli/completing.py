"""Completion in fish and zsh, as click has it but for what does not work there.

Imported only where a shell asks (`_SUPERVISOR_COMPLETE` is set).
"""

from __future__ import annotations

from click.shell_completion import FishComplete, ZshComplete, add_completion_class

_FISH_SPLIT = 'string split ","'
_ZSH_FIRST_LINE = "#compdef %(prog_name)s\n"
_ZSH_SYSTEM = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }\n"


class Fish(FishComplete):
    """Descriptions with a comma in them are not cut at it."""

    source_template = FishComplete.source_template.replace(
        _FISH_SPLIT, _FISH_SPLIT.replace("split", "split --max 1")
    )


class Zsh(ZshComplete):
    """Starts zsh's own completion where no start file of the user's did: `compdef` is part of it."""

    source_template = ZshComplete.source_template.replace(
        _ZSH_FIRST_LINE, _ZSH_FIRST_LINE + _ZSH_SYSTEM
    )


def install() -> None:
    """Has click use these, under the names of the shells."""
    for shell in (Fish, Zsh):
        add_completion_class(shell)

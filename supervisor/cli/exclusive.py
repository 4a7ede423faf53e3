"""Flags that contradict each other: refused, where click would quietly take the last one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click


def refuse_contradictions(
    parameters: Iterable[click.Parameter], arguments: Sequence[str], context: click.Context
) -> None:
    """Raises click.UsageError for flags that give one parameter two values: `--api-key --token`,
    `--client --no-client`. The same flag twice says nothing new."""
    given = set(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    chosen: dict[str, list[str]] = {}
    for flag in parameters:
        if not (isinstance(flag, click.Option) and flag.is_flag):
            continue
        for spellings in (flag.opts, flag.secondary_opts):
            used = next((one for one in spellings if one in given), None)
            if used is not None and flag.name is not None:
                chosen.setdefault(flag.name, []).append(used)
    for flags in chosen.values():
        if len(flags) > 1:
            raise exclude_each_other(*flags, context=context)


def exclude_each_other(*flags: str, context: click.Context | None = None) -> click.UsageError:
    """What is raised for flags of which only one can be given."""
    return click.UsageError(f"{' and '.join(flags)} exclude each other; say one of them", context)

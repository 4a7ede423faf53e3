"""docs/configuration-reference.md: every key, made of `protocol.config` and of nothing else.

`python -m tests.reference.configuration` writes it (`make reference`). Type, range and unit are the
types' own, in the words of an error message; the meaning is the text below each key in the source.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import inspect as types

from protocol.config.compare import applies_at_restart
from protocol.config.schema import Rule, allowed, element_of, root, rule_of
from supervisor.effective import toml_value

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration-reference.md"

INTRODUCTION = """\
# Configuration reference

Every key of `config.toml`. This page is written by `make reference` from the code that reads the
file, and `make test` fails when the two do not agree. [Configuration](configuration.md) says where
the file is, what wins over it and how errors look; `supervisor check` prints what is in effect on
your machine.

Durations are seconds, whole or with fractions. Where a change says *restart*, it takes effect when
the program is started again; *at once* is within two seconds of the file being saved. Each key of
a plain table has a variable, `SUPERVISOR_<SECTION>_<KEY>`: `SUPERVISOR_SERVER_PORT`.
"""


REQUIRED, NOT_SET = "required", "not set"


class Key(NamedTuple):
    """One key, as the page tells it."""

    path: str
    """`server.port`; of an array of tables `account.name`."""
    allowed: str
    default: str
    """As TOML; `NOT_SET`, or `REQUIRED` where the key has to be written."""
    restart: bool
    meaning: str


class Table(NamedTuple):
    heading: str
    """`[server]`, `[[account]]`."""
    meaning: str
    keys: list[Key]


class Undocumented(Exception):
    """A key, or a table, that says nothing about itself."""


def tables() -> Iterator[Table]:
    """In the order of the file. Raises Undocumented."""
    for field in root().fields:
        element = element_of(field.type)
        kind = element or field.type
        assert isinstance(kind, types.StructType)
        name = field.encode_name
        heading = f"[[{name}]]" if element else f"[{name}]"
        yield Table(heading, _meaning_of_table(kind.cls), list(_keys(name, kind)))


def _keys(table: str, kind: types.StructType) -> Iterator[Key]:
    meanings = meanings_of(kind.cls)
    for field in kind.fields:
        path = f"{table}.{field.encode_name}"
        if not meanings.get(field.name):
            raise Undocumented(f"{path}: say below it, in {kind.cls.__module__}, what it means")
        rule = rule_of(field.type)
        yield Key(
            path=path,
            allowed=_allowed(rule),
            default=_default(field, rule),
            restart=applies_at_restart(path),
            meaning=meanings[field.name],
        )


def meanings_of(cls: type) -> dict[str, str]:
    """By attribute: the text that stands below it in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for above, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(above, ast.AnnAssign)
            and isinstance(above.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[above.target.id] = " ".join(below.value.value.split())
    return found


def _meaning_of_table(cls: type) -> str:
    """The class's own text, without the table's name that it begins with."""
    text = " ".join((cls.__doc__ or "").split())
    _, bracket, meaning = text.partition("]`")
    meaning = meaning.lstrip("],:. ")
    if not bracket or not meaning:
        raise Undocumented(f"{cls.__module__}.{cls.__name__}: say what the table is about")
    return meaning[0].upper() + meaning[1:]


def _allowed(rule: Rule) -> str:
    words = allowed(rule)
    if isinstance(rule.kind, types.FloatType) and not rule.unit:
        words += " (a fraction)"
    return "a secret: " + words if rule.is_secret else words


def _default(field: types.Field, rule: Rule) -> str:
    if field.required:
        return REQUIRED
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None and not (rule.is_secret and not rule.required):
        return NOT_SET  # an empty text is a mistake there
    return toml_value(value)


def render() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_section(table) for table in tables())


def _section(table: Table) -> str:
    lines = [
        "",
        f"## `{table.heading}`",
        "",
        table.meaning,
        "",
        "| key | value | default | change | meaning |",
        "|---|---|---|---|---|",
    ]
    for key in table.keys:
        cells = (
            f"`{key.path.partition('.')[2]}`",
            key.allowed,
            key.default if key.default in (REQUIRED, NOT_SET) else f"`{key.default}`",
            "restart" if key.restart else "at once",
            key.meaning,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"written: docs/{PAGE.name}\n")


if __name__ == "__main__":
    main()

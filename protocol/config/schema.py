"""What `model` says about each key, in the terms the rest of this package needs.

A `Rule` is a field's type without its wrapping: the constraint of `Annotated`, and None beside a
type, are read once here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import msgspec
from msgspec import inspect

from protocol.config.forms import FORMS
from protocol.config.model import Config
from protocol.secrets import Secret


class Rule(msgspec.Struct, frozen=True):
    """What one value must be."""

    kind: inspect.Type
    form: str = ""
    """The key in `FORMS` of a text or a secret."""
    words: tuple[str, ...] = ()
    """Texts that are allowed beside the form's."""
    required: bool = False
    """A secret that may not be empty where it is written."""
    unit: str = ""

    @property
    def is_secret(self) -> bool:
        return isinstance(self.kind, inspect.CustomType) and self.kind.cls is Secret

    @property
    def is_text(self) -> bool:
        return self.is_secret or isinstance(self.kind, inspect.StrType | inspect.LiteralType)


@cache
def _config() -> inspect.StructType:
    kind = inspect.type_info(Config)
    assert isinstance(kind, inspect.StructType)
    return kind


def root() -> inspect.StructType:
    """The type of the whole document."""
    return _config()


def rule_of(kind: inspect.Type) -> Rule:
    """The rule for a value of type `kind`."""
    extra: dict[str, object] = {}
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            extra.update(kind.extra or {})
            kind = kind.type
        else:
            kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    words = extra.get("words", ())
    optional = ("",) if extra.get("optional") else ()
    default_form = "credential" if isinstance(kind, inspect.CustomType) else "printable"
    return Rule(
        kind,
        form=str(extra.get("form", default_form)),
        words=(*optional, *(words if isinstance(words, tuple) else ())),
        required=bool(extra.get("required")),
        unit=str(extra.get("unit", "")),
    )


def element_of(kind: inspect.Type) -> inspect.StructType | None:
    """The Struct of an array of tables (`[[account]]`), else None."""
    if isinstance(kind, inspect.VarTupleType) and isinstance(kind.item_type, inspect.StructType):
        return kind.item_type
    return None


def sections() -> Iterator[tuple[str, inspect.StructType]]:
    """The plain tables by name; not the arrays of tables."""
    for field in root().fields:
        if isinstance(field.type, inspect.StructType):
            yield field.encode_name, field.type


@cache
def settings() -> Mapping[str, Rule]:
    """Every key of the plain tables, as `server.port`, with its rule."""
    return {
        f"{name}.{field.encode_name}": rule_of(field.type)
        for name, section in sections()
        for field in section.fields
    }


def allowed(rule: Rule) -> str:
    """In words, what a value under `rule` may be."""
    kind = rule.kind
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return f"{noun}{_range(kind)}{f' ({rule.unit})' if rule.unit else ''}"
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case inspect.StrType() | inspect.CustomType(cls=_) if rule.is_text:
            words = "".join(f', or "{word}"' for word in rule.words)
            return FORMS[rule.form].allowed + words
        case inspect.VarTupleType(min_length=shortest):
            if element_of(kind):
                return "an array of tables"
            at_least = f" of at least {shortest}" if shortest else ""
            return f"an array{at_least}, each {allowed(rule_of(kind.item_type))}"
        case inspect.DictType(value_type=value):
            return f"a table, each value {allowed(rule_of(value))}"
        case inspect.StructType():
            return "a table"
    return "any TOML value"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    low = f" above {kind.gt}" if kind.gt is not None else f" from {kind.ge}"
    high = f" below {kind.lt}" if kind.lt is not None else f" to {kind.le}"
    return low + high

"""Reads a document along the types in `model`, one value at a time.

A wrong value is noted and its default stands in for it, so that reading goes on and one run finds
every mistake. Nothing here knows about rules between keys; those are in `rules`.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping

from msgspec import Struct, inspect

from protocol.config import schema
from protocol.config.errors import (
    LARGEST_INTEGER,
    ConfigError,
    Refused,
    describe,
    did_you_mean,
    join,
    kind_of,
)
from protocol.config.forms import FORMS, is_utf8
from protocol.config.schema import Rule
from protocol.config.variables import expand, refers
from protocol.secrets import Secret

DEEPEST_METADATA = 16
"""Levels of tables and arrays in free-form values; far below what would exhaust the stack."""


class _Wrong:
    """Stands for a value that could not be read; its mistake is already noted."""


_WRONG = _Wrong()


class Reader:
    """One pass over one document. What it found on the way is in its public attributes."""

    def __init__(
        self,
        variables: Mapping[str, str],
        source: str,
        overlaid: Mapping[str, str],
        resolve_path: Callable[[str], str],
    ) -> None:
        self._variables = variables
        self._source = source
        self._overlaid = overlaid
        self._resolve_path = resolve_path
        self.errors: list[ConfigError] = []
        self.wrong: set[str] = set()
        self.origins: dict[str, str] = {}
        self.literal_secrets: list[str] = []

    def refuse(self, path: str, refused: Refused, found: str = "nothing") -> None:
        """Note a mistake, with the place that setting came from."""
        self.wrong.add(path)
        self.errors.append(
            ConfigError(
                self._origin(path) or self._source,
                path,
                refused.found or found,
                refused.allowed,
                refused.hint,
            )
        )

    def table(self, kind: inspect.StructType, raw: Mapping[str, object], path: str) -> Struct:
        """The Struct for a table. A missing or wrong key has its default, or is an empty text."""
        known = [field.encode_name for field in kind.fields]
        for key in raw:
            if key not in known:
                self.refuse(join(path, key), _unknown(key, known))
        values: dict[str, object] = {}
        for field in kind.fields:
            value = self._field(field, raw, join(path, field.encode_name))
            if not isinstance(value, _Wrong):
                values[field.name] = value
            elif field.required:
                values[field.name] = ""
        made = kind.cls(**values)
        assert isinstance(made, Struct)
        return made

    def _field(self, field: inspect.Field, raw: Mapping[str, object], path: str) -> object:
        if isinstance(field.type, inspect.StructType):
            return self.value(Rule(field.type), raw.get(field.encode_name, {}), path)
        if schema.element_of(field.type) is None:
            present = field.encode_name in raw
            self.origins[path] = (self._origin(path) or "file") if present else "default"
        rule = schema.rule_of(field.type)
        if field.encode_name in raw:
            return self.value(rule, raw[field.encode_name], path)
        if field.required:
            self.refuse(path, Refused(schema.allowed(rule)))
        return _WRONG

    def value(self, rule: Rule, raw: object, path: str) -> object:
        """The value for the program, or `_WRONG`."""
        try:
            return self._checked(rule, raw, path)
        except Refused as refused:
            found = kind_of(raw) + ", not shown" if rule.is_secret else describe(raw)
            self.refuse(path, refused, found)
            return _WRONG

    def _checked(self, rule: Rule, raw: object, path: str) -> object:
        match rule.kind:
            case inspect.StructType() if isinstance(raw, dict):
                return self.table(rule.kind, raw, path)
            case inspect.StructType():
                header = f"[[{path.partition('[')[0]}]]" if path.endswith("]") else f"[{path}]"
                raise Refused(f"a table, written as {header}")
            case inspect.VarTupleType():
                return self._array(rule, raw, path)
            case inspect.DictType():
                return self._mapping(rule, raw, path)
            case inspect.BoolType() if isinstance(raw, bool):
                return raw
            case inspect.IntType() | inspect.FloatType():
                return _number(rule, raw)
            case _ if rule.is_secret and isinstance(raw, str):
                return self._secret(rule, raw, path)
            case _ if rule.is_text and isinstance(raw, str):
                return self._text(rule, raw)
            case inspect.CustomType() if not rule.is_secret:
                return self._free_form(raw, path, DEEPEST_METADATA)
        raise Refused(schema.allowed(rule))

    def _array(self, rule: Rule, raw: object, path: str) -> object:
        assert isinstance(rule.kind, inspect.VarTupleType)
        if not isinstance(raw, list | tuple):
            tables = schema.element_of(rule.kind)
            raise Refused(f"tables, each written as [[{path}]]" if tables else schema.allowed(rule))
        if len(raw) < (rule.kind.min_length or 0):
            raise Refused(schema.allowed(rule), found="an empty array")
        element = schema.rule_of(rule.kind.item_type)
        values = [self.value(element, item, f"{path}[{i}]") for i, item in enumerate(raw)]
        tables = schema.element_of(rule.kind)
        if tables:  # all keep their position, which is in the paths of later errors
            return tuple(_blank(tables) if isinstance(v, _Wrong) else v for v in values)
        return _WRONG if any(isinstance(value, _Wrong) for value in values) else tuple(values)

    def _mapping(self, rule: Rule, raw: object, path: str) -> object:
        assert isinstance(rule.kind, inspect.DictType)
        if not isinstance(raw, dict):
            raise Refused(schema.allowed(rule))
        key_form = FORMS[schema.rule_of(rule.kind.key_type).form]
        item_rule = schema.rule_of(rule.kind.value_type)
        values = {}
        for key, item in raw.items():
            place = join(path, key)
            if key_form.check(key) is None:
                self.refuse(place, Refused(f"as a key, {key_form.allowed}"), "this key")
            values[key] = self.value(item_rule, item, place)
            if isinstance(values[key], _Wrong):
                self.wrong.add(place)
        broken = any(join(path, key) in self.wrong for key in raw)
        return _WRONG if broken else values

    def _text(self, rule: Rule, raw: str) -> str:
        text = expand(raw, self._variables)
        if isinstance(rule.kind, inspect.LiteralType):
            if text not in rule.kind.values:
                words = [str(value) for value in rule.kind.values]
                raise Refused(schema.allowed(rule), hint=did_you_mean(text, words))
            return text
        if text in rule.words:
            return text
        usable = FORMS[rule.form].check(text)
        if usable is None:
            raise Refused(schema.allowed(rule), found=None if text else "an empty text")
        return self._resolve_path(usable) if rule.form == "path" else usable

    def _secret(self, rule: Rule, raw: str, path: str) -> Secret | None:
        text = expand(raw, self._variables)
        if not text and not rule.required:
            return None
        if FORMS[rule.form].check(text) is None:
            raise Refused(schema.allowed(rule), found=None if text else "an empty text")
        if not refers(raw) and self._origin(path) is None:
            self.literal_secrets.append(path)
        return Secret(text)

    def _free_form(self, raw: object, path: str, depth: int) -> object:
        if depth == 0:
            raise Refused(f"at most {DEEPEST_METADATA} levels of tables and arrays")
        if isinstance(raw, str):
            text = expand(raw, self._variables)
            if is_utf8(text):
                return text
        elif isinstance(raw, dict):
            if all(isinstance(key, str) and is_utf8(key) for key in raw):
                items = {key: self._item(raw[key], join(path, key), depth) for key in raw}
                return _WRONG if any(isinstance(v, _Wrong) for v in items.values()) else items
        elif isinstance(raw, list | tuple):
            values = tuple(self._item(v, f"{path}[{i}]", depth) for i, v in enumerate(raw))
            return _WRONG if any(isinstance(value, _Wrong) for value in values) else values
        elif isinstance(raw, bool | float | datetime.date | datetime.time):
            return raw
        elif isinstance(raw, int) and abs(raw) <= LARGEST_INTEGER:
            return raw
        raise Refused("any TOML value", found=describe(raw))

    def _item(self, raw: object, path: str, depth: int) -> object:
        """A value inside free-form values."""
        try:
            return self._free_form(raw, path, depth - 1)
        except Refused as refused:
            self.refuse(path, refused, describe(raw))
            return _WRONG

    def _origin(self, path: str) -> str | None:
        """Where the `section.key` that `path` is part of was set, unless that is the file."""
        key = ".".join(path.split(".")[:2]).partition("[")[0]
        return self._overlaid.get(key)


def _blank(kind: inspect.StructType) -> object:
    """Stands for a table that is none."""
    return kind.cls(**{field.name: "" for field in kind.fields if field.required})


def _number(rule: Rule, raw: object) -> int | float:
    kind = rule.kind
    assert isinstance(kind, inspect.IntType | inspect.FloatType)
    whole = isinstance(kind, inspect.IntType)
    fits = isinstance(raw, int if whole else int | float) and not isinstance(raw, bool)
    if not fits or not isinstance(raw, int | float) or not math.isfinite(_safe(raw)):
        raise Refused(schema.allowed(rule))
    outside = (
        (kind.ge is not None and raw < kind.ge)
        or (kind.gt is not None and raw <= kind.gt)
        or (kind.le is not None and raw > kind.le)
        or (kind.lt is not None and raw >= kind.lt)
    )
    if outside:
        raise Refused(schema.allowed(rule))
    return raw if whole else float(raw)


def _safe(number: int | float) -> float:
    """A float to judge by; an integer too large for one counts as infinite."""
    return math.inf if isinstance(number, int) and abs(number) > LARGEST_INTEGER else float(number)


def _unknown(key: str, known: list[str]) -> Refused:
    hint = did_you_mean(key, known)
    if not hint:
        elsewhere = [path for path in schema.settings() if path.partition(".")[2] == key]
        hint = f"did you mean {elsewhere[0]}?" if len(elsewhere) == 1 else ""
    return Refused(", ".join(known), found="an unknown key", hint=hint)

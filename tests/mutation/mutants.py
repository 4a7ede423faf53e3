"""What can be wrong in a module of pure code: one small change each, that some test must notice.

Other than the tools that change functions alone, this changes tables, defaults and properties too:
that is where the decisions of `protocol` stand. Wording (texts with a space in them), annotations
and docstrings stay as they are: a test of those would be a copy of them.
"""

from __future__ import annotations

import ast
import copy
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
WORDING = re.compile(r"\s|^$")
"""Of a text that is changed by no mutant: a sentence, a separator, nothing."""


class Mutant(NamedTuple):
    """`name` stays the same when lines move: function, code before, code after, and which of several."""

    name: str
    line: int
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    seen: Counter[str] = Counter()
    for place, owner in _places(tree):
        original = place.get(tree)
        for changed in _changes(original, place):
            mutated = copy.deepcopy(tree)
            place.put(mutated, changed)
            name = f"{owner}: {_short(original)} -> {_short(changed)}"
            seen[name] += 1
            if seen[name] > 1:
                name += f" #{seen[name]}"
            yield Mutant(name, getattr(original, "lineno", 0), ast.fix_missing_locations(mutated))


class _Place(NamedTuple):
    """Where a node hangs in its tree, as steps from the root."""

    path: tuple[tuple[str, int | None], ...]

    def get(self, tree: ast.AST) -> ast.AST:
        node = tree
        for field, index in self.path:
            value = getattr(node, field)
            node = value if index is None else value[index]
        return node

    def put(self, tree: ast.AST, changed: ast.AST) -> None:
        parent = _Place(self.path[:-1]).get(tree)
        field, index = self.path[-1]
        if index is None:
            setattr(parent, field, changed)
        else:
            getattr(parent, field)[index] = changed

    @property
    def field(self) -> str:
        return self.path[-1][0]


UNTOUCHED = {"annotation", "returns", "decorator_list", "keywords_of_class", "bases", "msg"}


def _places(tree: ast.Module) -> Iterator[tuple[_Place, str]]:
    def walk(
        node: ast.AST, path: tuple[tuple[str, int | None], ...], owner: str
    ) -> Iterator[tuple[_Place, str]]:
        if path and not isinstance(node, ast.expr_context | ast.operator | ast.cmpop):
            yield _Place(path), owner
        if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr) or _is_docstring(node):
            return
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            owner = node.name if owner == "module" else f"{owner}.{node.name}"
        for field, value in ast.iter_fields(node):
            if field in UNTOUCHED or (isinstance(node, ast.ClassDef) and field == "keywords"):
                continue
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal"):
                continue
            children = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, child in children:
                if isinstance(child, ast.AST):
                    yield from walk(child, (*path, (field, index)), owner)

    yield from walk(tree, (), "module")


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST, place: _Place) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=ops):
            for index, operator in enumerate(ops):
                changed = copy.deepcopy(node)
                changed.ops[index] = COMPARISONS[type(operator)]()
                yield changed
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(op=operator) if type(operator) in ARITHMETIC:
            yield ast.BinOp(node.left, ARITHMETIC[type(operator)](), node.right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as value) if not WORDING.search(value):
            yield ast.Constant(f"other {value}")
        case ast.Constant(value=bytes() as value) if value.strip():
            yield ast.Constant(b"other " + value)
        case ast.Call():
            yield from _changed_calls(node)
        case ast.AugAssign(op=operator) if type(operator) in ARITHMETIC:
            yield ast.AugAssign(node.target, ARITHMETIC[type(operator)](), node.value)
        case ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield ast.Pass()
    if place.field in ("test", "ifs", "guard") and isinstance(
        node, ast.Name | ast.Attribute | ast.Call | ast.Subscript
    ):
        yield ast.UnaryOp(ast.Not(), node)


def _changed_calls(node: ast.Call) -> Iterator[ast.AST]:
    """`min` for `max`; and a `replace` that forgets one of the fields it sets."""
    name = ast.unparse(node.func)
    if name in CALLS:
        yield ast.Call(ast.Name(CALLS[name], ast.Load()), node.args, node.keywords)
    if name.rpartition(".")[2] == "replace":
        for index in range(len(node.keywords)):
            kept = [*node.keywords[:index], *node.keywords[index + 1 :]]
            yield ast.Call(node.func, node.args, kept)


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())
    return text if len(text) <= 90 else f"{text[:60]}...{text[-27:]}"

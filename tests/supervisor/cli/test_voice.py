"""One voice in all that is said to people: plain sentences, no apologies, no two words for one thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.cli.wording import counted

ROOT = Path(__file__).parents[3]
PACKAGES = ("actors", "protocol", "server", "supervisor")
ELSEWHERE = ("server/scripted", "protocol/translation", "protocol/providers.py")
"""What is said there, or looked for, are other servers' words."""

OUTLIERS = {
    r"(?i)\b(please|sorry|oops|unfortunately|successfully)\b": "say what is, and what to do",
    r"(?i)\b(failed to|unable to|couldn't|was not able)\b": "say `cannot` or `could not`",
    r"(?i)\bcan not\b": "cannot is one word",
    r"(?i)\b(don|doesn|can|won|isn|aren|wasn|haven|shouldn)'t\b": "write it out",
    r"[a-z]!(?:\s|$)": "nothing is shouted",
    r"^(?:Error|ERROR|Warning|WARNING)\b": "`supervisor:` and `warning:` stand before messages",
    r"\b(?:blacklist|whitelist|master|slave)\b": "say what it does",
}


def said() -> Iterator[tuple[str, str]]:
    """Every text of more than a word in the program, with its place; documentation left out."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(ELSEWHERE):
                tree = ast.parse(path.read_text("utf-8"))
                yield from _texts(tree, name)


def _texts(tree: ast.Module, name: str) -> Iterator[tuple[str, str]]:
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # a text that stands alone
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value.strip()
            and id(node) not in documentation
        ):
            yield f"{name}:{node.lineno}", node.value


def outliers(texts: Iterator[tuple[str, str]]) -> list[str]:
    return [
        f"{place}: {text!r}: {advice}"
        for place, text in texts
        for pattern, advice in OUTLIERS.items()
        if re.search(pattern, text)
    ]


def test_all_messages_are_in_one_voice() -> None:
    texts = list(said())
    assert len(texts) > 1000
    assert outliers(iter(texts)) == []


@pytest.mark.parametrize(
    "text",
    [
        "please try again",
        "failed to open it",
        "the file can not be read",
        "it doesn't answer",
        "all is done!",
        "Error: no such account",
    ],
)
def test_another_voice_would_be_heard(text: str) -> None:
    tree = ast.parse(f"click.echo({text!r})")
    assert len(outliers(_texts(tree, "a.py"))) == 1


def test_one_is_one_and_others_are_many() -> None:
    assert [counted(number, "line") for number in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]

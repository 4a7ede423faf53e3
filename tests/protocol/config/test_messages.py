"""What an author is told of a mistake: where it is, what stands there, what may, and no secret."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from protocol.config.errors import (
    LARGEST_INTEGER,
    LONGEST_QUOTE,
    ConfigError,
    ConfigInvalid,
    Refused,
    describe,
    did_you_mean,
    join,
    kind_of,
    quote,
)


def test_a_mistake_is_one_line_with_its_place() -> None:
    error = ConfigError("config.toml", "server.port", "the number 70000", "less")
    assert str(error) == "config.toml: server.port: found the number 70000; allowed: less"
    hinted = ConfigError("config.toml", "", "nothing", "text", "try so")
    assert str(hinted) == "config.toml: found nothing; allowed: text (try so)"


def test_all_mistakes_are_told_one_a_line() -> None:
    one, other = ConfigError("f", "a", "x", "y"), ConfigError("f", "b", "x", "y")
    invalid = ConfigInvalid((one, other))
    assert str(invalid) == f"{one}\n{other}"
    assert invalid.errors == (one, other)
    assert invalid.args == (str(one), str(other))


def test_what_is_refused_says_what_is_allowed() -> None:
    refused = Refused("less")
    assert (str(refused), refused.allowed, refused.found, refused.hint) == (
        "less",
        "less",
        None,
        "",
    )


@pytest.mark.parametrize(
    ("path", "key", "joined"),
    [
        ("", "server", "server"),
        ("server", "port", "server.port"),
        ("at", "5h_x-Y", "at.5h_x-Y"),
        ("at", "a b", 'at."a b"'),
        ("at", "", 'at.""'),
        ("", 'a"\n', '"a\\"\\n"'),
        ("at", "k" * 200 + " ", 'at."' + "k" * 80 + '..."'),
    ],
)
def test_a_path_is_written_as_toml_would(path: str, key: str, joined: str) -> None:
    assert join(path, key) == joined


def test_a_key_that_looks_like_a_credential_is_masked_in_its_path() -> None:
    assert "sk-ant-api03-canary0451" not in join("server", "sk-ant-api03-canary0451")


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a\nb", '"a\\nb"'),
        ("x" * LONGEST_QUOTE, '"' + "x" * 80 + '"'),
        ("x" * (LONGEST_QUOTE + 1), '"' + "x" * 80 + '..."'),
        ("https://user:pass@host/path", '"https://***host/path"'),
        ("https://host/path?key=v\nmore", '"https://host/path?***"'),
        ("user@host", '"user@host"'),
    ],
)
def test_a_quote_is_short_and_has_no_secret(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("value", "kind", "described"),
    [
        (True, "a boolean", "true"),
        (False, "a boolean", "false"),
        (5, "a number", "the number 5"),
        (1.5, "a number", "the number 1.5"),
        (LARGEST_INTEGER, "a number", f"the number {LARGEST_INTEGER}"),
        (-LARGEST_INTEGER, "a number", f"the number -{LARGEST_INTEGER}"),
        (LARGEST_INTEGER + 1, "a number", "a number of more than 64 bits"),
        (-LARGEST_INTEGER - 1, "a number", "a number of more than 64 bits"),
        ("", "a text", "an empty text"),
        ("a", "a text", 'the text "a"'),
        ([1], "an array", "an array"),
        ((1,), "an array", "an array"),
        ({"a": 1}, "a table", "a table"),
        (None, "nothing", "nothing"),
        (datetime.date(2026, 1, 1), "a date", "a date"),
    ],
)
def test_what_was_found_is_told_by_its_kind_and_where_it_fits_by_its_value(
    value: Any, kind: str, described: str
) -> None:
    assert kind_of(value) == kind
    assert describe(value) == described


def test_tomls_own_limit_is_that_of_64_bits() -> None:
    assert LARGEST_INTEGER == 9_223_372_036_854_775_807


def test_a_misspelling_is_answered_with_one_word_that_is_near() -> None:
    assert did_you_mean("prot", ["host", "port", "ports"]) == "did you mean port?"
    assert did_you_mean("x", ["host", "port"]) == ""
    assert did_you_mean("port" + "x" * 10_000, ["port"]) == ""

"""How one value after the other is read: what stands in for a wrong one, and what is said of it."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from protocol.config.decode import Decoded, decode_with_origins
from protocol.config.errors import LARGEST_INTEGER, ConfigError, ConfigInvalid
from protocol.config.overlay import Setting
from protocol.config.reader import DEEPEST_METADATA, Reader
from protocol.config.schema import root
from protocol.secrets import Secret

ACCOUNT = '[[account]]\nname = "a"\napi_key = "k"\n'
PROVIDER = '[[provider]]\nname = "p"\nbase_url = "https://p.test"\n'


def read(text: str, **more: Any) -> Decoded:
    return decode_with_origins(tomllib.loads(text), variables={}, source="f", **more)


def mistakes(document: Mapping[str, object]) -> list[ConfigError]:
    try:
        decode_with_origins(document, variables={}, source="f")
    except ConfigInvalid as invalid:
        return list(invalid.errors)
    return []


def mistake(text: str) -> tuple[str, str, str]:
    """Path, found and allowed of the only one."""
    (error,) = mistakes(tomllib.loads(text))
    return error.path, error.found, error.allowed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server = 1", ("server", "the number 1", "a table, written as [server]")),
        ("account = 1", ("account", "the number 1", "tables, each written as [[account]]")),
        ("account = [1]", ("account[0]", "the number 1", "a table, written as [[account]]")),
        (ACCOUNT + "models = []", ("account[0].models", "an empty array",
         "an array of at least 1, each a text that is not empty and has no control characters")),
        ("[access]\ntoken = 5", ("access.token", "a number, not shown",
         "a text of visible ASCII characters, no spaces")),
        ('[access]\ntoken = "a b"', ("access.token", "a text, not shown",
         "a text of visible ASCII characters, no spaces")),
        ("[[account]]\ntoken = 't'", ("account[0].name", "nothing",
         "a name of the characters a-z 0-9 . _ - that looks like no credential")),
        ('[probe]\nmodel = "${NONE:-}"', ("probe.model", "an empty text",
         "a text that is not empty and has no control characters")),
        ("[upstream]\nidle_timeout = nan", ("upstream.idle_timeout", "the number nan",
         "a number above 0 to 31536000 (seconds)")),
        ('[models]\naliases = { "" = "m" }', ('models.aliases.""', "this key",
         "as a key, a text that is not empty and has no control characters")),
        ("[models]\nalias = 1", ("models.alias", "an unknown key", "aliases, long_context")),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_what_may_stand_there(
    text: str, told: tuple[str, str, str]
) -> None:
    assert mistake(text) == told


def test_an_unknown_key_that_is_anothers_name_is_led_there() -> None:
    def hint(text: str) -> str:
        (error,) = mistakes(tomllib.loads(text))
        return error.hint

    assert hint("subscription_use = 1") == "did you mean access.subscription_use?"
    assert hint("max_connections = 1") == "", "of two keys none is meant more"
    assert hint("[server]\nzzz = 1") == ""


def test_a_wrong_value_does_not_keep_the_others_from_being_read() -> None:
    """Each has its default meanwhile, or is an empty text where it has none."""
    reader = Reader({}, "f", {}, str)
    kind = root()
    document = tomllib.loads(
        '[server]\nport = "x"\nexpress = false\n'
        "[[account]]\nname = 5\ntoken = 't'\nweight = 0\npriority = 3\n"
        "[routing]\nswitch_at = { '5h' = 2 }\n[server.x]\n"
    )
    config: Any = reader.table(kind, document, "")
    assert (config.server.port, config.server.express) == (4080, False)
    (account,) = config.accounts
    assert (account.name, account.weight, account.priority) == ("", 1, 3)
    assert config.routing.switch_at == {"5h": 0.98, "7d": 0.98}
    assert reader.wrong == {
        "server.port", "server.x", "account[0].name", "account[0].weight", "routing.switch_at.5h",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("routing", "switch_at", {"5h": 0.5, "7d": 2}),
        ("cooldown", "ladder", [60, 0]),
        ("models", "aliases", {"a": "m", "b": ""}),
        ("account", "models", ["m", 5]),
        ("account", "metadata", {"a": [1, None], "b": 1}),
        ("account", "metadata", {"a": {"x": 1, "y": None}}),
    ],
)
def test_one_wrong_part_leaves_nothing_of_a_value(
    table: str, key: str, value: dict[str, object]
) -> None:
    """Whoever looks at the rest of the configuration meanwhile finds the default there."""
    reader = Reader({}, "f", {}, str)
    account = {"name": "a", "token": "t"}
    document = {table: [{**account, key: value}] if table == "account" else {key: value}}
    config: Any = reader.table(root(), document, "")
    default = {
        "switch_at": {"5h": 0.98, "7d": 0.98},
        "ladder": (),
        "aliases": {},
        "models": ("*",),
        "metadata": {},
    }
    found = config.accounts[0] if table == "account" else getattr(config, table)
    assert getattr(found, key) == default[key]


def test_a_number_is_of_the_kind_that_its_key_has() -> None:
    server = read("[server]\nport = 1\ndrain_seconds = 3").config.server
    assert (type(server.port), type(server.drain_seconds)) == (int, float)


def test_a_wrong_element_of_a_setting_is_told_with_where_that_was_set() -> None:
    overlay = [Setting("server.allowed_hosts", ["a", "b c"], "command line")]
    with pytest.raises(ConfigInvalid) as caught:
        read("", overlay=overlay)
    (error,) = caught.value.errors
    assert (error.source, error.path) == ("command line", "server.allowed_hosts[1]")


def test_an_array_with_something_else_among_its_tables_keeps_the_places_of_the_others() -> None:
    found = [one.path for one in mistakes({"account": [5, {"name": "B", "token": "t"}]})]
    assert found == ["account[0]", "account[1].name"]


def test_each_key_says_where_it_was_set() -> None:
    decoded = read(
        ACCOUNT + "[server]\nport = 1\n[routing]\nswitch_at = { '5h' = 1 }",
        overlay=[Setting("routing.switch_at", {"7d": 1}, "command line")],
    )
    assert decoded.origins["server.port"] == "file"
    assert decoded.origins["server.host"] == "default"
    assert decoded.origins["account[0].api_key"] == "file"
    assert decoded.origins["account[0].token"] == "default"
    assert decoded.origins["routing.switch_at"] == "command line"
    assert "account" not in decoded.origins, "its tables have them one by one"


def test_a_path_becomes_what_the_program_will_open() -> None:
    decoded = read(
        "[[account]]\nname = 'a'\ncredentials = 'c'\n"
        "[client]\nsettings = ['s']\nusage_file = 'auto'\n[logs]\ndirectory = ''",
        resolve_path=lambda path: f"/home/{path}",
    )
    config = decoded.config
    assert config.accounts[0].credentials == "/home/c"
    assert config.client.settings == ("/home/s",)
    assert (config.client.usage_file, config.logs.directory) == ("auto", ""), "words are no paths"


def test_a_secret_that_is_written_out_is_noted_unless_it_comes_from_elsewhere() -> None:
    text = ACCOUNT + PROVIDER + 'api_key = "x-${V:-y}"\n[access]\ntoken = "t"'
    assert read(text).literal_secrets == ("account[0].api_key", "access.token")
    overlay = [Setting("access.token", "t", "command line")]
    assert read(text, overlay=overlay).literal_secrets == ("account[0].api_key",)


DAY = datetime.date(2026, 1, 2)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a", "a"),
        (True, True),
        (1.5, 1.5),
        (LARGEST_INTEGER, LARGEST_INTEGER),
        (-LARGEST_INTEGER, -LARGEST_INTEGER),
        (DAY, DAY),
        (datetime.time(1, 2), datetime.time(1, 2)),
        ([1, ["x"]], (1, ("x",))),
        ({"a": {"b": [True]}}, {"a": {"b": (True,)}}),
    ],
)
def test_free_values_are_kept_as_they_are(given: object, kept: object) -> None:
    document = {"account": [{"name": "a", "token": "t", "metadata": {"x": given}}]}
    decoded = decode_with_origins(document, variables={}, source="f")
    assert decoded.config.accounts[0].metadata == {"x": kept}


@pytest.mark.parametrize(
    ("given", "path", "found"),
    [
        (None, "x", "nothing"),
        (LARGEST_INTEGER + 1, "x", "a number of more than 64 bits"),
        (-LARGEST_INTEGER - 1, "x", "a number of more than 64 bits"),
        ("\ud800", "x", 'the text "\\ud800"'),
        ([1, None], "x[1]", "nothing"),
        ({"a": {"b": None}}, "x.a.b", "nothing"),
        ({"a": 1, "\ud800": 1}, "x", "a table"),
        ({1: 1}, "x", "a table"),
    ],
)
def test_what_toml_does_not_have_is_refused_where_it_stands(
    given: object, path: str, found: str
) -> None:
    document = {"account": [{"name": "a", "token": "t", "metadata": {"x": given}}]}
    (error,) = mistakes(document)
    assert (error.path, error.found) == (f"account[0].metadata.{path}", found)
    assert error.allowed == "any TOML value"


def test_free_values_are_as_deep_as_they_may_be_and_no_deeper() -> None:
    def nested(levels: int) -> dict[str, object]:
        value: object = 1
        for _ in range(levels):
            value = [value]
        return {"account": [{"name": "a", "token": "t", "metadata": {"x": value}}]}

    levels = DEEPEST_METADATA - 1  # the innermost value is one as well
    assert mistakes(nested(levels)) == []
    (error,) = mistakes(nested(levels + 1))
    assert error.allowed == "at most 16 levels of tables and arrays"


def test_a_header_without_a_value_is_refused_by_its_name() -> None:
    """It could not be sent; an unset variable with an empty default is how it comes about."""
    told = mistake(PROVIDER + 'headers = { a = "1", b = "${NONE:-}" }')
    assert told[:2] == ("provider[0].headers.b", "an empty text")
    decoded = read(PROVIDER + 'headers = { a = "1" }')
    assert decoded.config.providers[0].headers == {"a": Secret("1")}

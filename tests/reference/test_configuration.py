"""docs/configuration-reference.md says what the code does: types, defaults and meanings are its own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.config import Config, decode, restart_needed
from protocol.config.schema import root
from supervisor.configuration import load, render_effective
from tests.reference import configuration
from tests.reference.configuration import NOT_SET, REQUIRED, Key, Undocumented

ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (?:`(.+)`|(required|not set)) \| (.+) \| (.+) \|$")
# What an entry of an array of tables cannot do without.
NEEDED: Mapping[str, dict[str, Any]] = {
    "account": {"name": "n", "api_key": "k"},
    "provider": {"name": "p", "base_url": "http://h"},
    "fallback": {"provider": "p", "model": "m"},
    "route": {"match": "m", "accounts": True},
}


def documented() -> dict[str, dict[str, str]]:
    """What the page says: table -> key -> default, read as a reader would."""
    found: dict[str, dict[str, str]] = {}
    for line in configuration.PAGE.read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"## `\[+(\w+)\]+`", line):
            table = found[heading[1]] = {}
        elif row := ROW.match(line):
            table[row[1]] = row[3] or row[4]
    return found


def keys() -> list[Key]:
    return [key for table in configuration.tables() for key in table.keys]


def test_the_page_is_what_the_code_says() -> None:
    wanted = configuration.render()
    assert configuration.PAGE.read_text("utf-8") == wanted, "run `make reference` and commit it"


def test_the_page_has_every_key_of_every_table() -> None:
    told = documented()
    assert list(told) == [field.encode_name for field in root().fields]
    assert sum(map(len, told.values())) == len(keys()) > 80


@pytest.mark.parametrize("table", [field.encode_name for field in root().fields])
def test_each_documented_default_is_the_one_in_force(table: str) -> None:
    defaults = {
        key: tomllib.loads(f"v = {text}")["v"]
        for key, text in documented()[table].items()
        if text not in (REQUIRED, NOT_SET)
    }
    providers = {"provider": [NEEDED["provider"]]}
    if table in NEEDED:
        written = {**providers, table: [{**defaults, **NEEDED[table]}]}
        bare = {**providers, table: [NEEDED[table]]}
    else:
        written, bare = {table: defaults}, {}
    assert read(written) == read(bare)


def read(document: Mapping[str, Any]) -> Config:
    return decode(document, variables={}, source="page")


def test_a_program_without_a_configuration_runs_with_the_documented_defaults(
    home: Path,
) -> None:
    """`home`: nothing of this machine's configuration and environment is seen."""
    effective = tomllib.loads(render_effective(load(environ={})))
    for table, defaults in documented().items():
        for key, text in defaults.items():
            if table in effective:
                assert effective[table][key] == tomllib.loads(f"v = {text}")["v"], f"{table}.{key}"
    assert {"server", "client", "supervision"} <= set(effective)


def test_a_wrong_default_would_be_noticed() -> None:
    assert read({"server": {"port": 4081}}) != read({})


def test_each_meaning_is_a_sentence() -> None:
    for key in keys():
        assert key.meaning[0].isupper() or key.meaning[0] == "`", key.path
        assert key.meaning.endswith("."), key.path
        assert len(key.meaning) < 200, key.path


def test_a_key_without_a_meaning_is_refused() -> None:
    class Half(msgspec.Struct):
        """`[half]`: half of it is told."""

        told: int = 1
        """What it is."""
        untold: int = 2

    half = msgspec.inspect.type_info(Half)
    assert isinstance(half, msgspec.inspect.StructType)
    assert configuration.meanings_of(Half) == {"told": "What it is."}
    with pytest.raises(Undocumented, match=r"half\.untold"):
        list(configuration._keys("half", half))


def test_a_table_without_a_meaning_is_refused() -> None:
    class Silent:
        """`[silent]`"""

    with pytest.raises(Undocumented, match="Silent"):
        configuration._meaning_of_table(Silent)


def test_a_change_is_said_to_wait_for_a_restart_exactly_where_a_reload_asks_for_one() -> None:
    said = {key.path for key in keys() if key.restart}
    assert {"server.port", "logs.directory", "supervision.period", "client.on_down"} <= said
    server = msgspec.structs.replace(Config().server, port=1, drain_seconds=1.0)
    asked = restart_needed(Config(), msgspec.structs.replace(Config(), server=server))
    assert asked == ("server.port",)
    assert "server.drain_seconds" not in said

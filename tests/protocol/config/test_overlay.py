"""Settings from the environment."""

from __future__ import annotations

import pytest

from protocol.config.overlay import Setting, environment_overlay, merged, variable_name
from protocol.config.schema import settings


def values(variables: dict[str, str]) -> dict[str, object]:
    return {one.path: one.value for one in environment_overlay(variables).settings}


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("SUPERVISOR_SERVER_PORT", "4081", "server.port", 4081),
        ("SUPERVISOR_SERVER_MAX_BODY_BYTES", "1_000", "server.max_body_bytes", 1000),
        ("SUPERVISOR_SERVER_EXPRESS", "false", "server.express", False),
        ("SUPERVISOR_SERVER_ALLOWED_HOSTS", '["a", "b"]', "server.allowed_hosts", ["a", "b"]),
        ("SUPERVISOR_ROUTING_SWITCH_AT", '{ "5h" = 0.5 }', "routing.switch_at", {"5h": 0.5}),
        ("SUPERVISOR_ROUTING_STRATEGY", "weighted", "routing.strategy", "weighted"),
        ("SUPERVISOR_ROUTING_STRATEGY", '"weighted"', "routing.strategy", "weighted"),
        ("SUPERVISOR_SERVER_PORT", "many", "server.port", "many"),
        ("SUPERVISOR_ACCESS_TOKEN", "12345678", "access.token", "12345678"),
        ("SUPERVISOR_ACCESS_TOKEN", "true", "access.token", "true"),
        ("SUPERVISOR_LOGS_DIRECTORY", "", "logs.directory", ""),
        ("SUPERVISOR_PROBE_MODEL", "1\nb = 2", "probe.model", "1\nb = 2"),
        ("SUPERVISOR_SERVER_PORT", "1\nb = 2", "server.port", "1\nb = 2"),
        ("SUPERVISOR_SERVER_PORT", "[" * 5000, "server.port", "[" * 5000),
    ],
)
def test_a_variable_is_read_as_toml_else_as_text(
    variable: str, text: str, path: str, value: object
) -> None:
    assert values({variable: text}) == {path: value}


def test_variables_that_are_no_setting_are_listed() -> None:
    overlay = environment_overlay(
        {
            "SUPERVISOR_SERVER_PROT": "1",
            "SUPERVISOR_ACCOUNT": "1",
            "SUPERVISOR_CONFIG": "c",
            "SUPERVISOR_STATE_DIR": "s",
            "PATH": "p",
        }
    )
    assert overlay.settings == ()
    assert overlay.unknown == ("SUPERVISOR_ACCOUNT", "SUPERVISOR_SERVER_PROT")


def test_every_key_has_a_variable_of_its_own() -> None:
    assert len({variable_name(path) for path in settings()}) == len(settings())
    assert variable_name("server.max_body_bytes") == "SUPERVISOR_SERVER_MAX_BODY_BYTES"


def test_a_setting_names_its_variable() -> None:
    (setting,) = environment_overlay({"SUPERVISOR_SERVER_PORT": "1"}).settings
    assert setting.origin == "environment SUPERVISOR_SERVER_PORT"


def test_settings_are_laid_over_the_file_and_the_last_one_wins() -> None:
    document = {"server": {"port": 1, "host": "h"}, "logs": 5}
    overlay = [
        Setting("server.port", 2, "environment SUPERVISOR_SERVER_PORT"),
        Setting("server.port", "${A}", "command line"),
        Setting("access.token", "t"),
        Setting("logs.level", "debug"),
    ]
    assert merged(document, overlay) == {
        "server": {"port": "$${A}", "host": "h"},
        "access": {"token": "t"},
        "logs": 5,
    }
    assert document["server"] == {"port": 1, "host": "h"}, "the file's own is left alone"


def test_a_setting_shows_its_place_and_not_its_value() -> None:
    shown = repr(Setting("access.token", "secret", "command line"))
    assert shown == "Setting('access.token', origin='command line')"


def test_settings_come_in_the_order_of_their_names() -> None:
    overlay = environment_overlay(
        {"SUPERVISOR_SERVER_PORT": "1", "SUPERVISOR_ACCESS_KEYS": "true", "SUPERVISORS": "x"}
    )
    assert [one.path for one in overlay.settings] == ["access.keys", "server.port"]
    assert overlay.unknown == ()

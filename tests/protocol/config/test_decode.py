"""What a document means, and that everything wrong with one is said at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.config import Config, ConfigError, ConfigInvalid, Setting, decode, decode_with_origins
from protocol.config.schema import root
from protocol.config.schema import settings as all_settings
from protocol.secrets import Secret
from tests.protocol.config.broken_files import ACCOUNT, BROKEN, PROVIDER

CANARY = "canary-0451-of-the-coal-mine"


def read(text: str, variables: Mapping[str, str] | None = None) -> Config:
    return decode(tomllib.loads(text), variables=variables or {}, source="config.toml")


def errors_of(text: str, variables: Mapping[str, str] | None = None) -> tuple[ConfigError, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        read(text, variables)
    return caught.value.errors


def test_an_empty_document_is_the_default_configuration() -> None:
    assert read("") == Config()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_the_path_of_each_mistake(name: str) -> None:
    text, paths = BROKEN[name]
    errors = errors_of(text)
    assert tuple(error.path for error in errors) == paths
    for error in errors:
        assert error.source == "config.toml"
        assert error.found
        assert error.allowed
        assert str(error).startswith(f"config.toml: {error.path}: found ")


def test_all_mistakes_of_a_file_are_reported_at_once() -> None:
    text = """
        [server]
        port = 70000
        hots = "x"
        tls_key = "k"
        [routing]
        strategy = "best"
        [[account]]
        name = "a"
        [[fallback]]
        provider = "p"
        model = ""
    """
    assert {error.path for error in errors_of(text)} == {
        "server.port",
        "server.hots",
        "server.tls_certificate",
        "routing.strategy",
        "account[0]",
        "fallback[0].model",
        "fallback[0].provider",
    }


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[servr]", "did you mean server?"),
        ("[server]\nprot = 1", "did you mean port?"),
        ("port = 1", "did you mean server.port?"),
        ('[routing]\nstrategy = "fill-frist"', "did you mean fill-first?"),
        ("[[accounts]]", "did you mean account?"),
        (
            PROVIDER.replace('"p"', '"openai"') + "[[fallback]]\nprovider='opnai'\nmodel='m'",
            "did you mean openai?",
        ),
    ],
)
def test_a_misspelling_is_answered_with_the_likely_word(text: str, hint: str) -> None:
    assert [error.hint for error in errors_of(text)] == [hint]


def test_an_error_says_what_was_found_and_what_is_allowed() -> None:
    (error,) = errors_of("[server]\nport = 70000")
    assert error.found == "the number 70000"
    assert error.allowed == "a whole number from 0 to 65535"


def test_a_mistake_in_one_key_accuses_no_other() -> None:
    (error,) = errors_of('[server]\nhost = "0.0.0.0"\n[access]\ntoken = "two words"')
    assert error.path == "access.token"


def test_every_section_is_read() -> None:
    config = read(
        ACCOUNT
        + 'priority = -1\nmodels = ["claude-*"]\nmetadata = { team = "x", since = 2026-01-02 }\n'
        + PROVIDER
        + 'headers = { x-team = "blue team" }\n'
        + """
        [[fallback]]
        provider = "p"
        model = "m"
        [[route]]
        match = "gpt-*"
        provider = "p"
        [[route]]
        match = "claude-*"
        accounts = true
        [server]
        host = "LOCALHOST"
        drain_seconds = 0
        allowed_origins = ["chrome-extension://abc", "http://localhost:3000"]
        [upstream]
        base_url = "http://[::1]:8080/anthropic/"
        [cooldown]
        ladder = [60, 300.5]
        [redirect]
        provider = "p"
        at = { "5h" = 1 }
        """
    )
    assert config.accounts[0].api_key == Secret("k")
    assert config.accounts[0].token is None
    assert config.accounts[0].priority == -1
    assert config.accounts[0].models == ("claude-*",)
    assert config.accounts[0].metadata["team"] == "x"
    assert config.providers[0].headers["x-team"] == Secret("blue team")
    assert (config.fallbacks[0].provider, config.fallbacks[0].model) == ("p", "m")
    assert [route.accounts for route in config.routes] == [False, True]
    assert config.server.host == "localhost"
    assert config.server.drain_seconds == 0.0
    assert config.server.allowed_origins == ("chrome-extension://abc", "http://localhost:3000")
    assert config.upstream.base_url == "http://[::1]:8080/anthropic"
    assert config.cooldown.ladder == (60.0, 300.5)
    assert config.redirect.at == {"5h": 1.0}


@pytest.mark.promise("X3")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_a_loopback_listener_needs_no_guard(host: str) -> None:
    assert read(f'[server]\nhost = "{host}"').server.host == host


@pytest.mark.promise("X3")
@pytest.mark.parametrize("access", ['token = "t"', "keys = true"])
def test_a_guarded_listener_may_be_open(access: str) -> None:
    assert read(f'[server]\nhost = "0.0.0.0"\n[access]\n{access}').server.host == "0.0.0.0"


def test_variables_are_expanded_in_every_text() -> None:
    text = """
        [[account]]
        name = "a-${N}"
        api_key = "${KEY}"
        models = ["${M:-claude-*}"]
        metadata = { a = ["${N}"] }
        [routing]
        strategy = "${S:-weighted}"
        [server]
        allowed_hosts = ["${N}.example"]
        [models]
        aliases = { x = "$${N} ${EMPTY:-d} $N $$" }
    """
    config = read(text, {"N": "n", "KEY": "k", "EMPTY": ""})
    account = config.accounts[0]
    assert (account.name, account.api_key, account.models) == ("a-n", Secret("k"), ("claude-*",))
    assert account.metadata == {"a": ("n",)}
    assert config.routing.strategy == "weighted"
    assert config.server.allowed_hosts == ("n.example",)
    assert config.models.aliases == {"x": "${N} d $N $$"}


def test_a_variables_value_is_not_searched_for_more_variables() -> None:
    assert read('[probe]\nmodel = "${A}"', {"A": "${B}"}).probe.model == "${B}"


def test_an_unset_variable_is_named_with_its_key() -> None:
    (error,) = errors_of('[[account]]\nname = "a"\napi_key = "${WORK_KEY}"')
    assert error.path == "account[0].api_key"
    assert "WORK_KEY" in error.found
    assert "${WORK_KEY:-default}" in error.allowed


def test_a_variable_that_is_not_text_is_refused() -> None:
    (error,) = errors_of(ACCOUNT + 'metadata = { a = "${RAW}" }', {"RAW": "\udcff"})
    assert error.path == "account[0].metadata.a"


def test_optional_secrets_may_be_empty() -> None:
    config = read(PROVIDER + 'api_key = ""\n[probe]\napi_key = ""\n[access]\ntoken = ""')
    assert config.providers[0].api_key is config.probe.api_key is config.access.token is None


def test_deep_metadata_is_refused_before_it_exhausts_the_stack() -> None:
    value: Any = 1
    for _ in range(2000):
        value = [value]
    document = {"account": [{"name": "a", "api_key": "k", "metadata": {"deep": value}}]}
    with pytest.raises(ConfigInvalid) as caught:
        decode(document, variables={}, source="f")
    assert caught.value.errors[0].path.startswith("account[0].metadata.deep[0]")


def test_settings_win_over_the_document_and_the_last_wins() -> None:
    decoded = decode_with_origins(
        {"server": {"port": 1, "express": False}},
        variables={},
        source="f",
        overlay=[
            Setting("server.port", 2, "environment SUPERVISOR_SERVER_PORT"),
            Setting("server.port", 3, "command line"),
            Setting("logs.level", "debug", "environment SUPERVISOR_LOGS_LEVEL"),
        ],
    )
    assert decoded.config.server.port == 3
    assert decoded.origins["server.port"] == "command line"
    assert decoded.origins["logs.level"] == "environment SUPERVISOR_LOGS_LEVEL"
    assert decoded.origins["server.express"] == "file"
    assert decoded.origins["server.host"] == "default"


def test_a_setting_is_taken_as_it_is() -> None:
    overlay = [Setting("access.token", "a${B}$${C}", "command line")]
    decoded = decode_with_origins({}, variables={"B": "x"}, source="f", overlay=overlay)
    assert decoded.config.access.token == Secret("a${B}$${C}")


def test_an_error_in_a_setting_names_where_that_came_from() -> None:
    overlay = [
        Setting("server.port", "x", "environment SUPERVISOR_SERVER_PORT"),
        Setting("routing.switch_at", {"5h": 9}, "command line"),
    ]
    with pytest.raises(ConfigInvalid) as caught:
        decode_with_origins({"logs": 1}, variables={}, source="f", overlay=overlay)
    assert {(error.source, error.path) for error in caught.value.errors} == {
        ("environment SUPERVISOR_SERVER_PORT", "server.port"),
        ("command line", "routing.switch_at.5h"),
        ("f", "logs"),
    }


def test_a_mistake_that_the_callers_own_rules_find_names_where_the_setting_came_from() -> None:
    def rules(config: Config) -> list[ConfigError]:
        assert config.server.port == 2
        return [ConfigError("f", path, "x", "y") for path in ("server.port", "logs.directory")]

    overlay = [Setting("server.port", 2, "command line")]
    with pytest.raises(ConfigInvalid) as caught:
        decode_with_origins({}, variables={}, source="f", overlay=overlay, further_rules=rules)
    found = [(error.source, error.path) for error in caught.value.errors]
    assert found == [("command line", "server.port"), ("f", "logs.directory")]


def test_a_setting_does_not_hide_that_its_section_is_broken() -> None:
    overlay = [Setting("server.port", 1, "command line")]
    with pytest.raises(ConfigInvalid) as caught:
        decode_with_origins({"server": 1}, variables={}, source="f", overlay=overlay)
    assert [error.path for error in caught.value.errors] == ["server"]


def test_secrets_written_out_are_told_from_those_of_variables() -> None:
    text = (
        ACCOUNT
        + '[[account]]\nname = "b"\ntoken = "${T}"\n'
        + PROVIDER
        + 'headers = { x-a = "v", x-b = "${T}" }\n[probe]\napi_key = ""\n'
    )
    decoded = decode_with_origins(
        tomllib.loads(text),
        variables={"T": "t"},
        source="f",
        overlay=[Setting("access.token", "t", "environment SUPERVISOR_ACCESS_TOKEN")],
    )
    assert decoded.literal_secrets == ("account[0].api_key", "provider[0].headers.x-a")


@pytest.mark.parametrize(
    "text",
    [
        '[[account]]\nname = "a"\napi_key = ["{}"]',
        '[[account]]\nname = "a"\napi_key = "{} x"',
        '[[account]]\nname = "a"\napi_key = "{}-${{NONE}}"',
        '[[account]]\nname = "a"\napi_key = "{}-${{NONE"',
        '[[account]]\nname = "a"\napi_key = "{}"\ntoken = "{}"',
        '[[account]]\nname = "a"\napi_kye = "{}"',
        '[access]\ntoken = {{ a = "{}" }}',
        '[access]\ntoken = "{}\\u0000"',
        '[upstream]\nbase_url = "https://user:{}@host.example"',
        '[upstream]\nbase_url = "https://user:a/b{}@host.example"',
        '[upstream]\nbase_url = "https://host.example/?key={}"',
        PROVIDER + 'headers = {{ x-a = "{}\\n" }}',
        '[[account]]\nname = "sk-ant-api03-{}"\napi_key = "k"',
        '[server]\n"sk-ant-api03-{}" = 1',
        '[probe]\nmodel = "${{SECRET}}\\n"',
        '[logs]\nlevel = "${{SECRET}}"',
        "[[account]]\nname = '${{SECRET}}'\napi_key = 'k'\n",
    ],
)
def test_no_error_repeats_a_secret(text: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(
            text.replace("{}", CANARY).replace("{{", "{").replace("}}", "}"),
            {"SECRET": CANARY.upper()},
        )
    shown = str(caught.value) + repr(caught.value) + repr(caught.value.errors)
    assert CANARY not in shown
    assert CANARY.upper() not in shown


def test_a_configuration_does_not_print_its_secrets() -> None:
    config = read(
        f'[[account]]\nname = "a"\napi_key = "{CANARY}"\n[access]\ntoken = "{CANARY}"\n'
        + PROVIDER
        + f'api_key = "{CANARY}"\nheaders = {{ x-a = "{CANARY}" }}'
    )
    assert config.access.token == Secret(CANARY)
    assert CANARY not in repr(config)
    assert CANARY not in repr(Setting("access.token", CANARY, "command line"))


def test_messages_stay_on_one_line() -> None:
    for error in errors_of('[logs]\nlevel = "a\\nb"\n"c\\nd" = 1'):
        assert "\n" not in str(error)


def outcome(document: dict[str, object]) -> Config | tuple[ConfigError, ...]:
    try:
        return decode(document, variables={"A": "a\n"}, source="f")
    except ConfigInvalid as invalid:
        return invalid.errors


_KEYS = sorted(
    {key for path in all_settings() for key in path.split(".")} | {"account", "provider"}
)
_ACCOUNT_KEYS = [
    "name",
    "api_key",
    "token",
    "credentials",
    "metadata",
    "headers",
    "models",
    "match",
]
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["a", "${A}", "${", "https://[", "http://a:b", "//@", "", "::1%x"])
)
_KEY = st.sampled_from([*_KEYS, *_ACCOUNT_KEYS]) | st.text()
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEY, inner, max_size=5),
    max_leaves=15,
)
_SECTION = st.sampled_from([field.encode_name for field in root().fields]) | st.text()


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(_SECTION, _VALUES, max_size=5))
def test_any_document_is_either_read_or_refused(document: dict[str, object]) -> None:
    result = outcome(document)
    if not isinstance(result, Config):
        assert result
        assert all("\n" not in str(error) for error in result)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(all_settings())), _VALUES)
def test_any_value_of_any_key_is_either_read_or_refused_at_that_key(
    path: str, value: object
) -> None:
    section, _, key = path.partition(".")
    result = outcome({section: {key: value}})
    if not isinstance(result, Config):
        related = {"server.tls_key", "server.tls_certificate", "redirect.provider"}
        assert all(error.path.startswith(path) or error.path in related for error in result)

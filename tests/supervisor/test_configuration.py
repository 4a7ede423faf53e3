"""Finding, reading and joining the configuration, and showing what came of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from protocol.config import Account, Config, ConfigInvalid, decode
from protocol.config.schema import settings
from protocol.secrets import Secret
from supervisor import configuration
from supervisor.configuration import (
    ConfigNotPermitted,
    Loaded,
    load,
    render_effective,
    state_directory,
)

CANARY = "canary-0451-of-the-coal-mine"
PROVIDER = '[[provider]]\nname = "p"\nbase_url = "http://p"\n'
ACCOUNT = '[[account]]\nname = "work"\napi_key = "${WORK_KEY}"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, so that no file of the machine is read."""

    def user_config_dir(name: str, *, appauthor: bool) -> str:
        assert not appauthor
        return str(tmp_path / "config" / name)

    monkeypatch.setattr(platformdirs, "user_config_dir", user_config_dir)
    return tmp_path


class Files:
    """Writes a configuration file and loads it with a given environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "supervisor.toml"

    def load(
        self,
        text: str,
        overrides: Mapping[str, object] | None = None,
        stored_accounts: Sequence[str] = (),
        **environ: str,
    ) -> Loaded:
        self.path.write_text(text, "utf-8")
        self.path.chmod(0o600)
        return load(
            self.path,
            overrides=overrides,
            environ={"HOME": str(self.home), **environ},
            stored_accounts=stored_accounts,
        )


@pytest.fixture
def files(home: Path) -> Files:
    return Files(home)


def test_without_a_file_everything_has_its_default(home: Path) -> None:
    loaded = load(environ={"HOME": str(home)})
    assert loaded.config == Config()
    assert loaded.path is None
    assert loaded.warnings == ()
    assert loaded.accounts_from == ()
    assert set(loaded.origins) == set(settings())
    assert set(loaded.origins.values()) == {"default"}


def test_the_users_own_file_is_found(home: Path) -> None:
    path = home / "config" / "llm-supervisor" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[server]\nport = 1\n", "utf-8")
    loaded = load(environ={"HOME": str(home)})
    assert (loaded.path, loaded.config.server.port) == (path, 1)


def test_the_argument_goes_before_the_variable_and_that_before_the_users_file(home: Path) -> None:
    named, variable = home / "a.toml", home / "b.toml"
    named.write_text("[server]\nport = 1\n", "utf-8")
    variable.write_text("[server]\nport = 2\n", "utf-8")
    environ = {"HOME": str(home), "SUPERVISOR_CONFIG": str(variable)}
    assert load(named, environ=environ).config.server.port == 1
    loaded = load(environ=environ)
    assert loaded.config.server.port == 2
    assert loaded.warnings == ()


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_named_file_that_is_absent_is_an_error(home: Path, by_variable: bool) -> None:
    path = home / "none.toml"
    environ = {"HOME": str(home)} | ({"SUPERVISOR_CONFIG": str(path)} if by_variable else {})
    with pytest.raises(ConfigInvalid) as caught:
        load(None if by_variable else path, environ=environ)
    (error,) = caught.value.errors
    assert error.source == str(path)
    assert error.found == "no such file or directory"


def test_a_directory_is_no_configuration(home: Path) -> None:
    with pytest.raises(ConfigInvalid, match="is a directory"):
        load(home, environ={})


def test_a_file_that_may_not_be_read_is_told_apart(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigNotPermitted, match="may not read"):
        load(home / "c.toml", environ={})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[server]\nport = = 1\n", "at line 2, column 8"),
        (b"[server]\nport = 1\nport = 2\n", "line 3"),
        (b"[server]\n# \xff\n", "not UTF-8 (line 2)"),
        (b"a = " + b"[" * 100_000, "too large a value"),
        (b"a = " + b"1" * 5000, "too large a value"),
        (b"#" * (configuration.LARGEST_FILE + 1), "more than"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_the_place(
    home: Path, content: bytes, found: str
) -> None:
    path = home / "c.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        load(path, environ={})
    (error,) = caught.value.errors
    assert error.source == str(path)
    assert found in error.found


def test_a_byte_order_mark_is_no_mistake(home: Path) -> None:
    path = home / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\nport = 1\n")
    assert load(path, environ={"HOME": str(home)}).config.server.port == 1


def test_the_command_line_wins_over_environment_file_and_default(files: Files) -> None:
    loaded = files.load(
        "[server]\nport = 1\nmax_connections = 1\nexpress = false\n",
        overrides={"server.port": 3},
        SUPERVISOR_SERVER_PORT="2",
        SUPERVISOR_SERVER_MAX_CONNECTIONS="2",
    )
    server = loaded.config.server
    assert (server.port, server.max_connections, server.express, server.host) == (
        3,
        2,
        False,
        "127.0.0.1",
    )
    assert loaded.origins["server.port"] == "command line"
    assert (
        loaded.origins["server.max_connections"] == "environment SUPERVISOR_SERVER_MAX_CONNECTIONS"
    )
    assert loaded.origins["server.express"] == "file"
    assert loaded.origins["server.host"] == "default"


def test_a_broken_variable_is_an_error_that_names_it(files: Files) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        files.load("[logs]\nlevel = 1", SUPERVISOR_SERVER_PORT="many")
    assert [error.source for error in caught.value.errors] == [
        "environment SUPERVISOR_SERVER_PORT",
        str(files.path),
    ]


def test_an_unknown_variable_warns_and_never_fails(files: Files) -> None:
    loaded = files.load("", SUPERVISOR_SERVER_PROT="1", SUPERVISOR_STATE_DIR="/x")
    (warning,) = loaded.warnings
    assert "SUPERVISOR_SERVER_PROT" in warning
    assert "did you mean SUPERVISOR_SERVER_PORT?" in warning


def test_two_accounts_with_one_login_are_warned_of(files: Files, tmp_path: Path) -> None:
    """By whatever name its file is called."""
    login = tmp_path / ".credentials.json"
    (tmp_path / "link.json").symlink_to(login)
    accounts = "".join(
        f'[[account]]\nname = "{name}"\ncredentials = "{tmp_path / file}"\n'
        for name, file in [("a", login.name), ("b", "link.json"), ("c", "other.json")]
    )
    (warning,) = files.load(accounts).warnings
    assert warning.startswith(f"accounts a, b have the same login, {login}")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_secret_in_a_file_that_others_can_read_is_warned_of(
    files: Files, mode: int, warned: bool
) -> None:
    files.load(f'[[account]]\nname = "a"\napi_key = "{CANARY}"\n')
    files.path.chmod(mode)
    loaded = load(files.path, environ={"HOME": str(files.home)})
    assert bool(loaded.warnings) is warned
    assert CANARY not in repr(loaded)
    if warned:
        assert "account[0].api_key" in loaded.warnings[0]
        assert "chmod 600" in loaded.warnings[0]


def test_a_secret_from_a_variable_may_stand_in_a_file_that_others_can_read(files: Files) -> None:
    files.load(ACCOUNT, WORK_KEY="k")
    files.path.chmod(0o644)
    loaded = load(files.path, environ={"HOME": str(files.home), "WORK_KEY": "k"})
    assert loaded.warnings == ()


def test_paths_are_absolute_and_relative_ones_start_at_the_file(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    (files.home / "ca.pem").touch()
    config = files.load(
        '[[account]]\nname = "a"\ncredentials = "~/.claude/.credentials.json"\n'
        '[upstream]\nca_file = "ca.pem"\n[logs]\ndirectory = "/var/log/x"\n'
        '[client]\nsettings = ["s.json"]\n'
    ).config
    assert config.accounts[0].credentials == "/home/ada/.claude/.credentials.json"
    assert config.upstream.ca_file == str(files.home / "ca.pem")
    assert config.logs.directory == "/var/log/x"
    assert config.client.settings == (str(files.home / "s.json"),)
    assert config.client.usage_file == "auto"
    assert config.server.tls_key == ""


def test_files_needed_to_start_must_be_there(files: Files) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        files.load(
            '[server]\nport = -1\ntls_certificate = "c"\ntls_key = "k"\n[upstream]\nca_file = "a"'
        )
    assert [error.path for error in caught.value.errors] == [
        "server.port",
        "server.tls_certificate",
        "server.tls_key",
        "upstream.ca_file",
    ]


def test_a_missing_file_named_by_a_variable_is_blamed_on_that(files: Files) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        files.load("", SUPERVISOR_UPSTREAM_CA_FILE="none.pem")
    (error,) = caught.value.errors
    assert error.source == "environment SUPERVISOR_UPSTREAM_CA_FILE"


def test_accounts_of_the_environment_are_found(files: Files) -> None:
    loaded = files.load(
        "",
        ANTHROPIC_API_KEY="k",
        ANTHROPIC_AUTH_TOKEN="t",
        CLAUDE_CODE_OAUTH_TOKEN="o",
    )
    assert loaded.config.accounts == (
        Account("env-api-key", api_key=Secret("k")),
        Account("env-auth-token", token=Secret("t")),
        Account("env-oauth-token", token=Secret("o")),
    )
    assert loaded.accounts_from == ("environment",)
    assert loaded.origins["account[0].api_key"] == "environment ANTHROPIC_API_KEY"
    assert loaded.origins["account[2].token"] == "environment CLAUDE_CODE_OAUTH_TOKEN"
    assert loaded.origins["account[2].api_key"] == "default"


def test_configured_accounts_keep_those_of_the_environment_away(files: Files) -> None:
    loaded = files.load(ACCOUNT, WORK_KEY="k", ANTHROPIC_API_KEY="e")
    assert [account.name for account in loaded.config.accounts] == ["work"]
    assert loaded.accounts_from == ("file",)


def test_a_stored_account_that_a_configured_one_hides_is_named(files: Files) -> None:
    loaded = files.load(ACCOUNT, stored_accounts=("work", "other"), WORK_KEY="k")
    assert [warning for warning in loaded.warnings if "'work' is ignored" in warning]
    assert not [warning for warning in loaded.warnings if "'other'" in warning]


def test_stored_accounts_keep_those_of_the_environment_away(files: Files) -> None:
    loaded = files.load("", stored_accounts=("stored",), ANTHROPIC_API_KEY="e")
    assert loaded.config.accounts == ()
    assert loaded.accounts_from == ("token store",)


@pytest.mark.parametrize("directory", [".claude", "elsewhere"])
def test_a_login_of_claude_code_keeps_accounts_of_the_environment_away(
    files: Files, directory: str
) -> None:
    login = files.home / directory / ".credentials.json"
    login.parent.mkdir()
    login.touch()
    named = "" if directory == ".claude" else str(login.parent)
    loaded = files.load("", ANTHROPIC_API_KEY="k", CLAUDE_CONFIG_DIR=named)
    assert loaded.config.accounts == ()
    assert loaded.accounts_from == ()


@pytest.mark.parametrize(
    "told", ['{"oauthAccount": {"accountUuid": "u"}}', '{"primaryApiKey": "k"}']
)
@pytest.mark.parametrize("directory", ["", "elsewhere"])
def test_a_login_without_a_file_keeps_accounts_of_the_environment_away(
    files: Files, directory: str, told: str
) -> None:
    home = files.home / directory
    home.mkdir(exist_ok=True)
    (home / ".claude.json").write_text(told)
    named = str(home) if directory else ""
    loaded = files.load("", ANTHROPIC_API_KEY="k", CLAUDE_CONFIG_DIR=named)
    assert loaded.config.accounts == ()
    assert loaded.accounts_from == ()


@pytest.mark.parametrize("told", ["{}", "{bad", '{"oauthAccount": null, "numStartups": 3}'])
def test_a_client_that_was_started_and_has_no_login_leaves_the_environment_s(
    files: Files, told: str
) -> None:
    (files.home / ".claude.json").write_text(told)
    loaded = files.load("", ANTHROPIC_API_KEY="k")
    assert [account.name for account in loaded.config.accounts] == ["env-api-key"]


@pytest.mark.promise("X6")
def test_a_token_for_another_server_is_not_sent_to_our_upstream(files: Files) -> None:
    loaded = files.load(
        "",
        ANTHROPIC_BASE_URL="https://gateway.example",
        ANTHROPIC_AUTH_TOKEN="t",
        CLAUDE_CODE_OAUTH_TOKEN="o",
    )
    assert [account.name for account in loaded.config.accounts] == ["env-oauth-token"]
    assert loaded.origins["account[0].name"] == "environment CLAUDE_CODE_OAUTH_TOKEN"


def test_an_impossible_key_of_the_environment_is_warned_of(files: Files) -> None:
    loaded = files.load("", ANTHROPIC_API_KEY=f"{CANARY}\n", ANTHROPIC_AUTH_TOKEN="")
    assert loaded.config.accounts == ()
    (warning,) = loaded.warnings
    assert "ANTHROPIC_API_KEY" in warning
    assert CANARY not in warning


WHOLE = """
[[account]]
name = "work"
api_key = "${CANARY}"
metadata = { "team name" = "a \\"b\\" $${X}", since = 2026-01-02, list = [1, { a = 2.5 }] }
[[account]]
name = "home"
token = "${CANARY}"
[[provider]]
name = "p"
base_url = "http://p.example"
api_key = "${CANARY}"
headers = { x-a = "${CANARY}" }
[[fallback]]
provider = "p"
model = "m"
[probe]
api_key = "${CANARY}"
[routing]
switch_at = { "5h" = 0.5, "odd name" = 1 }
[client]
environment = { MY_TOKEN = "${CANARY}", OTHER = "1" }
"""


def test_the_effective_configuration_is_toml_that_means_the_same(files: Files) -> None:
    loaded = files.load(WHOLE, CANARY=CANARY)
    again = tomllib.loads(render_effective(loaded))
    assert again["account"][0]["metadata"]["list"] == [1, {"a": 2.5}]
    config = decode(again, variables={}, source="f")
    masked = files.load(WHOLE, CANARY="***")
    assert config == masked.config


def test_the_effective_configuration_shows_no_secret(files: Files) -> None:
    text = render_effective(files.load(WHOLE, CANARY=CANARY, SUPERVISOR_ACCESS_TOKEN=CANARY))
    assert CANARY not in text
    assert text.count('"***"') == 7


def test_the_effective_configuration_names_the_origin_of_what_is_no_default(files: Files) -> None:
    loaded = files.load(
        "[server]\nport = 1\nhost = 'localhost'\n",
        overrides={"logs.level": "debug"},
        SUPERVISOR_SERVER_PORT="2",
        ANTHROPIC_API_KEY="k",
    )
    lines = render_effective(loaded).splitlines()
    assert lines[0] == f"# {files.path}"
    assert "port = 2  # environment SUPERVISOR_SERVER_PORT" in lines
    assert 'host = "localhost"  # file' in lines
    assert 'level = "debug"  # command line' in lines
    assert 'api_key = "***"  # environment ANTHROPIC_API_KEY' in lines
    assert "max_connections = 1000" in lines


def test_the_state_directory_is_the_named_one_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert state_directory({"SUPERVISOR_STATE_DIR": "s"}) == tmp_path / "s"
    expected = Path(platformdirs.user_state_dir("llm-supervisor", appauthor=False))
    assert state_directory({}) == state_directory({"SUPERVISOR_STATE_DIR": ""}) == expected


def documented() -> dict[str, Any]:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    return tomllib.loads(page.read_text("utf-8").rpartition("```toml")[2].partition("```")[0])


def test_the_documented_example_can_be_used_as_it_stands() -> None:
    variables = {"ANTHROPIC_API_KEY_WORK": "k", "OPENAI_API_KEY": "o"}
    config = decode(documented(), variables=variables, source="docs")
    assert [account.name for account in config.accounts] == ["work", "home"]
    assert [(one.provider, one.model) for one in config.fallbacks] == [("openai", "gpt-5")]

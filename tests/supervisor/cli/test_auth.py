"""`supervisor auth ...` changes the token store, says what it did, and shows no secret."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from server.scripted import Granted
from tests.kit.live import accounts
from tests.kit.logins import login_file, store_entry, store_file
from tests.kit.process import write_config
from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.stub_instance import stub_instance

SECRET = "sk-ant-api03-canary-of-this-test"
GRANTED = Granted("sk-ant-oat01-a", "sk-ant-ort01-a", time.time() + 3600)


@pytest.fixture
def store(state_dir: Path) -> Path:
    """The token store, not there yet."""
    return state_dir / "accounts.json"


def stored(store: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(store.read_text())["accounts"]
    return entries


def put(store: Path, content: bytes) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(content)
    store.chmod(0o600)


def client_login(directory: Path, granted: Granted = GRANTED) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / ".credentials.json"
    file.write_bytes(login_file(granted))
    file.chmod(0o600)
    return file


def configure(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    config = home / "config.toml"
    config.write_text(text)
    config.chmod(0o600)
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(config))


def running_account(reason: str) -> dict[str, Any]:
    """`work` as a running instance shows it, resting for `reason`."""
    bench = {"scope": "account", "target": "", "reason": reason, "until": "2026-11-21T13:05:00Z"}
    return {"accounts": [{"name": "work", "state": "cooling", "cooldowns": [bench]}]}


# ------------------------------------------------------------------------------------------- add


def test_a_key_is_read_from_stdin_and_kept_privately(invoke: Invoke, store: Path) -> None:
    done = invoke("auth", "add", "work", "--api-key", stdin=f"{SECRET}\n")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"account work (API key) is stored in {store}\n"
    assert stored(store)["work"]["accessToken"] == SECRET
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert SECRET not in done.output


def test_the_kind_is_told_by_the_secret_where_nobody_says_it(invoke: Invoke, store: Path) -> None:
    assert invoke("auth", "add", "a", stdin="sk-ant-oat01-x").exit_code == 0
    assert invoke("auth", "add", "b", stdin="sk-ant-api03-x").exit_code == 0
    assert {name: entry["kind"] for name, entry in stored(store).items()} == {
        "a": "token",
        "b": "api_key",
    }


def test_a_stored_account_is_not_lost_by_adding_another_of_its_name(
    invoke: Invoke, store: Path
) -> None:
    assert invoke("auth", "add", "work", stdin="sk-ant-api03-old").exit_code == 0
    done = invoke("auth", "add", "work", stdin="sk-ant-api03-new")
    assert done.exit_code == 73
    assert "--replace" in done.stderr
    assert stored(store)["work"]["accessToken"] == "sk-ant-api03-old"
    assert invoke("auth", "add", "work", "--replace", stdin="sk-ant-api03-new").exit_code == 0
    assert stored(store)["work"]["accessToken"] == "sk-ant-api03-new"


@pytest.mark.parametrize(
    ("name", "secret", "told"),
    [
        ("work", "", "no API key or token was given"),
        ("work", "two words", "visible ASCII without spaces"),
        ("Two Words", "sk-ant-api03-x", "an account's name is"),
    ],
)
def test_bad_input_changes_nothing(
    invoke: Invoke, store: Path, name: str, secret: str, told: str
) -> None:
    done = invoke("auth", "add", name, stdin=secret)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not store.exists()


def test_a_store_that_others_can_read_is_refused(invoke: Invoke, store: Path) -> None:
    put(store, store_file())
    store.chmod(0o644)
    done = invoke("auth", "add", "work", stdin=SECRET)
    assert done.exit_code == 77
    assert "chmod 600" in done.stderr


def test_a_name_of_the_configuration_is_stored_with_a_warning(
    invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, monkeypatch, '[[account]]\nname = "work"\napi_key = "k"\n')
    done = invoke("auth", "add", "work", stdin=SECRET)
    assert done.exit_code == 0
    assert "it is ignored, because the configuration has an account 'work'" in done.stderr


def test_a_key_is_stored_also_where_the_configuration_does_not_load(
    invoke: Invoke, store: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, monkeypatch, "account = [")
    done = invoke("auth", "add", "work", stdin=SECRET)
    assert done.exit_code == 0, done.stderr
    assert "work" in stored(store)


# ---------------------------------------------------------------------------------------- import


def test_the_client_s_login_is_used_where_it_lies(invoke: Invoke, store: Path, home: Path) -> None:
    file = client_login(home / ".claude")
    before = file.read_bytes()
    done = invoke("auth", "import")
    assert done.exit_code == 0, done.stderr
    assert stored(store) == {
        "claude": {
            "kind": "oauth",
            "credentials": str(file),
            "follow": "auto",
            "disabled": False,
        }
    }
    assert file.read_bytes() == before
    assert GRANTED.access_token not in done.output
    assert "claude: available" in invoke("auth", "status").stdout


def test_every_directory_that_the_environment_names_is_looked_at(
    invoke: Invoke, store: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_login(home / ".claude")
    client_login(home / ".claude-work")
    monkeypatch.setenv("CLAUDE_CONFIG_DIRS", f"{home}/.claude, {home}/.claude-work,{home}/gone")
    assert invoke("auth", "import").exit_code == 0
    assert sorted(stored(store)) == ["claude", "work"]


def test_importing_twice_changes_nothing(invoke: Invoke, store: Path, home: Path) -> None:
    client_login(home / ".claude")
    invoke("auth", "import")
    before = store.read_bytes()
    done = invoke("auth", "import")
    assert done.exit_code == 0
    assert "is account claude already" in done.stdout
    assert store.read_bytes() == before


def test_a_login_that_the_configuration_has_is_not_imported_beside_it(
    invoke: Invoke, store: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_login(home / ".claude")
    named = '[[account]]\nname = "mine"\ncredentials = "~/.claude/.credentials.json"\n'
    configure(home, monkeypatch, named)
    done = invoke("auth", "import")
    assert done.exit_code == 0, done.stderr
    assert "is account mine already" in done.stdout
    assert not store.exists()


def test_an_imported_login_gets_no_name_under_which_it_would_be_ignored(
    invoke: Invoke, store: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_login(home / ".claude")
    configure(home, monkeypatch, '[[account]]\nname = "claude"\napi_key = "k"\n')
    done = invoke("auth", "import")
    assert done.exit_code == 0, done.stderr
    assert sorted(stored(store)) == ["claude-2"]


def test_the_accounts_of_claude_code_proxy_are_copied_with_a_warning(
    invoke: Invoke, store: Path, home: Path
) -> None:
    other = home / "proxy" / "accounts.json"
    put(other, store_file(one=store_entry(GRANTED), two=store_entry(Granted("b", "c", 1.0))))
    done = invoke("auth", "import", str(other.parent))
    assert done.exit_code == 0, done.stderr
    assert sorted(stored(store)) == ["one", "two"]
    assert "log each other out" in done.stderr


def test_a_directory_without_a_login_says_what_to_do(invoke: Invoke, home: Path) -> None:
    done = invoke("auth", "import", str(home))
    assert done.exit_code == 1
    assert "no login was found" in done.stderr
    assert "supervisor auth login NAME" in done.stderr


def test_a_login_that_others_can_read_is_refused(invoke: Invoke, home: Path, store: Path) -> None:
    client_login(home / ".claude").chmod(0o644)
    done = invoke("auth", "import")
    assert done.exit_code == 1
    assert "chmod 600" in done.stderr
    assert not store.exists()


# ----------------------------------------------------------------------------- look, switch, forget


def test_a_key_that_the_upstream_refuses_is_no_good(invoke: Invoke, state_dir: Path) -> None:
    invoke("auth", "add", "work", stdin=SECRET)
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status/accounts"] = (200, running_account("auth"))
        done = invoke("auth", "status")
        as_json = invoke("auth", "status", "work", "--json")
    assert done.exit_code == 1
    assert done.stdout == "work: cooling, the upstream refuses its credential\n"
    assert "cannot serve: work" in done.stderr
    assert "supervisor auth add NAME --replace" in done.stderr
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)[0]["problem"] == "the upstream refuses its credential"


def test_a_key_that_rests_for_a_limit_is_good(invoke: Invoke, state_dir: Path) -> None:
    invoke("auth", "add", "work", stdin=SECRET)
    with stub_instance(state_dir) as server:
        server.answers["GET", "/status/accounts"] = (200, running_account("window_5h"))
        done = invoke("auth", "status")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "work: cooling\n"


def test_the_list_says_where_each_account_comes_from(
    invoke: Invoke, store: Path, home: Path
) -> None:
    file = client_login(home / ".claude")
    invoke("auth", "add", "work", stdin=SECRET)
    invoke("auth", "import")
    done = invoke("auth", "list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "STATE", "EXPIRES", "FROM"]
    assert lines[1].split() == ["work", "API", "key", "available", "-", "token", "store"]
    assert lines[2].startswith("claude")
    assert lines[2].endswith(str(file))
    document = json.loads(invoke("auth", "list", "--json").stdout)
    assert [account["name"] for account in document] == ["work", "claude"]
    assert SECRET not in done.output


def test_without_accounts_the_list_says_who_pays(invoke: Invoke) -> None:
    done = invoke("auth", "list")
    assert "the client's own credential is passed through" in done.stdout


def test_a_login_without_a_token_is_bad_news(invoke: Invoke, store: Path) -> None:
    put(store, store_file(a=store_entry(GRANTED, needsLogin=True)))
    done = invoke("auth", "status", "a")
    assert done.exit_code == 1
    assert "a: needs a login" in done.stdout
    assert "supervisor auth login NAME" in done.stderr


def test_an_account_is_taken_out_and_let_in_again(invoke: Invoke, store: Path) -> None:
    invoke("auth", "add", "work", stdin=SECRET)
    assert invoke("auth", "disable", "work").stdout == "account work is disabled\n"
    assert stored(store)["work"]["disabled"] is True
    assert invoke("auth", "status", "work").exit_code == 1
    assert invoke("auth", "enable", "work").exit_code == 0
    assert invoke("auth", "status", "work").exit_code == 0


def test_a_stored_account_is_forgotten_and_a_client_s_login_stays(
    invoke: Invoke, store: Path, home: Path
) -> None:
    file = client_login(home / ".claude")
    invoke("auth", "import")
    assert invoke("auth", "remove", "claude", "--yes").exit_code == 0
    assert stored(store) == {}
    assert file.exists()


def test_nothing_is_forgotten_unasked(invoke: Invoke, store: Path) -> None:
    invoke("auth", "add", "work", stdin=SECRET)
    done = invoke("auth", "remove", "work")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert "work" in stored(store)


@pytest.mark.parametrize("command", ["remove", "enable", "disable", "refresh", "status"])
def test_an_account_that_is_not_there_is_named(invoke: Invoke, command: str) -> None:
    more = ["--yes"] if command == "remove" else []
    done = invoke("auth", command, "nobody", *more)
    assert done.exit_code == 1
    assert "there is no account 'nobody'" in done.stderr


def test_cleaning_up_forgets_what_cannot_serve_any_more(
    invoke: Invoke, store: Path, state_dir: Path
) -> None:
    put(
        store,
        store_file(
            good=store_entry(GRANTED),
            dead=store_entry(Granted("x", "y", 1.0), needsLogin=True),
            broken={"kind": "oauth"},
            gone={"kind": "oauth", "credentials": "/nowhere/.credentials.json"},
        ),
    )
    (state_dir / "logins" / "forgotten").mkdir(parents=True)
    done = invoke("auth", "cleanup", "--force")
    assert done.exit_code == 0, done.stderr
    assert sorted(stored(store)) == ["good"]
    assert not (state_dir / "logins" / "forgotten").exists()
    assert "account dead: it needs a login" in done.stdout
    assert invoke("auth", "cleanup", "--force").stdout == "there is nothing to clean up\n"


def test_cleaning_up_spares_what_can_be_put_right_without_a_login(
    invoke: Invoke, store: Path, state_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that others can read wants a chmod; one that the configuration names is in use."""
    open_to_others = client_login(state_dir / "logins" / "open")
    open_to_others.chmod(0o644)
    put(store, store_file(open={"kind": "oauth", "credentials": str(open_to_others)}))
    configured = client_login(state_dir / "logins" / "configured")
    config = home / "config.toml"
    config.write_text(f'[[account]]\nname = "x"\ncredentials = "{configured}"\n')
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(config))
    assert invoke("auth", "cleanup", "--force").stdout == "there is nothing to clean up\n"
    assert open_to_others.exists()
    assert configured.exists()
    assert "open" in stored(store)


def test_an_account_is_forgotten_whose_login_is_gone_already(
    invoke: Invoke, store: Path, state_dir: Path
) -> None:
    path = state_dir / "logins" / "work" / ".credentials.json"
    put(store, store_file(work={"kind": "oauth", "credentials": str(path)}))
    done = invoke("auth", "remove", "work", "--yes")
    assert (done.exit_code, done.stdout) == (0, "account work is forgotten\n"), done.stderr
    assert stored(store) == {}


def test_a_login_that_is_always_followed_is_not_renewed_by_hand_either(
    invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token endpoint is never asked: it would be one that nobody listens at."""
    file = client_login(home / ".claude-work")
    before = file.read_bytes()
    config = home / "config.toml"
    config.write_text(
        f'[oauth]\ntoken_url = "http://127.0.0.1:9/token"\n'
        f'[[account]]\nname = "work"\ncredentials = "{file}"\nfollow = "always"\n'
    )
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(config))
    done = invoke("auth", "refresh", "work")
    assert done.exit_code == 1
    assert "Claude Code alone may renew it" in done.stderr
    assert file.read_bytes() == before


def test_a_login_that_needs_its_owner_is_not_tried_again(invoke: Invoke, store: Path) -> None:
    put(store, store_file(a=store_entry(GRANTED, needsLogin=True)))
    done = invoke("auth", "refresh", "a")
    assert done.exit_code == 1
    assert "log in again" in done.stderr


def test_a_key_has_nothing_to_renew(invoke: Invoke) -> None:
    invoke("auth", "add", "work", stdin=SECRET)
    done = invoke("auth", "refresh", "work")
    assert done.exit_code == 1
    assert "has a key or a token, not a login" in done.stderr


# ----------------------------------------------------------------------------------------- login


@pytest.mark.parametrize("more", [(), ("--pkce",)])
def test_nobody_logs_in_for_a_name_that_the_configuration_hides(
    invoke: Invoke,
    store: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    file = client_login(home / ".claude-work")
    monkeypatch.setenv("PATH", fake_client(home, login_file(GRANTED).decode()))
    named = f'[[account]]\nname = "work"\ncredentials = "{file}"\n'
    configure(home, monkeypatch, named)
    done = invoke("auth", "login", "work", *more)
    assert done.exit_code == 73
    assert "a stored one of that name would be ignored" in done.stderr
    assert f"CLAUDE_CONFIG_DIR={file.parent} claude auth login" in done.stderr
    assert not store.exists()


FAKE_CLIENT = """\
#!{python}
import json, os, sys
assert sys.argv[1:3] == ["auth", "login"], sys.argv
assert "ANTHROPIC_BASE_URL" not in os.environ
place = os.path.join(os.environ["CLAUDE_CONFIG_DIR"], ".credentials.json")
with open(os.open(place, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
    file.write({content!r})
"""


def fake_client(home: Path, content: str) -> str:
    """A `claude` that logs in at once; the PATH that has it."""
    programs = home / "bin"
    programs.mkdir()
    program = programs / "claude"
    program.write_text(FAKE_CLIENT.format(python=sys.executable, content=content))
    program.chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


def test_the_client_logs_in_in_a_directory_of_its_own(
    invoke: Invoke, store: Path, state_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_client(home, login_file(GRANTED).decode()))
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    done = invoke("auth", "login", "work")
    assert done.exit_code == 0, done.stderr
    directory = state_dir / "logins" / "work"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stored(store)["work"] == {
        "kind": "oauth",
        "credentials": str(directory / ".credentials.json"),
        "follow": "never",
        "disabled": False,
    }
    assert invoke("auth", "remove", "work", "--yes").exit_code == 0
    assert not directory.exists()


def test_a_login_does_not_take_the_place_of_a_stored_key(
    invoke: Invoke, store: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key cannot be got back; an earlier login of that name can."""
    monkeypatch.setenv("PATH", fake_client(home, login_file(GRANTED).decode()))
    invoke("auth", "add", "work", stdin=SECRET)
    for more in ((), ("--pkce",)):
        done = invoke("auth", "login", "work", *more)
        assert done.exit_code == 73
        assert "supervisor auth remove work" in done.stderr
        assert stored(store)["work"]["accessToken"] == SECRET
    assert invoke("auth", "remove", "work", "--yes").exit_code == 0
    assert invoke("auth", "login", "work").exit_code == 0
    assert invoke("auth", "login", "work").exit_code == 0, "the same login, anew"


def test_a_login_that_was_broken_off_stores_nothing(
    invoke: Invoke, store: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_client(home, "{}"))
    done = invoke("auth", "login", "work")
    assert done.exit_code == 1
    assert "no login in it" in done.stderr
    assert not store.exists()


def test_without_the_client_it_says_what_to_do(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = invoke("auth", "login", "work")
    assert done.exit_code == 127
    assert "Claude Code is not installed" in done.stderr


def test_pkce_needs_its_three_settings(invoke: Invoke) -> None:
    done = invoke("auth", "login", "work", "--pkce")
    assert done.exit_code == 1
    assert "--pkce needs oauth.client_id, oauth.authorize_url, oauth.token_url" in done.stderr


def test_the_callback_server_takes_the_browser_s_answer_and_lets_its_port_go() -> None:
    from supervisor.pkce_login import CallbackServer

    server = CallbackServer()
    try:
        port = int(server.redirect_uri.split(":")[2].split("/")[0])
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/favicon.ico", timeout=5)
        assert server.answer is None
        asked = threading.Thread(
            target=lambda: urllib.request.urlopen(
                f"http://127.0.0.1:{port}/callback?code=c&state=s", timeout=5
            ).close()
        )
        asked.start()
        assert server.wait(10) == "/callback?code=c&state=s"
        asked.join()
    finally:
        server.close()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/callback", timeout=1)


def test_the_accounts_of_the_running_instance_are_shown_wherever_its_file_lies(
    invoke: Invoke, state_dir: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "other.toml", accounts("mine"))
    assert "there are no accounts" in invoke("auth", "list").output
    with stub_instance(state_dir, config=str(config)):
        assert "mine" in invoke("auth", "list").output
        assert "mine" in invoke("auth", "status", "mine").output
        assert "not the token store's" in invoke("auth", "remove", "mine", "--yes").stderr
        config.write_text("[server]\nport = -1\n")
        assert invoke("auth", "list").exit_code == 78

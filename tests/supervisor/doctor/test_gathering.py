"""The facts: what is on the disk, in the shell and on the ports of a machine that a test made."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path

import pytest
import trio
import trustme

from protocol.config import Config, Server
from protocol.config import Upstream as UpstreamSection
from server.scripted import Answer, ScriptedUpstream
from supervisor.cli import running
from supervisor.doctor import gathering, machine
from supervisor.doctor.facts import Facts, PickerFact, UpstreamFact
from supervisor.doctor.port_owner import owner_of
from tests.kit import canaries
from tests.supervisor.stub_instance import stub_instance

ACCESS = "sk-ant-oat01-gathering-access"
REFRESH = "sk-ant-ort01-gathering-refresh"


@pytest.fixture
def state(home: Path) -> Path:
    directory = Path(os.environ["SUPERVISOR_STATE_DIR"])
    directory.mkdir(parents=True, mode=0o700)
    return directory


def _look() -> Facts:
    return gathering.gathered(None, os.environ, None, online=False)


def _login(directory: Path, expires_at: float, refresh: str = REFRESH) -> None:
    canaries.used_in(ACCESS)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / ".credentials.json"
    oauth = {"accessToken": ACCESS, "refreshToken": refresh, "expiresAt": int(expires_at * 1000)}
    file.write_text(json.dumps({"claudeAiOauth": oauth}))
    file.chmod(0o600)


def _store(state: Path, accounts: Mapping[str, object]) -> None:
    file = state / "accounts.json"
    file.write_text(json.dumps({"version": 1, "accounts": accounts}))
    file.chmod(0o600)


def test_an_empty_home_has_nothing_to_say(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERVISOR_SERVER_PORT", "0")  # whoever has the usual one on this machine
    facts = _look()
    assert facts.files == ()
    assert facts.accounts == ()
    assert not facts.has_login
    assert facts.picker == PickerFact()
    assert facts.url == facts.silent == facts.port_owner == facts.service_stale == ""
    assert facts.free_bytes > 0


def test_two_accounts_with_one_login_have_one_mark_and_no_secret_is_in_the_facts(
    home: Path, state: Path
) -> None:
    for name in ("a", "b", "c"):
        _login(home / name, time.time() - 5, REFRESH if name < "c" else "sk-ant-ort01-another")
    paths = {name: str(home / name / ".credentials.json") for name in ("a", "b", "c")}
    _store(state, {name: {"kind": "oauth", "credentials": path} for name, path in paths.items()})
    facts = _look()
    marks = {account.name: account.mark for account in facts.accounts}
    assert marks["a"] == marks["b"] != marks["c"] != ""
    assert all(account.expires_at and account.renewable for account in facts.accounts)
    assert REFRESH not in repr(facts)
    assert ACCESS not in repr(facts)


def test_rights_are_those_of_the_files(state: Path) -> None:
    _store(state, {})
    (state / "accounts.json").chmod(0o640)
    state.chmod(0o755)
    found = {Path(file.path).name: file for file in _look().files}
    assert found["accounts.json"].open_to_others
    assert found["llm-supervisor"].open_to_others
    assert found["llm-supervisor"].directory
    (state / "accounts.json").chmod(0o600)
    state.chmod(0o700)
    assert not any(file.open_to_others for file in _look().files)


def test_a_configuration_is_secret_only_where_secrets_are_written_out(home: Path) -> None:
    file = home / ".config" / "llm-supervisor" / "config.toml"
    file.parent.mkdir(parents=True)
    for text, secret in (
        ('[[account]]\nname = "a"\napi_key = "sk-ant-api03-written-out"\n', True),
        ("[server]\nport = 4081\n", False),
    ):
        file.write_text(text)
        file.chmod(0o644)
        found = [fact for fact in _look().files if fact.path == str(file)]
        assert [fact.secret and fact.open_to_others for fact in found] == [secret]


def test_a_settings_file_says_where_it_points_and_whether_anybody_is_there(home: Path) -> None:
    file = home / ".claude" / "settings.json"
    file.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        file.write_text(
            json.dumps({"env": {"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_USE_VERTEX": "1"}})
        )
        server.close()
        found = _look().settings[0]
    assert found.dead
    assert found.url == url
    assert found.environment == ("CLAUDE_CODE_USE_VERTEX",)
    file.write_text("{")
    assert _look().settings[0].problem


def test_a_configuration_with_errors_is_told_and_the_rest_goes_on(home: Path) -> None:
    file = home / ".config" / "llm-supervisor" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[server]\nport = -1\n")
    facts = _look()
    assert len(facts.config_errors) == 1
    assert "server.port" in facts.config_errors[0]


def test_the_running_instance_is_asked_the_whole_way_and_not_upstream(state: Path) -> None:
    from supervisor import instance
    from supervisor.cli.running import RunningInstance

    with stub_instance(state) as server:
        found = instance.running(state)
        assert found is not None
        here = RunningInstance(found)
        assert "status 404" in machine.front_door(here), "it does not name the account"
        server.answers["POST", "/v1/messages"] = (200, {})
        assert "was served" in machine.front_door(here)
    assert "refused" in machine.front_door(here).lower()


def test_the_owner_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"pid {os.getpid()} (" in owner_of(port)
        config = Config(server=Server(port=port))
        assert f"pid {os.getpid()} (" in machine.port_owner(config)
    assert machine.port_owner(config) == ""
    assert machine.port_owner(Config(server=Server(port=0))) == ""


def test_a_port_whose_owner_may_not_be_known_is_taken_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("header\n")
    assert owner_of(80, tmp_path) == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"baseUrl": "http://x", "models": [{"id": "claude-a"}, 7]}', ""),
        ("[]", "is not what"),
        ("{", "is not what"),
        ('{"models": 5}', "is not what"),
    ],
)
def test_the_picker_s_cache_is_read_as_it_is(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "gateway-models.json").write_text(content)
    found = machine.picker_cache(tmp_path)
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)
    assert found.models == (() if problem else ("claude-a",))


def test_certificate_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    authority = trustme.CA()
    good = tmp_path / "good.pem"
    authority.cert_pem.write_to_path(good)
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    assert not list(machine.certificate_files(Config(), {"SSL_CERT_FILE": str(good)}))
    environ = {"SSL_CERT_FILE": str(bad), "SSL_CERT_DIR": str(tmp_path / "none")}
    config = Config(upstream=UpstreamSection(ca_file=str(tmp_path / "gone.pem")))
    found = dict(machine.certificate_files(config, environ))
    assert set(found) == {"SSL_CERT_FILE", "SSL_CERT_DIR", "upstream.ca_file"}
    assert "no certificate" in found["SSL_CERT_FILE"]


def test_our_own_certificate_s_end_is_read(tmp_path: Path) -> None:
    import datetime

    ends = datetime.datetime(2031, 1, 2, tzinfo=datetime.UTC)
    certificate = trustme.CA().issue_cert("localhost", not_after=ends)
    path = tmp_path / "own.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    config = Config(server=Server(tls_certificate=str(path), tls_key=str(path)))
    assert machine.own_certificate(config) == ("", ends.timestamp())
    path.write_text("nothing")
    problem, _ = machine.own_certificate(config)
    assert problem


def test_a_key_that_is_not_its_certificates_is_told(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = tmp_path / "own.pem", tmp_path / "key.pem"
    authority.issue_cert("localhost").cert_chain_pems[0].write_to_path(certificate)
    authority.issue_cert("localhost").private_key_pem.write_to_path(key)
    config = Config(server=Server(tls_certificate=str(certificate), tls_key=str(key)))
    problem, ends = machine.own_certificate(config)
    assert "another certificate's" in problem
    assert ends is None


def _asked(upstream: ScriptedUpstream) -> UpstreamFact:
    """In a thread: the one who asks brings its own event loop."""

    async def main() -> UpstreamFact:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(upstream.serve_tcp)
            config = Config(upstream=UpstreamSection(base_url=url))
            found = await trio.to_thread.run_sync(machine.asked_upstream, config, {})
            nursery.cancel_scope.cancel()
        return found

    return trio.run(main)


def test_the_upstream_s_clock_is_read_from_its_answer_and_no_credential_is_sent() -> None:
    upstream = ScriptedUpstream(Answer(headers=(("date", formatdate(1_700_000_000, usegmt=True)),)))
    found = _asked(upstream)
    assert found.date == 1_700_000_000.0
    assert found.kind == ""
    assert upstream.requests[0].credential is None
    assert upstream.requests[0].method == b"HEAD"


def test_an_upstream_that_is_not_there_is_told_with_the_kind_of_the_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = Config(upstream=UpstreamSection(base_url=f"http://127.0.0.1:{port}"))
    assert machine.asked_upstream(config, {}).kind == "connect"
    named = Config(upstream=UpstreamSection(base_url="http://nowhere.invalid"))
    assert machine.asked_upstream(named, {}).kind == "dns"


def test_secrets_of_a_running_instance_are_no_mistake_of_this_shell(
    home: Path, state: Path
) -> None:
    config = home / "config.toml"
    config.write_text('[[account]]\nname = "work"\napi_key = "${KEY_OF_ANOTHER_SHELL}"\n')
    with stub_instance(state, config=str(config)):
        facts = gathering.gathered(config, os.environ, running.find(), online=False)
    assert facts.config_errors == ()
    assert [account.name for account in facts.accounts] == ["work"]
    facts = gathering.gathered(config, os.environ, None, online=False)
    assert "KEY_OF_ANOTHER_SHELL" in facts.config_errors[0]


def test_whether_claude_code_was_ever_started_is_known(home: Path) -> None:
    assert not _look().settings[0].has_directory
    (home / ".claude").mkdir()
    assert _look().settings[0].has_directory


def test_who_is_asked_for_a_token_that_is_not_known_here_finds_nothing_wrong_with_that(
    home: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_instance(state) as server:
        refusal = {"error": {"message": "send the proxy's access token"}}
        server.answers["POST", "/v1/messages"] = (401, refusal)
        assert machine.front_door(running.find()) == ""
        monkeypatch.setenv("SUPERVISOR_ACCESS_TOKEN", "not-the-one")
        assert "send the proxy's access token" in machine.front_door(running.find())

"""`supervisor doctor`: what it says, in words and for programs, and its exit code."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import trio

from server.scripted import ScriptedUpstream, error, unauthorized
from supervisor.doctor import machine
from supervisor.doctor.facts import UpstreamFact
from tests.kit import canaries
from tests.kit.process import listening, pointed_at, write_config
from tests.supervisor.cli.conftest import Invoke, Start
from tests.supervisor.stub_instance import stub_instance

REFRESH = "sk-ant-ort01-doctor-refresh"


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers, with the right time."""

    def well(*_: object) -> UpstreamFact:
        return UpstreamFact("https://api.test", date=time.time(), asked_at=time.time())

    monkeypatch.setattr(machine, "asked_upstream", well)


@pytest.fixture
def usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is free, whatever else runs on this machine."""
    monkeypatch.setattr(machine, "port_owner", lambda server: "")


@pytest.fixture
def no_systemd(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))


@pytest.mark.usefixtures("upstream", "usual_port")
def test_where_nothing_runs_that_is_what_is_wrong(invoke: Invoke, home: Path) -> None:
    ended = invoke("doctor", "--no-replay")
    assert ended.exit_code == 1
    assert "[not-running]" in ended.output
    assert "1 thing is wrong" in ended.output
    assert "not looked at: what only a running instance knows, the gateway contract" in ended.output


@pytest.mark.usefixtures("upstream", "usual_port")
def test_json_has_every_finding_with_its_fix(invoke: Invoke, home: Path) -> None:
    ended = invoke("doctor", "--no-replay", "--json")
    assert ended.exit_code == 1
    document = json.loads(ended.output)
    assert document["healthy"] is False
    assert document["instance"] is None
    assert [one["symptom"] for one in document["findings"]] == ["not-running"]
    assert set(document["findings"][0]) == {"area", "symptom", "level", "message", "fix"}


@pytest.mark.usefixtures("no_systemd")
async def test_nothing_is_wrong_with_a_program_that_just_started(
    start: Start, home: Path, tmp_path: Path
) -> None:
    """The real program, asked by the real command, contract and all."""
    (home / ".claude").mkdir()
    config = write_config(tmp_path / "config.toml", pointed_at("http://127.0.0.1:9"))
    async with listening(config) as program:
        ended = await trio.to_thread.run_sync(lambda: start("doctor", "--offline"))
        assert ended.stdout.endswith("\nnothing is wrong\n"), ended.stdout
        assert ended.returncode == 0
        lines = (await program.ask("GET", "/status/requests?limit=5")).json()["requests"]
        assert lines == [], "what it asked is nobody's traffic"


@pytest.mark.usefixtures("no_systemd")
async def test_keys_that_the_upstream_refused_are_told_apart(
    start: Start, home: Path, tmp_path: Path
) -> None:
    """The real program, whose accounts were really tried."""
    poor = error(400, "invalid_request_error", "Your credit balance is too low to access the API.")
    keys = {"poor": "sk-ant-api03-poor", "revoked": "sk-ant-api03-revoked"}
    entries = [f'[[account]]\nname = "{name}"\napi_key = "{key}"' for name, key in keys.items()]
    async with trio.open_nursery() as nursery:
        upstream = ScriptedUpstream(scripts={keys["poor"]: poor, keys["revoked"]: unauthorized()})
        url = await nursery.start(upstream.serve_tcp)
        text = pointed_at(url, "\n".join([*entries, "[client]", "manage = false"]))
        async with listening(write_config(tmp_path / "config.toml", text)) as program:
            body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
            await program.ask("POST", "/v1/messages", [("content-type", "application/json")], body)
            ended = await trio.to_thread.run_sync(
                lambda: start("doctor", "--offline", "--no-replay", "--json")
            )
        nursery.cancel_scope.cancel()
    found = {one["symptom"]: one["message"] for one in json.loads(ended.stdout)["findings"]}
    assert ended.returncode == 1
    assert set(found) == {"key-without-credit", "account-refused"}
    assert (
        "account poor has no credit: 400 invalid_request_error Your credit"
        in found["key-without-credit"]
    )
    assert "refuses account revoked" in found["account-refused"]


@pytest.mark.usefixtures("upstream")
def test_the_running_instance_s_accounts_are_looked_at(
    invoke: Invoke, state_dir: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "c.toml", "[client]\nmanage = false\n")
    refused = {
        "name": "work",
        "state": "cooling",
        "cooldowns": [{"reason": "auth", "scope": "account"}],
        "last_error": "Your credit balance is too low \x1b[31m",
    }
    with stub_instance(state_dir, config=str(config)) as server:
        server.answers["GET", "/status"] = (200, {"accounts": [refused]})
        ended = invoke("doctor", "--no-replay")
    assert "account work has no credit" in ended.output
    assert "supervisor auth disable work" in ended.output
    assert "\x1b" not in ended.output, "an upstream's text does not steer the terminal"


@pytest.mark.usefixtures("upstream")
def test_a_login_that_two_accounts_have_is_told_without_its_tokens(
    invoke: Invoke, home: Path, state_dir: Path
) -> None:
    canaries.used_in(REFRESH)
    state_dir.mkdir(parents=True, mode=0o700)
    tokens = {"accessToken": "sk-ant-oat01-x", "refreshToken": REFRESH, "expiresAt": 4e12}
    accounts = {name: {"kind": "oauth", **tokens} for name in ("a", "b")}
    store = state_dir / "accounts.json"
    store.write_text(json.dumps({"version": 1, "accounts": accounts}))
    store.chmod(0o600)
    ended = invoke("doctor", "--no-replay", "--json")
    assert "accounts a and b have the same login" in ended.output
    assert REFRESH not in ended.output


@pytest.mark.usefixtures("upstream")
def test_a_configuration_with_errors_is_a_finding_and_not_a_crash(
    invoke: Invoke, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[server]\nport = -1\n")
    ended = invoke("doctor", "--config", str(config))
    assert ended.exit_code == 1
    assert "[config-invalid]" in ended.output


def test_help_has_examples_and_every_new_command_has_its_own(invoke: Invoke) -> None:
    for command in ("setup", "doctor", "service", "service install", "service print", "uninstall"):
        said = invoke(*command.split(), "--help").output
        assert f"\n  supervisor {command}" in said or f"\n    supervisor {command}" in said, command
    assert os.environ["HOME"] not in invoke("service", "install", "--help").output

"""`supervisor reload` says what came of it."""

from __future__ import annotations

from pathlib import Path

from tests.supervisor.cli.conftest import Invoke
from tests.supervisor.stub_instance import stub_instance


def test_a_reload_that_changes_everything_is_said_in_a_word(
    state_dir: Path, invoke: Invoke
) -> None:
    with stub_instance(state_dir):
        done = invoke("reload")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "reloaded\n", "")


def test_keys_that_need_a_restart_are_named(state_dir: Path, invoke: Invoke) -> None:
    with stub_instance(state_dir) as server:
        server.answers["POST", "/status/reload"] = (
            200,
            {"restart_needed": ["server.port", "server.host"]},
        )
        done = invoke("reload")
    assert done.exit_code == 0
    assert done.stdout == (
        "reloaded\ntakes effect after a restart only: server.port, server.host\n"
    )


def test_every_error_of_a_refused_configuration_is_printed(state_dir: Path, invoke: Invoke) -> None:
    errors = [
        "c.toml: server.port: found the text",
        {"path": "routing.strategy", "found": "x", "allowed": "y"},
    ]
    with stub_instance(state_dir) as server:
        server.answers["POST", "/status/reload"] = (422, {"errors": errors})
        done = invoke("reload")
    assert (done.exit_code, done.stdout) == (78, "")
    assert "the old one goes on" in done.stderr
    assert "c.toml: server.port: found the text" in done.stderr
    assert "path: routing.strategy, found: x, allowed: y" in done.stderr


def test_any_other_refusal_is_not_a_configuration_error(state_dir: Path, invoke: Invoke) -> None:
    with stub_instance(state_dir) as server:
        server.answers["POST", "/status/reload"] = (500, {"error": {"message": "broken"}})
        done = invoke("reload")
    assert done.exit_code == 1
    assert "broken (status 500)" in done.stderr


def test_without_an_instance_it_says_what_to_do(invoke: Invoke) -> None:
    done = invoke("reload")
    assert done.exit_code == 69
    assert "supervisor run" in done.stderr

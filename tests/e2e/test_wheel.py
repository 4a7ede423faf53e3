"""From the built wheel to a working, pointed proxy in a fresh home, and back, with the README's commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from server.scripted import ScriptedUpstream
from tests.kit.process import started
from tests.kit.rounds import rounds
from tests.kit.wheel import installed_wheel, run

MESSAGE = (
    b'{"model":"claude-opus-5-5","max_tokens":16,"messages":[{"role":"user","content":"hello"}]}'
)


def _files(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


@pytest.mark.sweep
@pytest.mark.timeout(200)
async def test_a_wheel_is_set_up_used_and_removed_and_the_home_is_as_before(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rounds(quick=0, full=1):
        pytest.skip("builds a wheel: in sweeps only")
    pytest.importorskip("hatchling", reason="what builds the wheel is not installed")
    command = await trio.to_thread.run_sync(installed_wheel, tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")  # no service manager
    monkeypatch.delenv("SUPERVISOR_STATE_DIR")
    monkeypatch.delenv("CLAUDE_CONFIG_DIR")
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"model": "opus"}\n')
    before = _files(home)
    said = run(command, "setup", "--yes")
    assert "what next:" in said.stdout
    async with trio.open_nursery() as nursery:
        upstream = ScriptedUpstream()
        environment = {
            "SUPERVISOR_UPSTREAM_BASE_URL": await nursery.start(upstream.serve_tcp),
            "SUPERVISOR_SERVER_PORT": "0",
            "SUPERVISOR_CLIENT_RELEASE_AFTER": "0.2",
        }
        become = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
        start = ("-c", become, str(command), "run")
        state = home / ".local" / "state" / "llm-supervisor"
        async with started(environment=environment, state=state, command=start) as program:
            await program.listens()
            await program.says("Claude Code points here")
            assert json.loads(settings.read_text())["env"]["ANTHROPIC_BASE_URL"] == program.url
            headers = [("content-type", "application/json"), ("x-api-key", "any")]
            answered = await program.ask("POST", "/v1/messages", headers, MESSAGE)
            assert answered.status == 200
            assert upstream.requests[-1].body == MESSAGE
            doctor = await trio.to_thread.run_sync(
                lambda: run(command, "doctor", "--offline", **environment)
            )
            assert "nothing is wrong" in doctor.stdout
            await trio.to_thread.run_sync(lambda: run(command, "stop"))
            assert await program.ends() == 0
        nursery.cancel_scope.cancel()
    run(command, "uninstall", "--purge", "--yes")
    assert _files(home) == before

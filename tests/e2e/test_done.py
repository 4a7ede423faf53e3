"""With the README's commands alone: from the built wheel, in a fresh home, to a working, pointed proxy
that a service describes; and for any request in its log two commands tell who served it, why, and
what it cost.

`make done` runs it by itself and shows what a user sees.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import rate_limited, text_message, text_stream
from supervisor.cli.wording import dollars
from tests.e2e.conftest import Upstream
from tests.kit import canaries, service_commands
from tests.kit.process import started
from tests.kit.readme import commands_with
from tests.kit.rounds import rounds
from tests.kit.service_commands import ACTIVE, FakeServiceCommand
from tests.kit.terminal import Terminal
from tests.kit.wheel import installed_wheel, run
from tests.kit.wire import Wire

FIRST, SECOND = "sk-ant-api03-of-the-first", "sk-ant-api03-of-the-second"
PRICED, UNPRICED = "claude-opus-4-5", "claude-nobody-has-priced"
LINES = 5

BECOME = "import json, os, sys; os.execve(sys.argv[2], sys.argv[2:], json.loads(sys.argv[1]))"


class Unit:
    """The service as its file describes it, and the environment that systemd would give it."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        lines = [line.partition("=") for line in path.read_text().splitlines()]
        self._said = [(key, value) for key, _, value in lines]
        given = [shlex.split(value)[0] for key, value in self._said if key == "Environment"]
        self.environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        self.environment |= dict(text.split("=", 1) for text in given)

    def command(self, key: str) -> list[str]:
        """Of `ExecStart` and the like."""
        (value,) = [value for name, value in self._said if name == key]
        return shlex.split(value.removeprefix("-"))

    def verify(self) -> None:
        """With systemd's own eyes, where it is here."""
        if shutil.which("systemd-analyze") is not None:
            run("systemd-analyze", "--user", "verify", self.path)


@pytest.fixture
def systemctl(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServiceCommand:
    """A service manager that says yes; who starts the service is this test."""
    fake = service_commands.installed(tmp_path / "systemctl", "systemctl", monkeypatch)
    fake.say(("show", 0, ACTIVE), ("is-active", 0, "active"), ("is-system-running", 0, "running"))
    for name in ("SUPERVISOR_STATE_DIR", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name)
    return fake


@pytest.mark.sweep
@pytest.mark.timeout(300)
async def test_the_readmes_commands_lead_from_the_wheel_to_who_served_why_and_at_what_cost(
    home: Path, tmp_path: Path, upstream: Upstream, systemctl: FakeServiceCommand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if not rounds(quick=0, full=1):
        pytest.skip("builds a wheel: in sweeps only")
    pytest.importorskip("hatchling", reason="what builds the wheel is not installed")
    _script(upstream)
    settings = _a_home_that_has_been_used(home)
    before = settings.read_bytes()
    install, *set_up = commands_with("supervisor doctor")
    assert install == "pipx install ."
    command = await trio.to_thread.run_sync(installed_wheel, tmp_path)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    _shell_of_the_user(monkeypatch, upstream.url)

    assert set_up == ["supervisor setup", "supervisor doctor"]
    await trio.to_thread.run_sync(_answer_with_return, set_up[0])
    calls = systemctl.calls()
    assert any("enable" in call for call in calls), calls
    unit = Unit(home / ".config" / "systemd" / "user" / "llm-supervisor.service", home)
    unit.verify()
    async with _service(unit, home) as program:
        await program.listens()
        await _until_pointed(settings, program.url)
        found = await trio.to_thread.run_sync(_shown, set_up[1])
        assert "nothing is wrong" in found
        await _five_requests(settings)
        await _lines(home)
        await trio.to_thread.run_sync(_everything_is_told, home, True)
        program.process.terminate()
        assert await program.ends() == 0
    run(*unit.command("ExecStopPost"))
    assert settings.read_bytes() == before
    await trio.to_thread.run_sync(_everything_is_told, home, False)


# ------------------------------------------------------------------------------ what is there


def _a_home_that_has_been_used(home: Path) -> Path:
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"model": "opus"}\n')
    return settings


def _shell_of_the_user(monkeypatch: pytest.MonkeyPatch, upstream_url: str) -> None:
    for name, value in {
        "ANTHROPIC_API_KEY_FIRST": FIRST,
        "ANTHROPIC_API_KEY_SECOND": SECOND,
        "SUPERVISOR_UPSTREAM_BASE_URL": upstream_url,
        "SUPERVISOR_SERVER_PORT": "0",
        "SUPERVISOR_CLIENT_RELEASE_AFTER": "0.2",
    }.items():
        monkeypatch.setenv(name, value)
    canaries.used_in(f"{FIRST} {SECOND}")


def _script(upstream: Upstream) -> None:
    priced = text_stream("hello", model=PRICED, input_tokens=1000, output_tokens=500)
    unpriced = text_message("hello", model=UNPRICED, input_tokens=1000, output_tokens=500)
    upstream.script(FIRST, priced, rate_limited(retry_after=900))
    upstream.script(SECOND, priced, unpriced, then=rate_limited(retry_after=900))


def _service(unit: Unit, home: Path) -> Any:
    start = ("-c", BECOME, json.dumps(unit.environment), *unit.command("ExecStart"))
    return started(command=start, state=home / ".local" / "state" / "llm-supervisor")


async def _until_pointed(settings: Path, url: str) -> None:
    with trio.fail_after(30):
        while url not in settings.read_text():  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.05)


# ------------------------------------------------------------------------ what the user does


def _answer_with_return(line: str) -> None:
    program, *arguments = shlex.split(line)
    with Terminal(*arguments, program=[shutil.which(program) or program]) as terminal:
        terminal.types("\n" * 20)
        code = terminal.ends()
        _show(line, terminal.said)
        assert code == 0, terminal.said
        assert "what next:" in terminal.said


def _shown(line: str) -> str:
    program, *arguments = shlex.split(line)
    said = run(shutil.which(program) or program, *arguments).stdout
    _show(line, said)
    return said


def _show(line: str, said: str) -> None:
    """For `make done`."""
    sys.stdout.write(f"\n$ {line}\n{said.rstrip()}\n")


async def _five_requests(settings: Path) -> None:
    """As a client of that file: served, failed over, unpriced, refused by everybody, and by us."""
    asked = [(PRICED, []), (PRICED, []), (UNPRICED, []), (PRICED, []),
             (PRICED, [("x-account-name", "nobody")])]  # fmt: skip
    environment = json.loads(settings.read_text())["env"]
    statuses = []
    for model, headers in asked:
        key = ("x-api-key", environment["ANTHROPIC_AUTH_TOKEN"])
        turns = [{"role": "user", "content": "hello"}]
        body = {"model": model, "max_tokens": 9, "stream": True, "messages": turns}
        async with await Wire.to(environment["ANTHROPIC_BASE_URL"]) as wire:
            answered = await wire.ask(
                "POST",
                "/v1/messages",
                [("content-type", "application/json"), key, *headers],
                json.dumps(body).encode(),
            )
        statuses.append(answered.status)
    assert statuses == [200, 200, 200, 429, 404]


# --------------------------------------------------------------------------- what is told


async def _lines(home: Path) -> None:
    with trio.fail_after(30):
        while len(_written(home)) < LINES:  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.05)


def _written(home: Path) -> list[dict[str, Any]]:
    """The request log. What `doctor` asked to see whether it answers is not in it."""
    directory = home / ".local" / "state" / "llm-supervisor" / "logs"
    text = "".join(path.read_text() for path in sorted(directory.glob("requests-*.jsonl")))
    return [json.loads(line) for line in text.splitlines()]


def _everything_is_told(home: Path, runs: bool) -> None:
    """By the README's two commands, of every request in the log."""
    list_, explain = commands_with("supervisor explain ID")
    listed = _shown(list_)
    lines = _written(home)
    assert [line["account"] for line in lines] == ["first", "second", "second", "second", None]
    for line in lines:
        (shown,) = [text for text in listed.splitlines() if text.endswith(line["request_id"])]
        said = _shown(explain.replace("ID", shown.split()[-1]))
        _who(said, line)
        assert f"\nwhy: {line['reason']}\n" in said
        _cost(said, line)
        if runs:
            _each_step(said, line)
    costs = [line["cost_usd"] for line in lines]
    assert costs == [0.0175, 0.0175, None, None, None], "unknown is never zero"


def _who(said: str, line: dict[str, Any]) -> None:
    model = line["served_model"] or line["model"]
    if line["status"] == 200:
        assert f"\nserved by account {line['account']}: {model}\n" in said
    elif line["account"]:
        assert f"\nnobody served it: {model}; account {line['account']} was tried last\n" in said
    else:
        assert f"\nnobody served it: {model}\n" in said


def _cost(said: str, line: dict[str, Any]) -> None:
    if line["cost_usd"] is not None:
        assert f"cost {dollars(line['cost_usd'])}" in said
    elif line["output_tokens"]:
        assert f"cost not known: {UNPRICED} has no known price" in said
    else:
        assert "tokens not known; cost not known" in said


def _each_step(said: str, line: dict[str, Any]) -> None:
    """Every candidate with its why, every attempt, and where the time went."""
    assert "Step by step" in said
    assert "Where the time went" in said
    if line["account"] is None:
        assert "nobody could serve: there is no account 'nobody'" in said
        return
    for name in ("first", "second"):
        assert re.search(rf"^ +(took|next|passed over) +{name}: \S", said, re.MULTILINE), said
    assert len(re.findall(r"served it in|failed after", said)) == line["attempts"]


def test_the_commands_are_read_from_the_readme_without_their_comments() -> None:
    text = "# A\n```sh\npip install x   # y\n\n# a line of its own\n"
    text += "supervisor logs -n 3#4 # z\n```\n```python\nsupervisor logs -n 3#4\n```\n"
    assert commands_with("pip install x", text) == ["pip install x", "supervisor logs -n 3#4"]
    with pytest.raises(AssertionError, match="0 blocks"):
        commands_with("supervisor nothing", text)
    assert commands_with("supervisor doctor")[0] == "pipx install ."
    assert commands_with("supervisor explain ID")[0] == "supervisor logs"

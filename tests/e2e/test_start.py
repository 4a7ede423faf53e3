"""A start: what it says, what it writes, and the exit code of each way in which it fails."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import tempfile
from pathlib import Path
from typing import Any

import trio

from supervisor import instance
from tests.e2e.conftest import Upstream
from tests.kit.live import accounts
from tests.kit.process import END_SECONDS, listening, pointed_at, started, write_config

NOWHERE = "http://127.0.0.1:9"


async def test_a_start_says_where_it_listens_who_pays_and_writes_it_down(
    upstream: Upstream, config: Path, state: Path
) -> None:
    more = f"{accounts('work')}\npriority = 1\n{accounts('home')}\n{accounts('spare')}\nenabled = false"
    write_config(config, pointed_at(upstream.url, more))
    async with listening(config, state=state) as process:
        said = process.stdout
        assert said.startswith(f"listening on http://127.0.0.1:{process.port}\n")
        await process.says(r"status --watch")
        said = process.stdout
        assert f"configuration: {config}" in said
        assert "pool of 3: home (API key), spare (API key, disabled), work (API key)" in said
        assert "who pays: the owners of these accounts" in said
        assert f"ANTHROPIC_BASE_URL={process.url}" in said
        written = json.loads((state / "instance.json").read_text())
        assert written["pid"] == process.process.pid
        assert (written["host"], written["port"]) == ("127.0.0.1", process.port)
        assert instance.held(state)
        assert stat.S_IMODE((state / "instance.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        shown = await process.status()
        assert (shown["pid"], shown["port"]) == (process.process.pid, process.port)

        async with started(config, state=state) as second:
            assert await second.ends() == 73
            assert f"already running: pid {process.process.pid} at {process.url}" in second.stderr
            assert "supervisor stop" in second.stderr
            assert second.stdout == ""
        assert (await process.status())["pid"] == process.process.pid, "the first goes on"


async def test_without_accounts_it_says_that_the_clients_own_credential_passes_and_quiet_is_quiet(
    upstream: Upstream, config: Path, tmp_path: Path
) -> None:
    write_config(config, pointed_at(upstream.url))
    environment = {"ANTHROPIC_API_KEY": "key-of-the-environment"}
    async with (
        listening(config, state=tmp_path / "passing") as passing,
        listening(config, "--quiet", state=tmp_path / "quiet") as quiet,
        listening(config, state=tmp_path / "env", environment=environment) as from_environment,
    ):
        await passing.says(r"status --watch")
        assert "mode: passthrough" in passing.stdout
        assert "who pays: whoever a client's own credential belongs to" in passing.stdout
        await from_environment.says(r"status --watch")
        assert "pool of 1: env-api-key (API key)" in from_environment.stdout
        assert "come from your environment" in from_environment.stdout
        assert quiet.stdout == f"listening on {quiet.url}\n"


async def test_a_reader_that_leaves_the_output_does_no_harm(config: Path, state: Path) -> None:
    write_config(config, pointed_at(NOWHERE))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        async with started(config, state=state, stdout=writing) as process:
            with trio.fail_after(END_SECONDS):
                while (found := await trio.to_thread.run_sync(instance.running, state)) is None:  # noqa: ASYNC110 - of another process
                    await trio.sleep(0.02)
            assert found.pid == process.process.pid
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0, process.stderr
            assert "Traceback" not in process.stderr
    finally:
        os.close(writing)


async def test_what_is_wrong_at_the_start_has_its_exit_code_and_says_what_to_do(
    config: Path, tmp_path: Path, taken_port: int
) -> None:
    def file(name: str, text: str) -> Path:
        return write_config(tmp_path / name, text)

    not_pem = file("not.pem", "this is no certificate")
    good = file("good.toml", pointed_at(NOWHERE))
    cases: list[tuple[int, str, list[str | Path], dict[str, str]]] = [
        (73, f"127.0.0.1:{taken_port} is taken.*--port", [good, "--port", str(taken_port)], {}),
        (78, "missing.toml", [tmp_path / "missing.toml"], {}),
        (78, r"server\.port", [file("bad.toml", "[server]\nport = 'x'\n")], {}),
        (78, "a syntax error", [file("broken.toml", "[server\n")], {}),
        (78, r"access", [good, "--host", "0.0.0.0"], {}),
        (78, "cannot listen on 192.0.2.1", [
            file("away.toml", '[server]\nport = 0\n[access]\ntoken = "' + "t" * 40 + '"\n'),
            "--host", "192.0.2.1",
        ], {}),
        (78, r"tls_certificate.*PEM", [file("tls.toml", (
            f'[server]\nport = 0\ntls_certificate = "{not_pem}"\ntls_key = "{not_pem}"\n'
        ))], {}),
        (78, r"upstream\.ca_file", [file("ca.toml", (
            f'[server]\nport = 0\n[upstream]\nca_file = "{not_pem}"\n'
        ))], {}),
        (78, "SSL_CERT_FILE", [good], {"SSL_CERT_FILE": str(tmp_path / "no.pem")}),
        (77, "state directory", [good], {"SUPERVISOR_STATE_DIR": "/proc/supervisor"}),
        (77, "state directory", [good], {"SUPERVISOR_STATE_DIR": str(good)}),
    ]  # fmt: skip

    async def check(
        number: int, code: int, words: str, arguments: list[str | Path], environment: dict[str, str]
    ) -> None:
        state = {"SUPERVISOR_STATE_DIR": str(tmp_path / f"state-{number}")}
        async with limit, started(*arguments, environment={**state, **environment}) as process:
            assert (await process.ends(), process.stdout) == (code, ""), process.stderr
            await process.says(words)
            assert "Traceback" not in process.stderr

    limit = trio.CapacityLimiter(4)
    async with trio.open_nursery() as nursery:
        for number, case in enumerate(cases):
            nursery.start_soon(check, number, *case)


def without_the_administrators_rights() -> None:
    """Permissions hold for this process and what it starts, also for an administrator (Linux)."""
    drop_from_bounding_set = 24
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0) != 0:
            raise OSError("these rights cannot be dropped")


async def test_a_state_directory_that_may_not_be_written_is_77(
    config: Path, tmp_path: Path
) -> None:
    write_config(config, pointed_at(NOWHERE))
    empty, used = tmp_path / "empty", tmp_path / "used"
    for directory in (empty, used):
        directory.mkdir()
    (used / instance.LOCK_FILE).touch()
    for directory in (empty, used):
        directory.chmod(0o555)
    ordinary: dict[str, Any] = (
        {"preexec_fn": without_the_administrators_rights} if os.geteuid() == 0 else {}
    )
    for directory in (empty, used):
        async with started(config, state=directory, **ordinary) as process:
            assert await process.ends() == 77, process.stderr
            assert str(directory) in process.stderr
            assert "SUPERVISOR_STATE_DIR" in process.stderr
            assert "Traceback" not in process.stderr


async def test_it_needs_neither_a_home_nor_any_other_variable(upstream: Upstream) -> None:
    with tempfile.TemporaryDirectory() as name:
        config = write_config(Path(name) / "c.toml", pointed_at(upstream.url, accounts("work")))
        bare = {
            "HOME": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": "", "XDG_DATA_HOME": "",
            "XDG_CACHE_HOME": "", "XDG_RUNTIME_DIR": "", "CLAUDE_CONFIG_DIR": "", "LANG": "C",
        }  # fmt: skip
        async with listening(config, state=Path(name) / "state", environment=bare) as process:
            assert (await process.status())["mode"] == "pool"
            # Loopback only, whatever interfaces there are.
            bound = {
                line.split()[1]
                for table in ("/proc/net/tcp", "/proc/net/tcp6")
                if Path(table).exists()
                for line in Path(table).read_text().splitlines()[1:]
                if line.split()[3] == "0A" and line.split()[1].endswith(f":{process.port:04X}")
            }
            assert bound in (set(), {f"0100007F:{process.port:04X}"})

"""Clients' own logins, told apart, from the headers of an answer to the files beside the logins."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import trio

from server.scripted import Answer, ScriptedUpstream, Window, text_message
from server.scripted.errors import unified_headers
from tests.kit.http_client import MemoryClient
from tests.kit.live import accounts
from tests.kit.memory_disk import MemoryDisk
from tests.kit.program import EPOCH, UPSTREAM, RunningProgram, program_in_memory

HOME = Path("/home/me/.claude")
RED, BLUE = Path("/logins/red"), Path("/logins/blue")
ENVIRON = {"HOME": "/home/me", "CLAUDE_CONFIG_DIRS": f"{RED}, {BLUE},"}
FILE = "usage-status.md"


def using(utilization: float) -> Answer:
    window = Window(utilization=utilization, resets_at=int(EPOCH) + 9000)
    made = text_message("hello")
    return msgspec.structs.replace(made, headers=(*made.headers, *unified_headers({"5h": window})))


async def ask(program: RunningProgram, token: str) -> None:
    client = MemoryClient(await program.connect())
    body = {"model": "m", "max_tokens": 9, "messages": []}
    headers = {"authorization": f"Bearer {token}"}
    assert (await client.post("/v1/messages", body, headers)).status == 200


def disk_of(program: RunningProgram) -> MemoryDisk:
    disk = program.parts.disk
    assert isinstance(disk, MemoryDisk)
    return disk


def file(program: RunningProgram, directory: Path) -> str:
    return disk_of(program).files.get(directory / FILE, b"").decode()


async def test_each_login_of_the_environment_has_its_usage_in_its_own_directory(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    for token, used in (("token-red", 0.1), ("token-blue", 0.2), ("token-else", 0.3)):
        upstream.script(token, then=using(used))
    async with program_in_memory("", upstream, environ=ENVIRON) as program:
        for directory, token in ((RED, "token-red"), (BLUE, "token-blue")):
            document = {"claudeAiOauth": {"accessToken": token}}
            disk_of(program).files[directory / ".credentials.json"] = json.dumps(document).encode()
        for token in ("token-red", "token-blue", "token-else"):
            await ask(program, token)
        await trio.sleep(3)
        assert file(program, RED).startswith("5h=10% ")
        assert file(program, BLUE).startswith("5h=20% ")
        assert sorted(line.split()[1] for line in file(program, HOME).splitlines()) == [
            "5h=10%", "5h=20%", "5h=30%"
        ]  # fmt: skip
        shown = (await MemoryClient(await program.connect()).get("/status")).body
    everything = shown + b"".join(
        data for path, data in disk_of(program).files.items() if path.name == FILE
    )
    assert b"token-" not in everything


async def test_accounts_readings_go_to_the_file_that_the_configuration_names(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-a", then=using(0.09))
    config = f'{accounts("a", "b")}\n[client]\nusage_file = "/shown/{FILE}"\n'
    async with program_in_memory(config, upstream, environ=ENVIRON) as program:
        await ask(program, "whatever")
        await trio.sleep(2)
        assert file(program, Path("/shown")).startswith("a: 5h=9% ")
        assert file(program, HOME) == ""
        program.change(
            f'[upstream]\nbase_url = "{UPSTREAM}"\n{accounts("a", "b")}\n[client]\nusage_file = ""\n'
        )
        client = MemoryClient(await program.connect())
        assert (await client.post("/status/reload", b"")).status == 200
        before = file(program, Path("/shown"))
        await trio.sleep(20)
        await ask(program, "whatever")
        await trio.sleep(20)
        assert file(program, Path("/shown")) == before, "switched off, and left as it was"

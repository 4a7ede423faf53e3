"""The other proxies: how each is installed, configured for the upstream of the bench, and started."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from relays import Relay, complaints, environment, spawned
from running import ROOT, Failed

INSTALLED = ROOT / ".bench"
INSTALL_SECONDS = 900.0
READY_SECONDS = 120.0
"""LiteLLM takes ten on a quiet machine."""

MODEL = "claude-opus-5-5"


@dataclass(frozen=True)
class Launch:
    """A command that serves, with what its clients send beside the usual."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    prefix: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Peer:
    """`launch` is given its folder below `.bench/`, a home of its own, a free port and the upstream's
    base URL; it writes the configuration.
    """

    name: str
    requirement: str
    version: str
    npm: bool
    launch: Callable[[Path, Path, int, str], Launch]
    does: str

    @property
    def folder(self) -> Path:
        """Where it is installed."""
        return INSTALLED / self.name.lower().replace(" ", "-")


def install(peer: Peer) -> None:
    """Fetches the peer, unless that version is there. Raises Failed."""
    note = peer.folder / "installed"
    if note.exists() and note.read_text("utf-8") == peer.version:
        return
    shutil.rmtree(peer.folder, ignore_errors=True)
    peer.folder.mkdir(parents=True)
    if peer.npm:
        if not shutil.which("npm"):
            raise Failed("npm is missing (Debian: apt install npm)")
        (peer.folder / "package.json").write_text('{"private": true}\n', "utf-8")
        quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
        _fetched(peer, ["npm", "install", *quiet, f"{peer.requirement}@{peer.version}"])
    else:
        _fetched(peer, [sys.executable, "-m", "venv", str(peer.folder)])
        pip = [str(peer.folder / "bin" / "python"), "-m", "pip", "-q", "--no-input"]
        exactly = f"{peer.requirement}=={peer.version}"
        _fetched(peer, [*pip, "--disable-pip-version-check", "install", exactly])
    note.write_text(peer.version, "utf-8")


def _fetched(peer: Peer, command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=peer.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"could not be installed: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Failed(f"could not be installed: {' '.join(last) or done.returncode}")


@contextlib.contextmanager
def started(peer: Peer, home: Path, base_url: str) -> Iterator[Relay]:
    """The peer in front of that upstream, once it accepts connections. Raises Failed."""
    home.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    launch = peer.launch(peer.folder, home, port, base_url)
    variables = environment(HOME=str(home), NO_COLOR="1", **{**_NOWHERE, **launch.environment})
    with spawned(launch.command, home, environment=variables, output=None) as (process, began):
        until = time.monotonic() + READY_SECONDS
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > until:
                raise Failed(f"did not start: {complaints(home)[-300:] or 'and says nothing'}")
            time.sleep(0.02)
        took = time.perf_counter() - began
        yield Relay(
            peer.name,
            port,
            process.pid,
            start_seconds=took,
            prefix=launch.prefix,
            headers=launch.headers,
        )


_NOWHERE = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
    "npm_config_offline": "true",
}
"""Nothing leaves this machine: some look for newer versions, prices or programs when they start."""


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _litellm(folder: Path, home: Path, port: int, base_url: str) -> Launch:
    configuration = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"anthropic/{MODEL}",
                    "api_base": base_url,
                    "api_key": "made-up",
                },
            }
        ],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    file = home / "config.yaml"
    file.write_text(json.dumps(configuration), "utf-8")  # which is YAML as well
    command = [str(folder / "bin" / "litellm"), "--config", str(file), "--host", "127.0.0.1"]
    return Launch(
        [*command, "--port", str(port), "--num_workers", "1"],
        {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_TELEMETRY": "False",
            "DISABLE_ADMIN_UI": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
    )


def _portkey(folder: Path, home: Path, port: int, base_url: str) -> Launch:
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return Launch(
        [_node(), str(program), f"--port={port}", "--headless"],
        {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        headers=(
            ("x-portkey-provider", "anthropic"),
            ("x-portkey-custom-host", f"{base_url}/v1"),
        ),
    )


def _ccproxy(folder: Path, home: Path, port: int, base_url: str) -> Launch:
    login = {
        "accessToken": "made-up",
        "refreshToken": "made-up",
        "expiresAt": 4_102_444_800_000,
        "scopes": ["user:inference"],
        "subscriptionType": "max",
    }
    kept = home / ".claude" / ".credentials.json"
    kept.parent.mkdir()
    kept.write_text(json.dumps({"claudeAiOauth": login}), "utf-8")
    file = home / "config.toml"
    file.write_text(
        'enabled_plugins = ["claude_api", "oauth_claude"]\n'
        "[plugins.claude_api]\n"
        f'base_url = "{base_url}"\nsystem_prompt_injection_mode = "none"\n',
        "utf-8",
    )
    command = [str(folder / "bin" / "ccproxy"), "serve", "--config", str(file)]
    return Launch(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "ERROR"],
        {
            "CONFIG_FILE": str(file),
            "HTTPS_PROXY": "",  # it takes that one for the upstream too, whatever NO_PROXY says
            "PLUGINS__CLAUDE_API__BASE_URL": base_url,
            "PLUGINS__CLAUDE_API__SYSTEM_PROMPT_INJECTION_MODE": "none",
        },
        prefix="/claude",
    )


def _router(folder: Path, home: Path, port: int, base_url: str) -> Launch:
    configuration = {
        "LOG": False,
        "HOST": "127.0.0.1",
        "PORT": port,
        "NON_INTERACTIVE_MODE": True,
        "Providers": [
            {
                "name": "bench",
                "api_base_url": f"{base_url}/v1/messages",
                "api_key": "made-up",
                "models": [MODEL],
                "transformer": {"use": ["Anthropic"]},
            }
        ],
        "Router": {"default": f"bench,{MODEL}"},
    }
    folder_of_it = home / ".claude-code-router"
    folder_of_it.mkdir()
    (folder_of_it / "config.json").write_text(json.dumps(configuration), "utf-8")
    program = folder / "node_modules" / "@musistudio" / "claude-code-router" / "dist" / "cli.js"
    return Launch([_node(), str(program), "start"])


def _node() -> str:
    found = shutil.which("node")
    if not found:
        raise Failed("Node is missing (Debian: apt install nodejs)")
    return found


PEERS = (
    Peer("LiteLLM", "litellm[proxy]", "1.106.2", False, _litellm, "parses and rebuilds Messages"),
    Peer(
        "Portkey",
        "@portkey-ai/gateway",
        "1.15.2",
        True,
        _portkey,
        "parses and rebuilds Messages; under Node it answers no stream of them "
        "(Portkey-AI/gateway#1389, #1550)",
    ),
    Peer("ccproxy-api", "ccproxy-api", "0.2.10", False, _ccproxy, "a login's tokens, one account"),
    Peer(
        "claude-code-router",
        "@musistudio/claude-code-router",
        "2.0.0",
        True,
        _router,
        "routes and may translate",
    ),
)

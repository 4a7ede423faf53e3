"""`supervisor exec`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import NoReturn

import click

from supervisor import exit_codes
from supervisor.cli import running
from supervisor.cli.failure import Failure
from supervisor.cli.manual import NEEDS_AN_INSTANCE, STATE_VARIABLE, Documented, Manual

PLACEHOLDER_TOKEN = "llm-supervisor"  # noqa: S105 - says that there is none
"""What a client without a login sends in pool mode; it is replaced on the way."""

_CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_NO_PROXY = ("NO_PROXY", "no_proxy")
_RESTORED_SIGNALS = ("SIGPIPE", "SIGXFSZ")


_MANUAL = Manual(
    examples={
        "supervisor exec -- claude": "Claude Code, in this terminal alone.",
        'supervisor exec -- claude -p "hello"': "One prompt.",
        "supervisor exec -- env | grep ANTHROPIC": "See what a command is told.",
    },
    exits={
        exit_codes.STOPPED_AS_ASKED: "COMMAND's own exit code, whatever it is",
        **NEEDS_AN_INSTANCE,
        exit_codes.NOT_EXECUTABLE: "COMMAND cannot be run",
        exit_codes.NOT_FOUND: "there is no such command",
    },
    environment={
        "ANTHROPIC_BASE_URL": "set to the running instance",
        "ANTHROPIC_AUTH_TOKEN": "set where COMMAND would find no credential, or a wrong one",
        "NO_PROXY": "extended by the instance's address",
        **STATE_VARIABLE,
    },
    see=("supervisor client", "docs/start.md#claude-code"),
)


@click.command(
    "exec",
    cls=Documented,
    manual=_MANUAL,
    short_help="Run a command that talks to the running instance.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(command: tuple[str, ...]) -> None:
    """Run COMMAND with its environment pointed at the running instance.

    No file is touched: what COMMAND is told ends with it. Signals and the exit code are its own.
    Everything after -- is COMMAND's.
    """
    from protocol.config import Client
    from supervisor.instance_client import NothingAnswers, Refused

    found = running.find()
    try:
        status = found.get("/status")
    except NothingAnswers as error:
        raise running.unanswered(error) from error
    except Refused as refusal:
        raise running.refused(refusal.status, refusal.message) from refusal
    config = running.configuration_of(found.instance)
    if config is None:
        click.echo("supervisor: the configuration does not load (see `supervisor check`)", err=True)
    token = running.access_token(config, running.state_directory())
    environment = environment_for(
        os.environ,
        url=found.instance.url,
        host=found.host,
        pool=isinstance(status, dict) and status.get("mode") == "pool",
        token=token.reveal() if token is not None else "",
        client_environment=(config.client if config is not None else Client()).environment,
    )
    become(command, environment)


def environment_for(
    base: Mapping[str, str],
    *,
    url: str,
    host: str,
    pool: bool,
    token: str,
    client_environment: Mapping[str, str],
) -> dict[str, str]:
    """`base`, pointed at `url`.

    A credential of the client's own stays, as without accounts it is what pays. In pool mode it is
    replaced on the way, so a client that has none is given one of ours: it would not start without.
    """
    environment = dict(base)
    environment["ANTHROPIC_BASE_URL"] = url
    if pool and (token or not _has_a_login(environment)):
        environment["ANTHROPIC_AUTH_TOKEN"] = token or PLACEHOLDER_TOKEN
    elif token:  # the usual headers carry the client's own credential, so ours has its own
        own = environment.get("ANTHROPIC_CUSTOM_HEADERS", "")
        lines = [line for line in own.splitlines() if line.strip()]
        environment["ANTHROPIC_CUSTOM_HEADERS"] = "\n".join([*lines, f"x-supervisor-key: {token}"])
    for name, value in client_environment.items():
        environment.setdefault(name, value)
    _extend_no_proxy(environment, host)
    return environment


def become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by `command`. Raises Failure (126, 127) where it can not be started."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "nt":  # exec there starts a second process and ends this one at once
            ended = subprocess.run(command, env=environment, check=False)  # noqa: S603 - as asked
            sys.exit(ended.returncode)
        for name in _RESTORED_SIGNALS:  # ignored by Python, and what is ignored is inherited
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - as asked
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Failure(
            exit_codes.NOT_FOUND,
            f"command not found: {command[0]}",
            "check its spelling and PATH, or name it by its full path.",
        ) from error
    except OSError as error:
        raise Failure(
            exit_codes.NOT_EXECUTABLE,
            f"cannot run {command[0]}: {error.strerror or error}",
            "it must be a program that this user may execute.",
        ) from error


def _has_a_login(environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in _CREDENTIALS):
        return True
    from supervisor.environment_accounts import claude_code_has_login

    return claude_code_has_login(environment)


def _extend_no_proxy(environment: MutableMapping[str, str], host: str) -> None:
    """In both spellings, as programs differ in which one they read; each keeps what either had."""
    had = [environment.get(name, "") for name in _NO_PROXY]
    for name, own in zip(_NO_PROXY, had, strict=True):
        entries = [x.strip() for x in (own or next(filter(None, had), "")).split(",") if x.strip()]
        if host not in entries and "*" not in entries:
            entries.append(host)
        environment[name] = ",".join(entries)

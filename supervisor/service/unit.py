"""The files of a systemd user unit. See systemd.service(5), systemd.exec(5)."""

from __future__ import annotations

import shlex

from supervisor.service.description import NAME, WATCHDOG_SECONDS, Description

MARK = "# Written by `supervisor service install`"
"""First in every file of ours; one without it is somebody else's."""

NEVER_AGAIN = (73, 77, 78)
"""Exit codes that do not get better by a restart."""

_UNIT = """\
{mark}, which writes it anew.
# Changes of your own: systemctl --user edit {name}

[Unit]
Description=llm-supervisor: one local endpoint between LLM clients and their upstreams
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
ExecStart={start}
ExecReload={reload}
# Whatever ended it, Claude Code's settings are put back; quick where there is nothing to do.
ExecStopPost=-{repair}
Restart=on-failure
RestartSec=2
# A port or a state directory that is taken, no permission, a configuration with errors.
RestartPreventExitStatus={never_again}
# It says every ten seconds that it answers. A worker that is stuck it replaces by itself.
WatchdogSec={watchdog}
TimeoutStartSec=90
# The drain, and what comes after it.
TimeoutStopSec={stop:g}
{environment}
# It may read and write what its user may; what it never needs is closed.
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
# A home that it can only read, but for these, needs user namespaces, which not every system lets a
# user have. Try it: put the four lines, without the #, below [Service] in `systemctl --user edit`.
# Not with accounts that are Claude Code's logins: its lock lies beside its directory, in the home.
# PrivateUsers=yes
# PrivateTmp=yes
# ProtectSystem=strict
# ReadWritePaths={writes}

[Install]
WantedBy=default.target
"""

_SOCKET = """\
{mark}, which writes it anew.

[Unit]
Description=The port of llm-supervisor

[Socket]
ListenStream={address}
Backlog=1024
# Not again and again where the service cannot start.
TriggerLimitIntervalSec=10
TriggerLimitBurst=10

[Install]
WantedBy=sockets.target
"""


def service_unit(service: Description) -> str:
    """The content of `llm-supervisor.service`."""
    return _UNIT.format(
        mark=MARK,
        name=NAME,
        start=command_line((*service.command, *service.run)),
        reload=command_line((*service.command, "reload")),
        repair=command_line((*service.command, "repair")),
        never_again=" ".join(map(str, NEVER_AGAIN)),
        watchdog=WATCHDOG_SECONDS,
        stop=service.stop_seconds,
        environment=_environment(service),
        # With a dash: one that is not there yet is no reason not to start.
        writes=" ".join(_quoted(f"-{path}") for path in service.writes),
    )


def socket_unit(service: Description) -> str:
    """The content of `llm-supervisor.socket`: systemd holds the port, and starts the service."""
    return _SOCKET.format(mark=MARK, address=service.address)


def _environment(service: Description) -> str:
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in service.environment]
    # Specifiers are expanded here too; blanks belong to the path.
    lines.append(f"EnvironmentFile=-{service.environment_file.replace('%', '%%')}")
    return "\n".join(lines)


def command_line(words: tuple[str, ...]) -> str:
    """As ExecStart takes it: no word is split, expanded or substituted."""
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    escaped = escaped.replace("\n", "\\n")
    return escaped if escaped == word and shlex.quote(word) == word else f'"{escaped}"'


def program_of(content: bytes) -> str:
    """The program that a unit of ours starts; "" where that cannot be told."""
    for line in content.decode("utf-8", "replace").split("\n"):
        if line.startswith("ExecStart="):
            try:
                words = shlex.split(line.removeprefix("ExecStart="))
            except ValueError:  # somebody has edited it
                return ""
            return words[0].replace("%%", "%").replace("$$", "$") if words else ""
    return ""

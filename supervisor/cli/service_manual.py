"""The help pages of `supervisor service` and its commands."""

from __future__ import annotations

from supervisor import exit_codes
from supervisor.cli.manual import NEEDS_A_CONFIGURATION, PLACE_VARIABLES, Manual

_PAGE = "docs/install.md#as-a-service"
_NOT_POSSIBLE = {
    exit_codes.FAILED: "there is no service, or the service manager refused; what to do is said",
}
_NOT_WRITTEN = {exit_codes.PERMISSION: "a file may not be written or removed"}

SERVICE = Manual(
    examples={
        "supervisor service install": "Write it, start it now and at every login.",
        "supervisor service status": "Whether it runs, and where its log is.",
        "supervisor service uninstall": "Stop it, and remove its files.",
    },
    files={
        "~/.config/systemd/user/": "llm-supervisor.service, and .socket with --socket (Linux)",
        "~/Library/LaunchAgents/": "the launchd agent (macOS)",
    },
    see=("supervisor run", "supervisor repair", _PAGE),
)
PRINT = Manual(
    examples={
        "supervisor service print": "On stdout, ready for a file; its place is on stderr.",
        "supervisor service print --port 4090 --config ~/proxy.toml": "As `install` would with these.",
    },
    exits={**_NOT_POSSIBLE, **NEEDS_A_CONFIGURATION},
    environment=PLACE_VARIABLES,
    see=("supervisor service install", _PAGE),
)
INSTALL = Manual(
    examples={
        "supervisor service install": "With the configuration in its usual place.",
        "supervisor service install --port 4090": "On another port.",
        "supervisor service install --socket": "systemd holds the port: nobody is refused while it restarts.",
    },
    exits={
        **_NOT_POSSIBLE,
        exit_codes.TAKEN: "the port belongs to another program, or there is a service that is not ours",
        **NEEDS_A_CONFIGURATION,
    },
    environment={
        **PLACE_VARIABLES,
        "HTTPS_PROXY, NO_PROXY, ...": "written down with the service, for it does not see this shell",
    },
    see=("supervisor service status", "supervisor setup", _PAGE),
)
UNINSTALL = Manual(
    examples={"supervisor service uninstall": "What runs is stopped first."},
    exits={
        **_NOT_POSSIBLE,
        **_NOT_WRITTEN,
        exit_codes.TAKEN: "there is a service that is not ours",
    },
    see=("supervisor uninstall", _PAGE),
)
START = Manual(
    examples={"supervisor service start": "After `service stop`, or where it failed."},
    exits=_NOT_POSSIBLE,
    see=("supervisor service status", "docs/troubleshooting.md#the-service-does-not-start"),
)
STOP = Manual(
    examples={"supervisor service stop": "Streams may end first, for server.drain_seconds."},
    exits=_NOT_POSSIBLE,
    see=("supervisor service uninstall", "supervisor stop", _PAGE),
)
STATUS = Manual(
    examples={"supervisor service status": "For people and, by its exit code, for scripts."},
    exits={
        exit_codes.STOPPED_AS_ASKED: "it runs",
        exit_codes.FAILED: "there is no service",
        exit_codes.NOTHING_ANSWERS: "it does not run",
    },
    see=("supervisor status", "docs/troubleshooting.md#the-service-does-not-start"),
)

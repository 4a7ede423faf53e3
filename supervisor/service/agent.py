"""The file of a launchd agent: launchd.plist(5). Never run here: macOS is not what it was made on."""

from __future__ import annotations

import math
import plistlib

from supervisor.service.description import NAME, Description

LABEL = NAME
THROTTLE_SECONDS = 10
"""launchd starts it again after every failure, so not more often than this."""


def agent(service: Description) -> bytes:
    """The content of `~/Library/LaunchAgents/llm-supervisor.plist`."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": [*service.command, *service.run],
            "EnvironmentVariables": dict(service.environment),
            "RunAtLoad": True,
            # After a failure, not after a stop as asked.
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": THROTTLE_SECONDS,
            # Between SIGTERM and SIGKILL; launchd's own 20 s would cut streams.
            "ExitTimeOut": math.ceil(service.stop_seconds),
            "Umask": 0o077,
            "WorkingDirectory": "/",
            "StandardOutPath": service.log_file,
            "StandardErrorPath": service.log_file,
        }
    )

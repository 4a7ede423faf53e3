"""What the `service` commands share: the service manager, the service, and refusals in words."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor import exit_codes
from supervisor.cli.failure import Failure

if TYPE_CHECKING:
    from supervisor.service.description import Description
    from supervisor.service.keeping import ServiceKeeper


def find_keeper(socket: bool | None) -> ServiceKeeper:
    """The service manager of this user. Raises Failure where there is none."""
    from supervisor.service.keeping import NoKeeper, keeper_of

    try:
        keeper = keeper_of(os.environ, socket=socket)
    except NoKeeper as reason:
        advice = "start `supervisor run` in another way; see docs/install.md."
        if sys.platform == "win32":
            advice = (
                "`supervisor service print > task.xml`, then "
                "`schtasks /Create /TN llm-supervisor /XML task.xml`."
            )
        raise Failure(exit_codes.FAILED, str(reason), advice) from reason
    if socket and sys.platform == "darwin":
        raise Failure(exit_codes.USAGE, "--socket is for systemd; launchd has no such thing here")
    return keeper


def describe(port: int | None, config: Path | None) -> Description:
    """The service. Raises Failure where the configuration has errors."""
    from supervisor.cli.configuration_errors import load_or_fail
    from supervisor.service.description import described

    loaded = load_or_fail(config, _overrides(port))
    return described(loaded.config, os.environ, argument=config, port=port)


def lacking(
    keeper: ServiceKeeper, service: Description, port: int | None, config: Path | None
) -> list[str]:
    """What the service will not have that this shell has, in sentences."""
    from supervisor.service import surroundings

    reads_file = keeper.reads_environment_file
    return surroundings.lacking(
        service, os.environ, config, _overrides(port), reads_file=reads_file
    )


def _overrides(port: int | None) -> dict[str, object]:
    return {} if port is None else {"server.port": port}


def not_written(keeper: ServiceKeeper, reason: Exception) -> Failure:
    """For `NotOurs`, and for an OSError."""
    from supervisor.service.keeping import NotOurs

    if isinstance(reason, NotOurs):
        return Failure(
            exit_codes.TAKEN,
            str(reason),
            "remove or rename it, then try again; nothing was changed.",
        )
    from supervisor.plain_files import trouble

    assert isinstance(reason, OSError)
    found = trouble(str(keeper.path), reason, "be written or removed")
    return Failure(exit_codes.PERMISSION, found.what, f"{found.advice}, then try again.")

"""What may be written in the configuration but cannot be done in this version."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.config import Config, ConfigError


def refused_keys(config: Config, source: str) -> Iterator[ConfigError]:
    """Keys that would leave the user in front of a closed door, were they merely ignored."""
    if config.access.keys:
        yield ConfigError(
            source,
            "access.keys",
            found="true",
            allowed="false",
            hint="this version has no `supervisor keys` yet, so nobody could get in; "
            "use access.token",
        )

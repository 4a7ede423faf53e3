"""Two configurations side by side, and one as a flat list of keys."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from protocol.config.errors import join
from protocol.config.model import Config

_LIVE_SERVER_KEYS = frozenset(
    {
        "server.max_body_bytes",
        "server.max_connections",
        "server.max_inflight_bytes",
        "server.allowed_hosts",
        "server.allowed_origins",
        "server.drain_seconds",
    }
)
_KEPT_BY_THE_KEEPER = frozenset({"client.on_down", "client.restore_after"})

_TLS_KEYS = frozenset({"server.tls_certificate", "server.tls_key"})


def leaves(config: Config) -> Iterator[tuple[str, object]]:
    """Every key's full path with its value, in the order of `model`: `account[0].name`, ..."""
    yield from _leaves(config, "")


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """The changed keys that only a restart can put into effect; all others apply while running.

    They are what the listener, the supervision tree, the log files and the keeper were made with.
    """
    before, after = dict(leaves(old)), dict(leaves(new))
    return tuple(
        path
        for path, value in after.items()
        if value != before.get(path) and _needs_restart(path, before.get(path), value)
    )


def _needs_restart(path: str, before: object, after: object) -> bool:
    if path in _TLS_KEYS:
        return not (before and after)  # another certificate, but not HTTPS in place of HTTP
    return applies_at_restart(path)


def applies_at_restart(path: str) -> bool:
    """Whether a change of the key at `path` (`server.port`) waits for the next start."""
    section = path.partition(".")[0]
    if section == "server":
        return path not in _LIVE_SERVER_KEYS
    return section == "supervision" or path == "logs.directory" or path in _KEPT_BY_THE_KEEPER


def _leaves(struct: msgspec.Struct, path: str) -> Iterator[tuple[str, object]]:
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        place = join(path, field.encode_name)
        if isinstance(value, msgspec.Struct):
            yield from _leaves(value, place)
        elif path == "" and isinstance(value, tuple):
            for position, entry in enumerate(value):
                yield from _leaves(entry, f"{place}[{position}]")
        else:
            yield place, value

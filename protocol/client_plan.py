"""What `[client]` asks for, in the light of the rest of the configuration."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol import derive
from protocol.config import Config
from protocol.config.forms import is_loopback

LONGEST_RELEASE = 30.0
"""Seconds; a stop does not wait for longer, whatever `release_after` says."""


class ClientPlan(msgspec.Struct, frozen=True):
    """How clients are to be pointed. `blocked`: why not at all, "" where they are. `token`: `auto`
    where a client has no login of its own. `adopted`: the upstream that was the client's."""

    files: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    replace: bool
    token: Literal["never", "auto", "always"]
    stay: bool
    direct_url: str
    release_after: float
    adopted: str = ""
    blocked: str = ""


def plan(
    config: Config, default_file: str, adopted: str, *, tls: bool, pool: bool | None = None
) -> ClientPlan | None:
    """None: clients are not managed. `adopted` is "" where the upstream is a configured one. `pool`:
    whether there are accounts; None: those of the configuration are all there are."""
    client = config.client
    if not client.manage:
        return None
    if pool is None:
        pool = bool(derive.account_specs(config))
    token: Literal["never", "auto", "always"] = "never"  # noqa: S105 - a word
    if pool and client.auth_token == "auto":  # noqa: S105 - a word
        token = "always" if config.access.token or config.access.keys else "auto"
    return ClientPlan(
        files=client.settings or (default_file,),
        environment=tuple(client.environment.items()),
        replace=client.replace,
        token=token,
        stay=client.on_down == "stay",
        direct_url=client.direct_url or config.upstream.base_url,
        release_after=min(client.release_after, LONGEST_RELEASE),
        adopted=adopted if not pool and adopted == config.upstream.base_url else "",
        blocked=_blocked(config, pool=pool, tls=tls),
    )


def _blocked(config: Config, *, pool: bool, tls: bool) -> str:
    """Where a client that is pointed here would only be turned away."""
    if tls:
        return (
            "this program speaks TLS (server.tls_certificate), and only you know for which name; "
            "set ANTHROPIC_BASE_URL by hand"
        )
    access = config.access
    if not access.token and not access.keys:
        return ""
    what = "the access token" if access.token else "a key of this proxy"
    if not access.token and not _reaches_itself_by_loopback(config.server.host):
        return f"clients need {what} (access.keys); set it and the base URL by hand"
    if not pool:
        return (
            f"{what} would have to travel in a header that running sessions keep, and "
            "send to the upstream afterwards; see docs/operating.md for setting it by hand"
        )
    if config.client.auth_token == "never":  # noqa: S105 - a word
        return f'clients need {what}, and client.auth_token is "never"'
    return ""


def _reaches_itself_by_loopback(host: str) -> bool:
    """Only then is the key that we give our own clients taken (`gate.Rules.own_key`)."""
    return is_loopback(host) or host in ("", "0.0.0.0", "::")  # noqa: S104 - not bound here

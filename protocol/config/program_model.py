"""The tables about the program itself: `[server]`, `[upstream]`, `[client]`, `[access]`, `[logs]`,
`[supervision]`. The text below each key is its meaning in docs/configuration-reference.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from protocol.config.values import (
    AutoPath,
    Count,
    FilePath,
    FreeText,
    HostName,
    OptionalPath,
    OptionalUrl,
    Origin,
    Port,
    PositiveCount,
    Seconds,
    SecondsOrZero,
    Size,
    Url,
    VariableName,
)
from protocol.secrets import Secret


class Server(Struct, frozen=True):
    """`[server]`: where we listen and what we let in."""

    host: HostName = "127.0.0.1"
    """The address or name to listen on; off loopback only with `access.keys` or `access.token`."""
    port: Port = 4080
    """The port to listen on; 0: any free one."""
    max_body_bytes: Size = 67108864
    """A larger request body is answered with 413, and nothing is sent upstream."""
    max_connections: PositiveCount = 1000
    """Connections of clients at once; past it an idle one makes room, else the new one gets 503."""
    max_inflight_bytes: Size = 1073741824
    """All request bodies together; past it a request is answered with 503 and a retry-after."""
    allowed_hosts: tuple[HostName, ...] = ()
    """More Host names to accept, beside the loopback names and `server.host`."""
    allowed_origins: tuple[Origin, ...] = ()
    """Browser origins to accept, as `https://example.com`."""
    express: bool = True
    """Whether relayed endpoints take the faster lane; false: every request takes the other one."""
    drain_seconds: SecondsOrZero = 30.0
    """How long streams may go on when the program stops; then they are cut. 0: cut at once."""
    tls_certificate: OptionalPath = ""
    """A PEM file with the certificate and its chain; set together with `server.tls_key`: HTTPS.
    Another path and renewed files apply at once; HTTPS in place of HTTP needs a restart."""
    tls_key: OptionalPath = ""
    """A PEM file with the certificate's private key; it applies as that does."""


class Upstream(Struct, frozen=True):
    """`[upstream]`: Anthropic, or whatever stands before it."""

    base_url: Url = "https://api.anthropic.com"
    """Where requests go; an account may have a base URL of its own."""
    connect_timeout: Seconds = 10.0
    """For a connection to be made, or to come free."""
    response_timeout: Seconds = 600.0
    """From the request sent to the head of the response; an answer that is no stream takes minutes."""
    idle_timeout: Seconds = 180.0
    """Between bytes of a response; there is no limit on the whole."""
    max_connections: PositiveCount = 1024
    """Per upstream; a request waits `upstream.connect_timeout` for one, then it is answered with 529."""
    ca_file: OptionalPath = ""
    """A PEM file with additional trust anchors, where a corporate proxy opens TLS."""


class Client(Struct, frozen=True):
    """`[client]`: Claude Code's own settings, and how we change them."""

    manage: bool = True
    """Whether the settings point here while the program serves; `--no-client` turns it off for one run."""
    settings: tuple[FilePath, ...] = ()
    """The settings files; empty: `settings.json` in Claude Code's configuration directory."""
    replace: bool = False
    """Whether to take over even where the client already points at somebody else."""
    usage_file: AutoPath = "auto"
    """Where quota is written for status bars; `auto`: `usage-status.md` in Claude Code's configuration directory; empty: nowhere."""
    environment: Mapping[VariableName, FreeText] = field(
        default_factory=lambda: {
            "ENABLE_TOOL_SEARCH": "true",
            "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1",
        }
    )
    """Variables that are set and put back together with the base URL."""
    auth_token: Literal["auto", "never"] = "auto"  # noqa: S105 - a word, not a token
    """Whether to give the client a key of ours as well; `auto`: where there are accounts but the client has no login of its own."""
    on_down: Literal["restore", "stay"] = "restore"
    """What becomes of the settings when we cannot serve; `stay`: they go on pointing here."""
    restore_after: SecondsOrZero = 3.0
    """With nobody serving for so long, the client is pointed away; a dead worker is replaced before."""
    direct_url: OptionalUrl = ""
    """What the client is pointed at first where no base URL stood before; empty: `upstream.base_url`."""
    release_after: SecondsOrZero = 5.0
    """From `client.direct_url` to no base URL at all; a stop waits at most 30 for it."""


class Access(Struct, frozen=True):
    """`[access]`: who may use us."""

    keys: bool = False
    """Whether clients need a key of this proxy (`supervisor keys`)."""
    token: Secret | None = None
    """One shared secret that every client sends, as x-api-key or Authorization: Bearer; empty: none."""
    subscription_use: Literal["owner", "any"] = "owner"
    """Whom a subscription serves; `owner`: its owner's own Claude Code alone; `any`: you take responsibility."""


class Logs(Struct, frozen=True):
    """`[logs]`: the request log, the debug log, and how long they are kept."""

    directory: OptionalPath = ""
    """Where the logs are; empty: `logs` in the state directory."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is said on stderr; `debug` also writes the debug log, with the attempts at upstreams."""
    bodies: bool = False
    """Whether the debug log has the beginning of each body, with credentials masked."""
    keep_days: PositiveCount = 7
    """Days; older files are removed."""
    maximum_bytes: Size = 524288000
    """Of all log files together; past it the oldest are removed."""
    rotate_interval: Seconds = 3600.0
    """Between two looks at their age and size."""


class Supervision(Struct, frozen=True):
    """`[supervision]`: what happens to a part of the program that crashes again and again."""

    intensity: Count = 5
    """Restarts of one part that are allowed within `supervision.period`; one more, and its group restarts."""
    period: Seconds = 30.0
    """The time in which restarts are counted."""
    backoff: Seconds = 0.1
    """Before the first restart; doubled with jitter for each further one."""
    maximum_backoff: Seconds = 10.0
    """The longest wait before a restart."""

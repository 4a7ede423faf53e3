"""The whole configuration as frozen values: every key of `config.toml`, its type and its default.

The types carry the constraints (`Meta`), so this file is the single list of what may be written;
`decode` walks it. Durations are seconds, sizes bytes, utilization a fraction from 0 to 1. A path is
text; when it comes from `supervisor.configuration.load` it is absolute and `~` is expanded.
A URL never ends with a slash. Structs without a mapping in them are hashable.

Two kinds of "not set" exist: an optional text is `""` as in the file, an optional secret is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from protocol.secrets import Secret

LONGEST_DURATION = 365 * 86400
"""Seconds. Longer ones overflow dates and timers, and nobody means them."""
LARGEST_SIZE = 2**50
"""Bytes."""
LARGEST_COUNT = 1_000_000

Port = Annotated[int, Meta(ge=0, le=65535)]
Size = Annotated[int, Meta(ge=1, le=LARGEST_SIZE, extra={"unit": "bytes"})]
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
PositiveCount = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]
Priority = Annotated[int, Meta(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]
Seconds = Annotated[float, Meta(gt=0, le=LONGEST_DURATION, extra={"unit": "seconds"})]
SecondsOrZero = Annotated[float, Meta(ge=0, le=LONGEST_DURATION, extra={"unit": "seconds"})]
Threshold = Annotated[float, Meta(gt=0, le=1)]
Margin = Annotated[float, Meta(ge=0, lt=1)]

# The forms are checked in `protocol.config.forms`; "optional" lets the empty text through.
Text = Annotated[str, Meta(extra={"form": "text"})]
Name = Annotated[str, Meta(extra={"form": "name"})]
HostName = Annotated[str, Meta(extra={"form": "host"})]
Origin = Annotated[str, Meta(extra={"form": "origin"})]
Url = Annotated[str, Meta(extra={"form": "url"})]
OptionalUrl = Annotated[str, Meta(extra={"form": "url", "optional": True})]
FilePath = Annotated[str, Meta(extra={"form": "path"})]
OptionalPath = Annotated[str, Meta(extra={"form": "path", "optional": True})]
AutoPath = Annotated[str, Meta(extra={"form": "path", "optional": True, "words": ("auto",)})]
VariableName = Annotated[str, Meta(extra={"form": "variable"})]
FreeText = Annotated[str, Meta(extra={"form": "free text"})]
HeaderName = Annotated[str, Meta(extra={"form": "header"})]
HeaderSecret = Annotated[Secret, Meta(extra={"form": "header value"})]
RequiredSecret = Annotated[Secret, Meta(extra={"required": True})]
"""Where it is written at all, an empty one is a mistake (an unset variable, most often)."""

Strategy = Literal["fill-first", "round-robin", "weighted", "drain-soonest", "least-used", "hybrid"]
Dialect = Literal["openai", "gemini", "anthropic"]


class Server(Struct, frozen=True):
    """`[server]`: where we listen and what we let in."""

    host: HostName = "127.0.0.1"
    port: Port = 4080
    max_body_bytes: Size = 67108864
    max_connections: PositiveCount = 1000
    max_inflight_bytes: Size = 1073741824
    allowed_hosts: tuple[HostName, ...] = ()
    allowed_origins: tuple[Origin, ...] = ()
    express: bool = True
    drain_seconds: SecondsOrZero = 30.0
    tls_certificate: OptionalPath = ""
    tls_key: OptionalPath = ""


class Upstream(Struct, frozen=True):
    """`[upstream]`: Anthropic, or whatever stands before it."""

    base_url: Url = "https://api.anthropic.com"
    connect_timeout: Seconds = 10.0
    response_timeout: Seconds = 600.0
    idle_timeout: Seconds = 180.0
    max_connections: PositiveCount = 1024
    ca_file: OptionalPath = ""


class Account(Struct, frozen=True):
    """One `[[account]]`. Exactly one of `api_key`, `token` and `credentials` is set."""

    name: Name
    api_key: RequiredSecret | None = None
    token: RequiredSecret | None = None
    credentials: FilePath | None = None
    follow: Literal["auto", "always", "never"] = "auto"
    enabled: bool = True
    weight: PositiveCount = 1
    priority: Priority = 0
    requests_per_minute: Count = 0
    models: Annotated[tuple[Text, ...], Meta(min_length=1)] = ("*",)
    exclude_models: tuple[Text, ...] = ()
    base_url: OptionalUrl = ""
    metadata: Mapping[str, object] = field(default_factory=dict)


class Routing(Struct, frozen=True):
    """`[routing]`: which account serves."""

    strategy: Strategy = "fill-first"
    affinity_seconds: SecondsOrZero = 3600.0
    switch_at: Mapping[Text, Threshold] = field(default_factory=lambda: {"5h": 0.98, "7d": 0.98})
    max_wait: SecondsOrZero = 2.0
    max_hold: SecondsOrZero = 0.0
    max_attempts: Count = 0


class Cooldown(Struct, frozen=True):
    """`[cooldown]`: how long a refused account rests when the upstream does not say."""

    base: Seconds = 1.0
    maximum: Seconds = 600.0
    auth: Seconds = 300.0
    ladder: tuple[Seconds, ...] = ()


class Refresh(Struct, frozen=True):
    """`[refresh]`: renewing OAuth logins."""

    ahead: SecondsOrZero = 600.0
    blocking_under: SecondsOrZero = 60.0
    attempts: Count = 1
    disable_after: PositiveCount = 15
    timeout: Seconds = 30.0


class OAuth(Struct, frozen=True):
    """`[oauth]`: endpoints of the login; empty: those of Claude Code."""

    client_id: str = ""
    authorize_url: OptionalUrl = ""
    token_url: OptionalUrl = ""


class Probe(Struct, frozen=True):
    """`[probe]`: asking for quota while no traffic brings it."""

    enabled: bool = True
    interval: Seconds = 300.0
    maximum_interval: Seconds = 3600.0
    model: Text = "claude-haiku-5-5"
    subscriptions: bool = False
    api_key: Secret | None = None


class Provider(Struct, frozen=True):
    """One `[[provider]]`: another upstream, for fallbacks and routes."""

    name: Name
    base_url: Url
    dialect: Dialect = "openai"
    api_key: Secret | None = None
    headers: Mapping[HeaderName, HeaderSecret] = field(default_factory=dict)
    models: tuple[Text, ...] = ()


class Fallback(Struct, frozen=True):
    """One `[[fallback]]`, tried in order when no account can serve."""

    provider: Name
    model: Text


class Route(Struct, frozen=True):
    """One `[[route]]`; the first whose `match` fits decides, before the accounts."""

    match: Text
    provider: str = ""
    model: str = ""
    accounts: bool = False


class Redirect(Struct, frozen=True):
    """`[redirect]`: to a provider while the quota is nearly used up."""

    provider: str = ""
    at: Mapping[Text, Threshold] = field(
        default_factory=lambda: {"5h": 0.90, "7d": 0.90, "overage": 0.80}
    )
    hysteresis: Margin = 0.05
    opus: str = ""
    sonnet: str = ""
    haiku: str = ""


class Models(Struct, frozen=True):
    """`[models]`: names."""

    aliases: Mapping[Text, Text] = field(default_factory=dict)
    long_context: tuple[Text, ...] = ()


class Client(Struct, frozen=True):
    """`[client]`: Claude Code's own settings, and how we change them."""

    manage: bool = True
    settings: tuple[FilePath, ...] = ()
    replace: bool = False
    usage_file: AutoPath = "auto"
    environment: Mapping[VariableName, FreeText] = field(
        default_factory=lambda: {
            "ENABLE_TOOL_SEARCH": "true",
            "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1",
        }
    )
    auth_token: Literal["auto", "never"] = "auto"  # noqa: S105 - a word, not a token
    on_down: Literal["restore", "stay"] = "restore"
    restore_after: SecondsOrZero = 3.0
    direct_url: OptionalUrl = ""
    release_after: SecondsOrZero = 5.0


class Access(Struct, frozen=True):
    """`[access]`: who may use us."""

    keys: bool = False
    token: Secret | None = None
    subscription_use: Literal["owner", "any"] = "owner"


class Logs(Struct, frozen=True):
    """`[logs]`. An empty `directory` is `logs` in the state directory."""

    directory: OptionalPath = ""
    level: Literal["debug", "info", "warning", "error"] = "info"
    bodies: bool = False
    keep_days: PositiveCount = 7
    maximum_bytes: Size = 524288000
    rotate_interval: Seconds = 3600.0


class Supervision(Struct, frozen=True):
    """`[supervision]`: `intensity` restarts within `period`, per child; then it escalates."""

    intensity: Count = 5
    period: Seconds = 30.0
    backoff: Seconds = 0.1
    maximum_backoff: Seconds = 10.0


class Config(Struct, frozen=True):
    """A whole, valid configuration; `Config()` is what an empty file means.

    The arrays of tables have plural fields here and singular names in the file (`[[account]]`).
    """

    server: Server = Server()
    upstream: Upstream = Upstream()
    accounts: tuple[Account, ...] = field(default=(), name="account")
    routing: Routing = field(default_factory=Routing)
    cooldown: Cooldown = Cooldown()
    refresh: Refresh = Refresh()
    oauth: OAuth = OAuth()
    probe: Probe = Probe()
    providers: tuple[Provider, ...] = field(default=(), name="provider")
    fallbacks: tuple[Fallback, ...] = field(default=(), name="fallback")
    routes: tuple[Route, ...] = field(default=(), name="route")
    redirect: Redirect = field(default_factory=Redirect)
    models: Models = field(default_factory=Models)
    client: Client = field(default_factory=Client)
    access: Access = Access()
    logs: Logs = Logs()
    supervision: Supervision = Supervision()

"""The configuration: what may be written, and what a written one means. Pure, as all of `protocol`.

`model` has every key with its type and default; `decode` makes a `Config` of a document or tells
all that is wrong with it. Finding and reading the file is `supervisor.configuration`.
"""

from protocol.config.compare import leaves, restart_needed
from protocol.config.decode import Decoded, decode, decode_with_origins
from protocol.config.errors import ConfigError, ConfigInvalid
from protocol.config.model import (
    Access,
    Account,
    Client,
    Config,
    Cooldown,
    Fallback,
    Logs,
    Models,
    OAuth,
    Probe,
    Provider,
    Redirect,
    Refresh,
    Route,
    Routing,
    Server,
    Supervision,
    Upstream,
)
from protocol.config.overlay import (
    EnvironmentOverlay,
    Setting,
    environment_overlay,
    variable_name,
)

__all__ = [
    "Access",
    "Account",
    "Client",
    "Config",
    "ConfigError",
    "ConfigInvalid",
    "Cooldown",
    "Decoded",
    "EnvironmentOverlay",
    "Fallback",
    "Logs",
    "Models",
    "OAuth",
    "Probe",
    "Provider",
    "Redirect",
    "Refresh",
    "Route",
    "Routing",
    "Server",
    "Setting",
    "Supervision",
    "Upstream",
    "decode",
    "decode_with_origins",
    "environment_overlay",
    "leaves",
    "restart_needed",
    "variable_name",
]

"""The whole configuration as frozen values: every key of `config.toml`, its type and its default.

The types carry the constraints (`protocol.config.values`), and the text below each key says what it
means, so these modules are the single list of what may be written; `decode` walks it and
docs/configuration-reference.md is made of it. Structs without a mapping in them are hashable.

Two kinds of "not set" exist: an optional text is `""` as in the file, an optional secret is None.
"""

from __future__ import annotations

from msgspec import Struct, field

from protocol.config.accounts_model import Account, Cooldown, OAuth, Probe, Refresh, Routing
from protocol.config.program_model import Access, Client, Logs, Server, Supervision, Upstream
from protocol.config.providers_model import Fallback, Models, Provider, Redirect, Route
from protocol.config.values import Dialect, Strategy

__all__ = [
    "Access",
    "Account",
    "Client",
    "Config",
    "Cooldown",
    "Dialect",
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
    "Strategy",
    "Supervision",
    "Upstream",
]


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

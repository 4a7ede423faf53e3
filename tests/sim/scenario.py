"""What a seed makes of the world: accounts, configuration, traffic, and which faults at which rates.

Swarm testing: each seed leaves most kinds of faults out and lets the others loose at rates that no
real day has, because faults that are always mixed mask each other.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from tests.kit.logins import SETTINGS, login
from tests.sim.history import Account

API, FAR, OTHER, TOKENS = "api.test", "far.test", "other.test", "tokens.test"

UPSTREAM_FAULTS = (
    "429 retry-after",
    "429 window",
    "429 burst",
    "429 bare",
    "5xx",
    "529",
    "overload in a 200",
    "late error",
    "cut",
    "reset",
    "stall",
    "no answer",
    "slow answer",
    "401",
)
NETWORK_FAULTS = ("refused", "silent host")
ACTOR_FAULTS = ("crash at await", "crash with message", "kill", "stuck", "crash loop")
CLIENT_FAULTS = ("slow client", "stopped client", "leaver")
DISK_FAULTS = ("disk error", "disk slow")
OWNER_FAULTS = ("reload", "bad reload", "account removal", "disable", "strategy changed")
LOGIN_FAULTS = ("token refused", "token slow", "token answer lost", "renewed elsewhere")
KEY_FAULTS = ("key revoked", "keys file broken", "keys switched")
OTHER_FAULTS = ("clock jump", "suspend", "stopped", "drain", "stop at once", "power cut")
KINDS = (
    *UPSTREAM_FAULTS,
    *NETWORK_FAULTS,
    *ACTOR_FAULTS,
    *CLIENT_FAULTS,
    *DISK_FAULTS,
    *OWNER_FAULTS,
    *LOGIN_FAULTS,
    *KEY_FAULTS,
    *OTHER_FAULTS,
)

STRATEGIES = ("fill-first", "round-robin", "weighted", "drain-soonest", "least-used", "hybrid")

RATES = (0.02, 0.05, 0.1, 0.1, 0.3, 0.6)
SELDOM = frozenset((*OWNER_FAULTS, *LOGIN_FAULTS, *KEY_FAULTS, *OTHER_FAULTS))
"""What has few occasions in a run, once in many seconds where others have one with each request."""

SELDOM_RATES = (0.2, 0.5, 1.0)
STORMS = (60.0, 150.0, 400.0)
TOKEN_LIFETIMES = (120.0, 700.0, 3600.0)


@dataclass(frozen=True)
class Scenario:
    """Drawn once per seed; `text` is the configuration file.

    Where it is `keyed` clients have inbound keys, whether or not they are `asked` for them now.
    """

    seed: int
    accounts: tuple[Account, ...]
    settings: dict[str, float]
    strategy: str
    fallback: bool
    passthrough: bool
    keyed: bool
    asked: bool
    lanes: tuple[str, ...]
    storm: float
    clients: int
    pause: float
    buffer_bytes: int
    token_lifetime: float
    rates: dict[str, float] = field(default_factory=dict)
    windows: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def text(self, accounts: tuple[Account, ...] | None = None) -> str:
        """The configuration, with other accounts if given."""
        told = self.settings
        lines = [
            SETTINGS.replace("api.test", TOKENS).replace(
                "[access]", f"[access]\nkeys = {str(self.asked).lower()}"
            ),
            f"[upstream]\nbase_url = 'http://{API}'\nconnect_timeout = 5",
            f"response_timeout = {told['response']}\nidle_timeout = {told['idle']}",
            f"[routing]\nstrategy = '{self.strategy}'\nmax_wait = {told['max_wait']}",
            f"max_attempts = {int(told['max_attempts'])}\nmax_hold = {told['max_hold']}",
            f"[cooldown]\nmaximum = {told['maximum']}\nauth = {told['auth']}",
            f"[server]\nmax_body_bytes = 100000\ndrain_seconds = {told['drain']}",
            "[refresh]\nahead = 60\nblocking_under = 20\ntimeout = 10",
        ]
        if self.fallback:
            lines.append(
                f"[[provider]]\nname = 'other'\nbase_url = 'http://{OTHER}/v1'\napi_key = '{PROVIDER_KEY}'\n"
                "models = ['x']\n[[fallback]]\nprovider = 'other'\nmodel = 'x'"
            )
        lines += [_account(account) for account in accounts or self.accounts]
        return "\n".join(lines) + "\n"


PROVIDER_KEY = "provider-key-0123456789"


def _account(account: Account) -> str:
    if not account.secret:
        told = login(account.name)
    else:
        told = f"[[account]]\nname = '{account.name}'\napi_key = '{account.secret}'\n"
    if account.host != API:
        told += f"base_url = 'http://{account.host}'\n"
    return told + f"enabled = {str(account.enabled).lower()}"


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(f"{seed}/scenario")
    passthrough = rng.random() < 0.1
    accounts = () if passthrough else _accounts(rng)
    storm = rng.choice(STORMS)
    keyed = not passthrough and rng.random() < 0.3
    rates = _rates(
        rng,
        without=(
            *(() if keyed else KEY_FAULTS),
            *(() if any(not account.secret for account in accounts) else LOGIN_FAULTS),
        ),
    )
    return Scenario(
        seed=seed,
        accounts=accounts,
        settings={
            "response": rng.choice((20.0, 60.0)),
            "idle": rng.choice((15.0, 40.0)),
            "max_wait": rng.choice((0.0, 2.0, 2.0)),
            "max_hold": rng.choice((0.0, 0.0, 60.0)),
            "max_attempts": rng.choice((0, 0, 2, 3)),
            "maximum": rng.choice((30.0, 120.0)),
            "auth": rng.choice((20.0, 90.0)),
            "drain": rng.choice((5.0, 30.0)),
        },
        strategy=rng.choice(STRATEGIES),
        fallback=not passthrough and rng.random() < 0.3,
        passthrough=passthrough,
        keyed=keyed,
        asked=keyed,
        lanes=tuple(rng.choice(("express", "reference")) for _ in range(4)),
        storm=storm,
        clients=rng.randint(4, 12),
        pause=rng.choice((1.0, 5.0, 15.0)),
        buffer_bytes=rng.choice((512, 4096, 65536)),
        token_lifetime=rng.choice(TOKEN_LIFETIMES),
        rates=rates,
        windows={kind: _windows(rng, storm) for kind in rates},
    )


def _accounts(rng: random.Random) -> tuple[Account, ...]:
    keys = [
        Account(f"key{number}", f"sk-ant-api03-key{number}-0123456789", API, enabled=True)
        for number in range(rng.randint(1, 3))
    ]
    if rng.random() < 0.3:
        keys.append(Account("far", "sk-far-0123456789", FAR, enabled=True))
    logins = [
        Account(f"login{number}", "", API, enabled=True) for number in range(rng.randint(0, 2))
    ]
    accounts = keys + logins
    rng.shuffle(accounts)
    return tuple(accounts)


def _rates(rng: random.Random, without: tuple[str, ...]) -> dict[str, float]:
    chance = rng.choice((0.15, 0.3, 0.6))
    kinds = [kind for kind in KINDS if kind not in without]
    return {
        kind: rng.choice(SELDOM_RATES if kind in SELDOM else RATES)
        for kind in kinds
        if rng.random() < chance
    }


def _windows(rng: random.Random, storm: float) -> tuple[tuple[float, float], ...]:
    """When a kind is let loose: throughout, or in bursts."""
    if rng.random() < 0.4:
        return ((0.0, storm),)
    starts = sorted(rng.uniform(0, storm) for _ in range(rng.randint(1, 4)))
    return tuple((start, min(storm, start + rng.uniform(5, storm / 3))) for start in starts)


def with_enabled(accounts: tuple[Account, ...], name: str, *, enabled: bool) -> tuple[Account, ...]:
    """The accounts, one of them switched."""
    return tuple(replace(a, enabled=enabled) if a.name == name else a for a in accounts)

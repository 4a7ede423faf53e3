"""What an account is: its credential, what it may serve, and what is known of it now."""

from __future__ import annotations

import enum

import msgspec

from protocol.asked import model_family, wants_beta
from protocol.names import matches_any
from protocol.quota import Quota
from protocol.secrets import Secret

SUBSCRIPTION_PREFIX = "sk-ant-oat"
"""Tokens of a subscription begin so (`interface.md` [access], `wire.md` A14)."""

ANY_MODEL = ("*",)


class Credential(msgspec.Struct, frozen=True):
    """A secret and the header that carries it.

    `expires_at` in epoch seconds, where that is known. `login` names the login that it is a token
    of, the same after each renewal; "" for what is never renewed.
    """

    secret: Secret
    bearer: bool
    expires_at: float | None = None
    login: str = ""

    def header(self) -> tuple[bytes, bytes]:
        """`x-api-key` for a key, `Authorization: Bearer` for a token; never both."""
        # A line end is what a file or a shell adds; in a header it would end the connection.
        value = self.secret.reveal().strip().encode("latin-1", "replace")
        return (b"authorization", b"Bearer " + value) if self.bearer else (b"x-api-key", value)

    @property
    def subscription(self) -> bool:
        """A subscription's credential serves only its owner's own Claude Code."""
        if self.login:
            return True
        return self.secret.reveal().strip().startswith(SUBSCRIPTION_PREFIX)


class AccountSpec(msgspec.Struct, frozen=True):
    """An account as configured. `order` is its place in the configuration (ties go by it)."""

    name: str
    kind: str  # api_key | token | oauth | client
    credential: Credential | None
    base_url: str
    order: int = 0
    enabled: bool = True
    priority: int = 0
    models: tuple[str, ...] = ANY_MODEL
    exclude_models: tuple[str, ...] = ()
    weight: int = 1
    requests_per_minute: int = 0  # 0: no limit of ours
    needs_login: bool = False  # only its owner can bring it back; then it serves nothing
    email: str | None = None

    @property
    def subscription(self) -> bool:
        """Serves only its owner's own Claude Code (`interface.md` [access])."""
        if self.kind == "oauth":
            return True  # a login of Claude Code, whatever its token looks like
        return self.credential is not None and self.credential.subscription

    def may_serve(self, model: str | None) -> bool:
        """Whether the filters let this account serve `model` (None: no model was read)."""
        if model is None or (self.models == ANY_MODEL and not self.exclude_models):
            return True
        return matches_any(self.models, model) and not matches_any(self.exclude_models, model)


class Scope(enum.Enum):
    """What a failure's evidence covers; only that is benched (`design.md`)."""

    REQUEST = "request"
    ACCOUNT = "account"
    MODEL_FAMILY = "model-family"
    BETA = "beta"
    PROVIDER = "provider"
    EGRESS = "egress"


class Cooldown(msgspec.Struct, frozen=True):
    """A bench: `until` and `since` are seconds of the monotonic clock.

    `target` is the model family or the beta that the scope names, else empty.
    """

    scope: Scope
    target: str
    reason: str
    since: float
    until: float
    level: int
    source: str

    def active(self, now: float) -> bool:
        """Judged when asked, never by a timer."""
        return now < self.until

    def covers(self, model: str | None, betas: tuple[str, ...]) -> bool:
        """Whether it stands in the way of a request for `model` with `betas`."""
        if self.scope is Scope.ACCOUNT:
            return True
        if self.scope is Scope.MODEL_FAMILY:
            return model is not None and model_family(model) == self.target
        if self.scope is Scope.BETA:
            return wants_beta(betas, self.target)
        return False

    @property
    def limits(self) -> bool:
        """Whether a rate limit is its reason, not a refused credential."""
        return is_limit(self.reason)


def is_limit(reason: str) -> bool:
    """Whether a verdict's or a bench's reason is a limit of the account."""
    return reason in ("rate_limited", "burst") or reason.startswith("window_")


class Counters(msgspec.Struct, frozen=True):
    """What happened since the program started."""

    requests: int = 0
    successes: int = 0
    errors: int = 0
    rate_limits: int = 0
    refreshes: int = 0


class Tokens(msgspec.Struct, frozen=True):
    """What the answers cost since the program started; `input` without what a cache gave."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


class AccountState(msgspec.Struct, frozen=True):
    """The truth about one account: owned by its actor, seen by others as this snapshot."""

    spec: AccountSpec
    enabled: bool = True
    cooldowns: tuple[Cooldown, ...] = ()
    level: int = 0
    quota: Quota = Quota()
    counters: Counters = Counters()
    last_request_at: float | None = None  # epoch seconds
    last_error: str | None = None
    settled: tuple[int, ...] = ()  # lease ids whose reports were applied, newest last
    tokens: Tokens = Tokens()
    booked: tuple[int, ...] = ()  # lease ids whose usage was counted, newest last

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def place(self) -> tuple[int, int]:
        """By what the members of a pool are sorted: priority, then configuration order."""
        return self.spec.priority, self.spec.order

    def active_cooldowns(self, now: float) -> tuple[Cooldown, ...]:
        """The benches still in force at `now` (monotonic seconds)."""
        return tuple(cooldown for cooldown in self.cooldowns if cooldown.active(now))

    @property
    def limited_until(self) -> tuple[float, ...]:
        """The ends of its rate limits as a whole, also those that are over and that no success has
        disproved yet (monotonic seconds)."""
        return tuple(c.until for c in self.cooldowns if c.scope is Scope.ACCOUNT and c.limits)

    def available_at(
        self, now: float, model: str | None = None, betas: tuple[str, ...] = ()
    ) -> float | None:
        """When it may serve `model` with `betas` again; None when it may now.

        Without them, the account as a whole is meant.
        """
        last: float | None = None
        for cooldown in self.cooldowns:  # a loop: this is asked of every account in every choice
            until = cooldown.until
            if now < until and (last is None or last < until) and cooldown.covers(model, betas):
                last = until
        return last

    def status(self, now: float) -> str:
        """disabled > needs_login > cooling > available (`interface.md` rule 9)."""
        if not self.enabled:
            return "disabled"
        if self.spec.needs_login:
            return "needs_login"
        return "available" if self.available_at(now) is None else "cooling"

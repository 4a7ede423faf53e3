"""What the relay and the dispatcher say to each other: a question, a lease or a refusal, a release."""

from __future__ import annotations

import msgspec

from protocol.accounts import AccountState, Credential
from protocol.question import Question
from protocol.request import Route
from protocol.routing import Choice, Considered


class Lease(msgspec.Struct, frozen=True):
    """Permission for one attempt: who pays, with which credential, at which upstream.

    `credential` None means the client's own. `reasons` says why this account, for people.
    `after_burst`: if this attempt meets a short limit too, it is the egress's (`protocol.egress`).
    `waited_for`: the account in whose ramp the request waited (`protocol.ramp`), else empty.
    `ramped`: the account is in its ramp, so others may wait for the success of this attempt.
    """

    id: int
    account: str
    credential: Credential | None
    base_url: str
    reasons: tuple[str, ...] = ()
    choice: Choice | tuple[Considered, ...] = ()
    after_burst: bool = False
    waited_for: str = ""
    ramped: bool = False

    @property
    def considered(self) -> tuple[Considered, ...]:
        """`reasons` as data, with every account there was; worked out when it is asked for."""
        return everybody(self.choice, self.waited_for)


def everybody(choice: Choice | tuple[Considered, ...], waited_for: str) -> tuple[Considered, ...]:
    """Every account that there was in a choice, and the one that the request had waited for."""
    known = choice.considered() if isinstance(choice, Choice) else choice
    return (*known, Considered(waited_for, "waited", "ramp")) if waited_for else known


class Refusal(msgspec.Struct, frozen=True):
    """Nobody may serve. `cause`: limited | no_credential | unknown_account | wrong_model.

    `retry_after` is in whole seconds: when the first eligible account is back, if that is known;
    `available_in` is the same without rounding, for who would rather wait.
    """

    cause: str
    message: str
    retry_after: float | None = None
    available_in: float | None = None
    considered: tuple[Considered, ...] = ()


class Later(msgspec.Struct, frozen=True):
    """The account that would serve is in its ramp and has as much in flight as that allows."""

    account: str


class Acquire(Question[Lease | Refusal], frozen=True):
    """A request asks for an account; `tried` names those that already failed it, one of them
    `after_burst` with a short limit.

    `session` is the client's own name for its conversation. `at` is when the request came, in epoch
    seconds: what is known of quota is dated so. `patient_until` (monotonic seconds): so long it may
    be made to wait for a ramp (`protocol.ramp`); by default not at all. `shunned`: base URLs that it
    may not be sent to again (`protocol.repeats`).
    """

    route: Route
    model: str | None = None
    pinned: str | None = None
    owner: bool = False
    client: str = ""
    tried: tuple[str, ...] = ()
    session: str | None = None
    at: float = 0.0
    betas: tuple[str, ...] = ()
    after_burst: bool = False
    patient_until: float = 0.0
    shunned: tuple[str, ...] = ()


class Again(Question[Lease | Refusal], frozen=True):
    """The same account once more, without a new choice (overload, `interface.md` rule 5)."""

    account: str
    ask: Acquire


class Release(msgspec.Struct, frozen=True):
    """The attempt of this lease is over."""

    lease: int
    account: str


class AccountChanged(msgspec.Struct, frozen=True):
    """An account's snapshot."""

    state: AccountState


class AccountRemoved(msgspec.Struct, frozen=True):
    """The account is gone from the configuration."""

    name: str

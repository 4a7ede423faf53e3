"""What the dispatcher knows: the state of its machine (`protocol.dispatch`)."""

from __future__ import annotations

import msgspec

from protocol.accounts import AccountState, Cooldown
from protocol.members import Members, members_of
from protocol.ramp import Traffic
from protocol.routing import Policy, Routing


class Strategy(msgspec.Struct, frozen=True):
    """How to choose. Without `pool` no account is configured: the client's own credential passes.

    `base_url` is where such a request goes.
    """

    pool: bool
    base_url: str
    any_use: bool = False
    policy: Policy = Policy()

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self.policy.name


class DispatchState(msgspec.Struct, frozen=True):
    """Snapshots by name, requests in flight by name, and the next lease's number.

    `given`: leases by name since the start; more than the account's own count by what is in flight
    and what was never answered.

    A lease below `first_lease` was given by a life whose state is lost: it is not counted here.
    """

    strategy: Strategy
    accounts: dict[str, AccountState] = {}
    in_flight: dict[str, int] = {}
    given: dict[str, int] = {}
    next_lease: int = 1
    first_lease: int = 1
    routing: Routing = Routing()
    egress: dict[str, Cooldown] = {}  # by base URL (`protocol.egress`)
    traffic: Traffic = Traffic()
    prepared: Members | None = None  # what `pool` gave last

    def pool(self) -> Members:
        """The configured accounts, prepared for a choice."""
        known, switch_at = self.prepared, self.strategy.policy.switch_at
        if known is not None and known.made_from(self.accounts, self.in_flight, switch_at):
            return known
        return members_of(self.accounts, self.in_flight, switch_at, self.given)

    def members(self) -> tuple[AccountState, ...]:
        """The configured accounts, first choice first: by priority, ties by configuration order."""
        return self.pool().states

"""Which of the accounts that could serve takes a request: affinity first, then the strategy.

`arrange` is the whole decision, a value in and a value out. What it remembers (`Routing`) belongs to
the dispatcher's state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from protocol import affinity, local_limit, strategies
from protocol.accounts import AccountState
from protocol.affinity import Home, Outage, Sessions
from protocol.local_limit import Sent
from protocol.strategies import NO_WINDOWS, Candidate, Turn, Windows

FOREVER = float("inf")
TAKEN_FOR_SESSION = ("session", "stand_in")


class Policy(msgspec.Struct, frozen=True):
    """`interface.md` [routing]. `switch_at`: utilization (0 to 1) by window name."""

    name: str = "fill-first"
    switch_at: Mapping[str, float] = {}
    affinity_seconds: float = 0.0


class Routing(msgspec.Struct, frozen=True):
    """What choices leave behind. `sent`: leases of the last minute, where there is a limit."""

    turn: Turn = Turn()
    sessions: Sessions = Sessions()
    sent: Mapping[str, Sent] = {}


class Considered(msgspec.Struct, frozen=True):
    """One account in a choice. `outcome`: taken | next (would have been tried later) | passed |
    waited (the request waited for it; it is listed as what became of it, too).

    `why`, taken: a strategy's name, session, stand_in, pinned, priority, again, client. next:
    order, priority, switch_at. passed: tried, cooling, requests_per_minute, disabled, model, owner,
    egress, provider. waited: ramp.
    """

    account: str
    outcome: str
    why: str


class Wish(msgspec.Struct, frozen=True):
    """What is asked: by which `session`, at `now` (monotonic) and `epoch`, both in seconds."""

    session: str | None
    now: float
    epoch: float


class Arranged(msgspec.Struct, frozen=True):
    """Which of the `candidates` is taken, and why; `turn` and `epoch` are those of the choice."""

    first: Candidate
    why: str
    candidates: Sequence[Candidate]
    policy: Policy
    turn: Turn
    epoch: float

    @property
    def order(self) -> tuple[Candidate, ...]:
        """All of them, the taken one first; worked out when somebody wants to know."""
        if self.why in TAKEN_FOR_SESSION:
            return (self.first, *[c for c in self.candidates if c is not self.first])
        policy = self.policy
        _, order = strategies.ranked(
            policy.name, self.turn, self.candidates, self.epoch, policy.switch_at
        )
        return order


class Choice(msgspec.Struct, frozen=True):
    """Everybody of a choice: those arranged, and by name why others were `passed` over."""

    arranged: Arranged
    passed: Mapping[str, str]

    def considered(self) -> tuple[Considered, ...]:
        """Who was taken, who would be next, and who was passed over, why."""
        first, *rest = self.arranged.order
        return (
            Considered(first.name, "taken", self.arranged.why),
            *[Considered(c.name, "next", self._later(c)) for c in rest],
            *[Considered(name, "passed", why) for name, why in self.passed.items()],
        )

    def _later(self, other: Candidate) -> str:
        arranged = self.arranged
        if other.priority > arranged.first.priority:
            return "priority"
        over = other.windows and other.over(arranged.policy.switch_at, arranged.epoch)
        return "switch_at" if over else "order"


def candidate(
    account: AccountState, in_flight: int, given: int, windows: Windows = NO_WINDOWS
) -> Candidate:
    """An account that could serve now, as the strategies see it."""
    spec = account.spec
    return Candidate(
        spec.name,
        spec.priority,
        spec.order,
        spec.weight,
        in_flight,
        given,
        windows,
    )


def arrange(
    routing: Routing,
    policy: Policy,
    wish: Wish,
    candidates: Sequence[Candidate],
    outage: Callable[[str], Outage | None],
    over: Collection[str] | None = None,
) -> tuple[Routing, Arranged]:
    """Who comes first among `candidates` (available, by priority and configuration order).

    `over` names those past their `switch_at`, where that is known already. `outage` says why an
    account that is not the first choice did not serve: since when and until when it is out, None
    when it is well but may not serve this request.
    """
    if over is None:
        over = [c.name for c in candidates if c.over(policy.switch_at, wish.epoch)]
    session = wish.session if policy.affinity_seconds else None
    if session is None:
        return _by_strategy(routing, policy, wish, candidates, over)
    home = routing.sessions.home(session, wish.now, policy.affinity_seconds)
    kept = _kept(home, wish, candidates, over) if home is not None else None
    if home is not None and kept is not None:
        why = "session" if kept.name == home.account else "stand_in"
        arranged = Arranged(kept, why, candidates, policy, routing.turn, wish.epoch)
        if why == "session" and home.noted(wish.now, policy.affinity_seconds):
            return routing, arranged
    else:
        routing, arranged = _by_strategy(routing, policy, wish, candidates, over)
    chosen = arranged.first.name
    why_away = None if home is None or chosen == home.account else outage(home.account)
    sessions = affinity.remembered(
        routing.sessions,
        session,
        affinity.settled(home, chosen, why_away, wish.now),
        wish.now,
        policy.affinity_seconds,
    )
    return msgspec.structs.replace(routing, sessions=sessions), arranged


def _by_strategy(
    routing: Routing,
    policy: Policy,
    wish: Wish,
    candidates: Sequence[Candidate],
    over: Collection[str],
) -> tuple[Routing, Arranged]:
    before = routing.turn
    turn, first = strategies.taken(policy.name, before, candidates, wish.epoch, over)
    if turn is not before:
        routing = msgspec.structs.replace(routing, turn=turn)
    return routing, Arranged(first, policy.name, candidates, policy, before, wish.epoch)


def _kept(
    home: Home, wish: Wish, candidates: Sequence[Candidate], over: Collection[str]
) -> Candidate | None:
    """The session's account, unless one of its priority or a better has more left (`switch_at`)."""
    if not over and not home.stand_in:
        return next((c for c in candidates if c.name == home.account), None)
    known = {c.name: c for c in candidates if c.name in (home.account, home.stand_in)}

    def serves(name: str) -> bool:
        own = known.get(name)
        return own is not None and not (
            name in over
            and any(c.priority <= own.priority and c.name not in over for c in candidates)
        )

    name = affinity.wanted(home, serves, wish.now)
    return None if name is None else known[name]


def outage_of(
    account: AccountState | None, back_at: float | None, *, tried: bool, now: float
) -> Outage:
    """Since when and until when an account does not serve, as far as is known.

    `account` is None when it was removed; `back_at` when nothing keeps it from serving but what
    has no end of its own: it was switched off, is nearly used up, or has just failed (`tried`).
    """
    if account is None:
        return Outage(-FOREVER, FOREVER)
    if back_at is not None:
        # The bench that ends then is the cause; without one it is a limit of ours.
        causes = (c.since for c in account.active_cooldowns(now) if c.until == back_at)
        since = min(causes, default=now)
        return Outage(since, back_at)
    return Outage(now, now if tried else FOREVER)


def limited_until(routing: Routing, account: AccountState, now: float) -> float | None:
    """When our own `requests_per_minute` lets the next request through; None: now."""
    limit = account.spec.requests_per_minute
    return local_limit.free_at(routing.sent.get(account.name, ()), limit, now) if limit else None


def counted(routing: Routing, name: str, limit: int, now: float) -> Routing:
    """A lease was given. `limit` is the account's requests_per_minute."""
    if not limit:
        return routing
    sent = local_limit.counted(routing.sent.get(name, ()), limit, now)
    return msgspec.structs.replace(routing, sent={**routing.sent, name: sent})


def forgotten(routing: Routing, name: str) -> Routing:
    """An account was removed. Sessions find that out when they come back."""
    sent = {known: moments for known, moments in routing.sent.items() if known != name}
    return msgspec.structs.replace(
        routing, turn=strategies.forgotten(routing.turn, name), sent=sent
    )


_TOLD = {
    "tried": "was tried",
    "cooling": "is cooling",
    "requests_per_minute": "is at its requests_per_minute",
    "switch_at": "is past its switch_at",
}
_TOLD_TAKEN = {"session": "the session's account", "stand_in": "the session's stand-in"}


def told(
    arranged: Arranged,
    passed: Mapping[str, str],
    over: Collection[str],
    accounts: Mapping[str, AccountState],
) -> tuple[str, ...]:
    """A choice in short texts for the log: why the taken one, and who stood before it and could not.

    `passed` and `over` come by priority and configuration order. Fill-first goes by place alone;
    elsewhere everybody of the same or a better priority might have been the one.
    """
    first = arranged.first
    texts = [_TOLD_TAKEN.get(arranged.why, arranged.why)]
    if not passed and not over:
        return (texts[0],)
    whys = {name: why for name, why in passed.items() if why in _TOLD}
    if over:
        whys.update((name, "switch_at") for name in over if name != first.name)
        whys = dict(sorted(whys.items(), key=lambda entry: accounts[entry[0]].place))
    limit = accounts[first.name].place if arranged.why == "fill-first" else (first.priority + 1,)
    for name, why in whys.items():
        if accounts[name].place >= limit:
            break
        texts.append(f"{name} {_TOLD[why]}")
    return tuple(texts)

"""When an account is asked for its quota although no request needs it: the probe's machine.

Traffic brings readings for nothing, so a probe is the exception (`peers.md` P30). An account is
asked only while it is idle, when its reading is older than the interval, and for one of these
reasons, because only then can the answer change who serves the next request:

| reason | when | what the answer changes |
|---|---|---|
| `guess` | it rests on the ladder, a guess of ours, and did so for an interval already | it serves again |
| `threshold` | a window in `switch_at` is close to its threshold or past it, and there is somebody else | who is preferred |
| `next` | it would be chosen next, one of several, and nothing is known of its running windows | the same |

And never, whatever its reading:

| not asked | because |
|---|---|
| disabled, or in need of a login | it is not chosen either |
| a subscription without `probe.subscriptions` | a probe begins a five-hour window |
| its models exclude the probe's | the filter is the owner's word |
| a request is under way on it | that brings a reading |
| it rests until a moment that the upstream named, or a window is spent until its reset | the answer is known |
| its credential was refused | that is not a question of quota |
| the egress rests, or `requests_per_minute` is used up | one more request is one too many |

What the answer does is in `protocol.probe_answers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from protocol import egress, routing, strategies
from protocol.accounts import AccountState, Cooldown, Credential, Scope
from protocol.asked import model_family
from protocol.benches import LADDER
from protocol.dispatch import DispatchState
from protocol.limits_evidence import families_of
from protocol.quota import Window
from protocol.secrets import Secret
from protocol.strategies import Windows
from protocol.verdict import AUTH

NEAR = 0.1
"""Below a threshold by no more than this (of 1), a stale reading may hide that it was passed."""

SPREAD = 0.1
"""Every wait is longer by up to this share, so that accounts do not come in step."""

FAILURES_BORNE = 2
"""In a row; from the next one on the wait is doubled."""

_BY_READING = {"drain-soonest": ("7d", "5h"), "hybrid": ("5h",)}
"""Windows that a strategy ranks by, beside those of `switch_at`."""


class ProbeRules(msgspec.Struct, frozen=True):
    """`interface.md` [probe]; seconds. `api_key` goes to `base_url` alone."""

    enabled: bool = True
    interval: float = 300.0
    maximum_interval: float = 3600.0
    model: str = "claude-haiku-5-5"
    subscriptions: bool = False
    api_key: Secret | None = None
    base_url: str = ""


class Pace(msgspec.Struct, frozen=True):
    """How one account is doing with its probes: asked (or first seen) at `since`.

    `since` and `not_before` are monotonic seconds; `spread`, 0 to 1, is this wait's jitter.
    """

    credential: Credential | None
    since: float
    spread: float
    failures: int = 0
    not_before: float = 0.0

    def due(self, rules: ProbeRules) -> float:
        """When it may be asked next, by the rules as they are now."""
        doubled = rules.interval * 2.0 ** min(max(self.failures - FAILURES_BORNE, 0), 32)
        longest = max(rules.maximum_interval, rules.interval)
        wait = min(doubled, longest) * (1 + SPREAD * self.spread)
        return max(self.since + wait, self.not_before)


class Probe(msgspec.Struct, frozen=True):
    """One question to be put. `key` is sent, on behalf of the account whose credential is `credential`."""

    account: str
    base_url: str
    credential: Credential
    key: Credential
    model: str
    why: str

    @property
    def own(self) -> bool:
        """Asked with the account's own credential: then the answer speaks of its benches too."""
        return self.key == self.credential


def seen(
    paces: Mapping[str, Pace], state: DispatchState, now: float, spread: float
) -> dict[str, Pace]:
    """`paces` of the accounts there are. A new one, or one with a new credential, is left to the
    traffic for an interval first."""
    kept: dict[str, Pace] = {}
    for account in state.members():
        known = paces.get(account.name)
        credential = account.spec.credential
        if known is None or known.credential != credential:
            known = Pace(credential, now, spread)
        kept[account.name] = known
    return kept


def next_probe(
    state: DispatchState, paces: Mapping[str, Pace], rules: ProbeRules, now: float, epoch: float
) -> Probe | None:
    """Whom to ask at `now` (monotonic) and `epoch` seconds, longest waiting first; None: nobody."""
    if not rules.enabled:
        return None
    due = [
        (pace.since, account)
        for account in state.members()
        if (pace := paces.get(account.name)) is not None and pace.due(rules) <= now
    ]
    if not due:
        return None
    front = _front(state, rules.model, now, epoch)
    for _, account in sorted(due, key=lambda pair: pair[0]):
        credential = account.spec.credential
        if credential is None or not _may_be_asked(state, account, rules, now, epoch):
            continue
        why = _reason(state, account, rules, now, epoch, front)
        if why is not None:
            key = _key(rules, credential, account.spec.base_url)
            return Probe(account.name, account.spec.base_url, credential, key, rules.model, why)
    return None


def _key(rules: ProbeRules, credential: Credential, base_url: str) -> Credential:
    """The dedicated key speaks for the keys of its organization at its own upstream: it says
    nothing about a subscription, and no other host ever sees it."""
    other = credential.bearer or credential.subscription or base_url != rules.base_url
    if rules.api_key is None or other:
        return credential
    return Credential(rules.api_key, bearer=False)


def _may_be_asked(
    state: DispatchState, account: AccountState, rules: ProbeRules, now: float, epoch: float
) -> bool:
    spec = account.spec
    if account.status(now) not in ("available", "cooling") or state.in_flight.get(spec.name):
        return False
    if spec.subscription and not rules.subscriptions:
        return False
    if egress.rests(state, spec.name, now):
        return False
    if not spec.may_serve(rules.model):
        return False
    if any(_bars(cooldown, rules.model) for cooldown in account.active_cooldowns(now)):
        return False
    if any(_spent(name, w, rules.model, epoch) for name, w in account.quota.windows.items()):
        return False
    return routing.limited_until(state.routing, account, now) is None


def _bars(cooldown: Cooldown, model: str) -> bool:
    """The upstream's own word, against this model or the whole account."""
    if cooldown.reason == AUTH:
        return True
    return cooldown.covers(model, ()) and cooldown.source != LADDER


def _spent(name: str, window: Window, model: str, epoch: float) -> bool:
    """Nothing can be left in it before its reset. What is paid beyond the windows is none."""
    if window.resets_at is None or window.resets_at <= epoch or name.startswith("overage"):
        return False
    families = families_of(name)
    if families and model_family(model) not in families:
        return False
    return window.status == "rejected" or (window.utilization or 0.0) >= 1


def _reason(
    state: DispatchState,
    account: AccountState,
    rules: ProbeRules,
    now: float,
    epoch: float,
    front: frozenset[str],
) -> str | None:
    rests = [c for c in account.active_cooldowns(now) if c.scope is Scope.ACCOUNT]
    if any(now - cooldown.since >= rules.interval for cooldown in rests):
        return "guess"
    if rests or not _stale(account, rules.interval, epoch):
        return None
    others = [m for m in state.members() if m.name != account.name and m.enabled]
    if others and _near(account, state.strategy.policy.switch_at, epoch):
        return "threshold"
    relevant = {*state.strategy.policy.switch_at, *_BY_READING.get(state.strategy.name, ())}
    if account.name in front and _unread(account, relevant, epoch):
        return "next"
    return None


def _stale(account: AccountState, interval: float, epoch: float) -> bool:
    """Also a reading from the future: then the wall clock was wrong."""
    newest = max((window.read_at for window in account.quota.windows.values()), default=None)
    return newest is None or not 0 <= epoch - newest < interval


def _near(account: AccountState, switch_at: Mapping[str, float], epoch: float) -> bool:
    for name, threshold in switch_at.items():
        window = account.quota.windows.get(name)
        if window is None or _lapsed(window, epoch):
            continue
        if (window.utilization or 0.0) >= threshold - NEAR:
            return True
    return False


def _unread(account: AccountState, relevant: set[str], epoch: float) -> bool:
    """Nothing was ever read, or all that choices go by was over when it was reset. Readings that
    name no such window (most keys) will name none the next time either."""
    windows = account.quota.windows
    named = [windows[name] for name in relevant if name in windows]
    return not windows or (bool(named) and all(_lapsed(window, epoch) for window in named))


def _lapsed(window: Window, epoch: float) -> bool:
    return window.resets_at is not None and window.resets_at <= epoch


def _front(state: DispatchState, model: str, now: float, epoch: float) -> frozenset[str]:
    """Who would be chosen next, by the owner's Claude Code or by others, where there is a choice."""
    free = [
        account
        for account in state.members()
        if account.status(now) == "available"
        and account.spec.may_serve(model)
        and account.available_at(now, model) is None
    ]
    keys = [account for account in free if not account.spec.subscription]
    return frozenset(name for group in (free, keys) for name in _first(state, group, epoch))


def _first(state: DispatchState, free: list[AccountState], epoch: float) -> list[str]:
    if len(free) < 2:
        return []
    policy = state.strategy.policy
    candidates = [
        routing.candidate(
            account,
            state.in_flight.get(account.name, 0),
            state.given.get(account.name, 0),
            _running(account, epoch),
        )
        for account in free
    ]
    _, order = strategies.ranked(
        policy.name, state.routing.turn, candidates, epoch, policy.switch_at
    )
    if policy.name == "drain-soonest":  # everybody's place depends on what was read
        return [c.name for c in order if c.priority == order[0].priority]
    return [order[0].name]


def _running(account: AccountState, epoch: float) -> Windows:
    """What strategies rank by: utilization and end; one without a reset never ends by itself."""
    return {
        name: (window.utilization, math.inf if window.resets_at is None else window.resets_at)
        for name, window in account.quota.windows.items()
        if window.utilization is not None and not _lapsed(window, epoch)
    }

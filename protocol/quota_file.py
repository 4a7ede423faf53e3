"""`quota.json`: readings and cooldowns of the configured accounts, over a restart of the program.

The monotonic clock begins anew with a process, so benches are written in wall-clock times. A
fingerprint says whose they are: under a changed credential nothing of the old one counts.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, TypeAlias

import msgspec

from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState, Cooldown, Credential, Scope
from protocol.benches import RETRY_AFTER_CAP
from protocol.dispatch import DispatchState
from protocol.quota import EPOCH_MAX, UTILIZATION_MAX, Quota, Window
from protocol.status_view import Clocks

LEVEL_MAX = 64
"""The ladder has long reached its maximum there."""

Epoch: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=EPOCH_MAX)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class KeptWindow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reading, without where it came from: read again, it is a restored one."""

    read_at: Epoch
    utilization: Annotated[float, msgspec.Meta(ge=0, le=UTILIZATION_MAX)] | None = None
    status: str | None = None
    resets_at: Epoch | None = None
    limit: Count | None = None
    remaining: Count | None = None


class KeptCooldown(msgspec.Struct, frozen=True):
    """A bench; `since` and `until` are epoch seconds."""

    scope: Scope
    target: str
    reason: str
    since: Epoch
    until: Epoch
    level: Annotated[int, msgspec.Meta(ge=0, le=LEVEL_MAX)]
    source: str


class KeptAccount(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of one account. `credential` is a fingerprint, nothing to log in with."""

    credential: str
    representative_claim: str | None = None
    windows: dict[str, KeptWindow] = {}
    cooldowns: tuple[KeptCooldown, ...] = ()


class QuotaFile(msgspec.Struct, frozen=True):
    """The whole file. `salt` makes its fingerprints those of this file alone."""

    version: Literal[1]
    salt: str
    accounts: dict[str, KeptAccount] = {}


Known: TypeAlias = dict[str, tuple[Credential | None, Quota, tuple[Cooldown, ...]]]
"""What the file is made of, by account; two equal ones need only one writing."""


def known(state: DispatchState) -> Known:
    """What is worth keeping. A client's own credential is named anew in each life: never kept."""
    kept = ((account, _rests(state, account)) for account in state.members())
    return {
        account.name: (account.spec.credential, account.quota, rests)
        for account, rests in kept
        if account.quota != Quota() or rests
    }


def _rests(state: DispatchState, account: AccountState) -> tuple[Cooldown, ...]:
    """Its own, and that of the egress that it is behind: the file has no place for one of its own,
    and to whoever begins anew it is the same."""
    egress = state.egress.get(account.spec.base_url)
    if egress is None:
        return account.cooldowns
    return (*account.cooldowns, msgspec.structs.replace(egress, scope=Scope.ACCOUNT, target=""))


def encode(accounts: Known, salt: str, clocks: Clocks) -> bytes:
    """The file's content at the moment of `clocks`; benches that are over are left out."""
    kept = {
        name: KeptAccount(
            fingerprint(credential, salt),
            quota.representative_claim,
            {name: _kept_window(window) for name, window in quota.windows.items()},
            tuple(_kept_cooldown(c, clocks) for c in cooldowns if c.active(clocks.monotonic)),
        )
        for name, (credential, quota, cooldowns) in accounts.items()
    }
    return msgspec.json.format(msgspec.json.encode(QuotaFile(1, salt, kept)), indent=1) + b"\n"


def decode(data: bytes) -> QuotaFile:
    """Raises ValueError for anything that `encode` would not have written."""
    try:
        return msgspec.json.decode(data, type=QuotaFile)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def restored(spec: AccountSpec, file: QuotaFile, clocks: Clocks) -> AccountState:
    """The account as the program begins: new, with what the file knows about this credential."""
    state = new_account(spec)
    kept = file.accounts.get(spec.name)
    if kept is None or kept.credential != fingerprint(spec.credential, file.salt):
        return state
    windows = {
        name: Window(
            window.utilization,
            window.status,
            window.resets_at,
            min(window.read_at, clocks.wall),  # the clock may have been set back meanwhile
            "restored",
            window.limit,
            window.remaining,
        )
        for name, window in kept.windows.items()
    }
    cooldowns = tuple(
        cooldown
        for one in kept.cooldowns
        if (cooldown := _restored_cooldown(one, clocks)).active(clocks.monotonic)
    )
    return msgspec.structs.replace(
        state,
        quota=Quota(windows, kept.representative_claim),
        cooldowns=cooldowns,
        level=max((cooldown.level for cooldown in cooldowns), default=0),
    )


def fingerprint(credential: Credential | None, salt: str) -> str:
    """Sixteen hex digits: the same for the same credential and salt, and nothing of it."""
    if credential is None:
        return ""
    name, value = credential.header()
    if credential.login:  # its tokens change, its quota does not
        name, value = b"login", credential.login.encode("utf-8", "replace")
    return hashlib.sha256(salt.encode() + b"\0" + name + b"\0" + value).hexdigest()[:16]


def _kept_window(window: Window) -> KeptWindow:
    return KeptWindow(
        window.read_at,
        window.utilization,
        window.status,
        window.resets_at,
        window.limit,
        window.remaining,
    )


def _kept_cooldown(cooldown: Cooldown, clocks: Clocks) -> KeptCooldown:
    ahead = clocks.wall - clocks.monotonic
    return KeptCooldown(
        cooldown.scope,
        cooldown.target,
        cooldown.reason,
        max(cooldown.since + ahead, 0.0),
        max(cooldown.until + ahead, 0.0),
        min(cooldown.level, LEVEL_MAX),
        cooldown.source,
    )


def _restored_cooldown(kept: KeptCooldown, clocks: Clocks) -> Cooldown:
    """No longer than it was meant to be at first, whatever the wall clock did meanwhile."""
    length = min(max(kept.until - kept.since, 0.0), RETRY_AFTER_CAP)
    until = clocks.monotonic + min(kept.until - clocks.wall, length)
    return Cooldown(
        kept.scope, kept.target, kept.reason, until - length, until, kept.level, kept.source
    )

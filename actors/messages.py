"""What the actors say to each other; questions carry the type of their answer."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol.account import Reported, Used
from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.config import Config, ConfigError
from protocol.credentials import Source, Subject
from protocol.debug_line import DebugLine
from protocol.dispatch import (
    AccountChanged,
    AccountRemoved,
    Acquire,
    Again,
    DispatchState,
    Release,
    Strategy,
)
from protocol.egress import EgressLimited, FreeEgress
from protocol.errors import Problem
from protocol.explanation import Explained
from protocol.key_limits import KeyUse
from protocol.probe_answers import Probed
from protocol.question import Question
from protocol.refreshing import Outcome
from protocol.request_line import RequestLine
from protocol.secrets import Secret
from protocol.told import Ended

# --- an account


class Report(Question[None], frozen=True):
    """An attempt's outcome, when the relay must know that it counts before it chooses again."""

    event: Reported


class SetEnabled(Question[AccountState], frozen=True):
    """The owner switches the account on or off."""

    enabled: bool


class Reset(Question[AccountState], frozen=True):
    """The owner lifts every bench."""


class Respecify(msgspec.Struct, frozen=True):
    """The account's configuration changed."""

    spec: AccountSpec


class PublishYourself(msgspec.Struct, frozen=True):
    """The dispatcher asks for a snapshot (it has just started)."""


AccountMessage = (
    Report | Reported | Used | Probed | SetEnabled | Reset | Respecify | PublishYourself
)

# --- the dispatcher


class Describe(Question[DispatchState], frozen=True):
    """All that the dispatcher knows, for `/status`."""


class Restrategize(msgspec.Struct, frozen=True):
    """The routing part of the configuration changed."""

    strategy: Strategy


DispatcherMessage = (
    Acquire
    | Again
    | Release
    | EgressLimited
    | FreeEgress
    | AccountChanged
    | AccountRemoved
    | Describe
    | Restrategize
)

# --- the vault


class Look(Question[None], frozen=True):
    """Answered when every credential file was looked at, and what is new in them has taken effect."""


class LookAt(Question[Subject | None], frozen=True):
    """The same; answered with this login as it is then."""

    source: Source


class Exchange(Question[Outcome], frozen=True):
    """Renew this login, if it still is what `subject` says."""

    subject: Subject


class DeclareDead(Question[None], frozen=True):
    """Only its owner can bring this login back; remember that."""

    subject: Subject


class SetStored(Question[str], frozen=True):
    """Switch an account of the token store on or off, for good; the answer says why it could not be
    written, or is empty."""

    name: str
    enabled: bool


VaultMessage = Look | LookAt | Exchange | DeclareDead | SetStored

# --- refresh


class Renew(Question[Credential | None], frozen=True):
    """Somebody needs the token of an account's login to be good; answered with the one there is
    then, whatever came of it. None: there is none.

    `held` is the one that he has. `forced`: it is not good, whatever its date says. `by_hand`: a
    person asks for another.
    """

    name: str
    held: Secret | None = None
    forced: bool = False
    by_hand: bool = False


class LoginsKnown(msgspec.Struct, frozen=True):
    """The logins as the vault read them."""

    subjects: tuple[Subject, ...]


RefreshMessage = Renew | LoginsKnown

# --- the inbound keys


class AdmitKey(Question[Problem | None], frozen=True):
    """One request more for this key; answered with why not. Put twice, after a crash, it counts
    twice: a limit may be reached one request early, never late."""

    key_id: str


class KeySpent(msgspec.Struct, frozen=True):
    """What an answer cost: tokens, those from a cache left out, and US dollars."""

    key_id: str
    tokens: int
    dollars: float = 0.0


class LookAtKeys(Question[str], frozen=True):
    """Answered when the file as it is now counts; with what is wrong in it, or nothing."""


class KeysUsed(Question[Mapping[str, KeyUse]], frozen=True):
    """Answered with how much of its limits each key has spent, by its id."""


KeyringMessage = AdmitKey | KeySpent | LookAtKeys | KeysUsed

# --- the journal


class Recent(Question[tuple[RequestLine, ...]], frozen=True):
    """The newest request lines, newest first."""

    limit: int = 100


class Explain(Question[Explained | None], frozen=True):
    """One request with all its steps; None when it is not among the newest thousand."""

    request_id: str


class Flush(Question[int], frozen=True):
    """Everything told so far is on disk when this is answered with the count of dropped lines."""


JournalMessage = RequestLine | DebugLine | Ended | Recent | Explain | Flush

# --- the config-watcher


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload did: the keys that need a restart, or the errors for which it was refused."""

    restart_needed: tuple[str, ...] = ()
    errors: tuple[ConfigError, ...] = ()


class Reload(Question[Reloaded], frozen=True):
    """Read the configuration again now."""


class ConfigStatus(msgspec.Struct, frozen=True):
    """For `/status`: which file, when it was loaded (epoch seconds), the last refusal."""

    config: Config
    path: str
    loaded_at: float
    error: str | None = None


__all__ = [
    "AccountChanged",
    "AccountMessage",
    "AccountRemoved",
    "Acquire",
    "Again",
    "ConfigStatus",
    "DebugLine",
    "DeclareDead",
    "Describe",
    "DispatcherMessage",
    "EgressLimited",
    "Ended",
    "Exchange",
    "Explain",
    "Explained",
    "Flush",
    "FreeEgress",
    "JournalMessage",
    "LoginsKnown",
    "Look",
    "LookAt",
    "Probed",
    "PublishYourself",
    "Recent",
    "RefreshMessage",
    "Release",
    "Reload",
    "Reloaded",
    "Renew",
    "Report",
    "Reported",
    "RequestLine",
    "Reset",
    "Respecify",
    "Restrategize",
    "SetEnabled",
    "SetStored",
    "Used",
    "VaultMessage",
]

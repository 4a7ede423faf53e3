"""How often requests are sent again because their upstream failed: a budget, and a circuit.

A fault of the upstream (5xx, overload, a connection that breaks) is no account's, so another try may
be served. But where all of them fail, each try is one more burden on who cannot bear those there are.

| | | why |
|---|---|---|
| budget | a repeat costs as much as five first attempts bring, and there are ten in hand | the first five requests of a storm are tried as often as a single one (`interface.md` rule 5); repeats that are not served stay below 20 % + 10 of the requests, of a thousand below 20 % + 3 (`reliability.md` U2, U7) |
| given back | what a repeat cost that was served, or that nobody was left for | where another account works, nobody goes without for the fault of the first |
| circuit | opens at the fifteenth fault in a row, if two accounts met them or it is overloaded; then nothing is repeated | each request is still tried once, so the end of it is noticed at once |
| calm | after 30 s without a fault ten are in hand again, and the circuit is closed | who asks now and then has not made a storm |

A limit (429) is not meant here: another account is another route then, not a repeat.
"""

from __future__ import annotations

import math

import msgspec

PRICE = 5
"""First attempts that pay for one repeat."""

IN_HAND = 10 * PRICE
SAVED_MAX = 100 * PRICE
"""Paid in by five hundred requests: enough for all that were under way when an upstream is restarted."""

FAULTS_IN_A_ROW = 15
ACCOUNTS_TO_OPEN = 2
"""One account alone may be at fault itself, unless its upstream says that it is overloaded."""

OVERLOADED = "overloaded"
"""The reason of a verdict (`protocol.verdict`)."""

CALM_SECONDS = 30.0


class Trouble(msgspec.Struct, frozen=True):
    """What is known of one upstream that failed. Moments are monotonic seconds.

    `saved` in first attempts, of which `counted` were paid in; `opened`: since when the circuit is
    open. `accounts` are those that met the faults in a row, two at most.
    """

    saved: int = IN_HAND
    counted: int = 0
    faults: int = 0
    accounts: tuple[str, ...] = ()
    last_fault: float = -math.inf
    reason: str = ""
    opened: float | None = None

    def is_open(self, now: float) -> bool:
        return self.opened is not None and now < self.until

    @property
    def until(self) -> float:
        """When the circuit is closed, should nothing fail any more."""
        return self.last_fault + CALM_SECONDS


def faulted(known: Trouble, account: str, reason: str, now: float) -> Trouble:
    """After a fault of the upstream that `account` met."""
    if now >= known.until:
        known = Trouble(max(known.saved, IN_HAND), known.counted)
    met = known.accounts
    if account not in met and len(met) < ACCOUNTS_TO_OPEN:
        met = (*met, account)
    faults, opened = known.faults + 1, known.opened
    told = reason == OVERLOADED or len(met) >= ACCOUNTS_TO_OPEN
    if opened is None and faults >= FAULTS_IN_A_ROW and told:
        opened = now
    return Trouble(known.saved, known.counted, faults, met, now, reason, opened)


def answered(known: Trouble) -> Trouble:
    """After any answer that is no fault: whoever gives it is there."""
    return Trouble(known.saved, known.counted, last_fault=known.last_fault)


def asked(known: Trouble, firsts: int) -> tuple[Trouble, bool]:
    """Whether one more repeat is allowed, and paid for; `firsts` is how many requests were sent for
    the first time since the start."""
    saved = min(known.saved + max(firsts - known.counted, 0), SAVED_MAX)
    paid = known.opened is None and saved >= PRICE
    if paid:
        saved -= PRICE
    return msgspec.structs.replace(known, saved=saved, counted=firsts), paid


def given_back(known: Trouble) -> Trouble:
    """What one repeat cost."""
    return msgspec.structs.replace(known, saved=min(known.saved + PRICE, SAVED_MAX))

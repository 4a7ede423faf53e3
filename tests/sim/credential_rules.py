"""What must hold of credentials and of the accounts that they belong to; see `checker.py`."""

from __future__ import annotations

from tests.sim.cases import HELD_UP, Case, Cases, Found
from tests.sim.excuses import DISK, KEYS_FILE, PAUSE, forgiven
from tests.sim.history import KeyMade

API, OTHER = "api.test", "other.test"
SPENDING = ("/v1/messages", "/v1/messages/count_tokens")
"""Only for these an account is chosen; everything else goes to the first one."""

SLACK = 1.5
"""Seconds until everybody knows what one of them has met."""

LOOK_SECONDS = 4.0
"""Login files are looked at once a second."""

KEYS_FILE_SECONDS = 45.0
"""So long a file of keys may be broken, and what follows from that be noticed."""

ANSWER_SECONDS = 9.0
"""So long the token endpoint takes at most."""

DISK_ERROR = frozenset({"disk error"})

LATE_SECONDS = 120.0
"""The same, with a bad disk or crashes."""


def credentials_are_at_home(cases: Cases) -> Found:
    """Only known ones, each at its own host, never two at once, never the client's own in a pool."""
    hosts = {a.name: a.host for one in cases.configured for a in one.accounts}
    for one in cases.tries.values():
        attempt = one.attempt
        name = cases.account_of(attempt.credential)
        if attempt.both:
            yield attempt.at, f"attempt {attempt.attempt} has two credentials"
        if name is not None:
            if attempt.host != hosts.get(name, API):
                yield attempt.at, f"the credential of {name} went to {attempt.host}"
        elif attempt.credential.startswith("provider-key"):
            if attempt.host != OTHER:
                yield attempt.at, f"the provider's key went to {attempt.host}"
        elif hosts or attempt.request not in cases.cases:
            yield attempt.at, f"attempt {attempt.attempt} has an unknown credential"
        elif attempt.credential != cases.cases[attempt.request].sent.own:
            yield attempt.at, f"attempt {attempt.attempt} has not its client's credential"


def tokens_are_durable_and_current(cases: Cases) -> Found:
    """A token is used when it is on the disk, and not after another one has taken its place there;
    a refresh token that brought a new pair is not sent again."""
    for one in cases.tries.values():
        token = cases.tokens.get(one.attempt.credential)
        if token is None:
            continue
        if one.attempt.at < token.written:
            yield one.attempt.at, f"a token of {token.family} is used before it is on the disk"
        case = cases.cases.get(one.attempt.request)
        since = case.sent.at if case else one.attempt.at
        late = LOOK_SECONDS
        if cases.disturbed(token.replaced, since) or cases.faulted(DISK, token.replaced, since):
            late = LATE_SECONDS
        if since > token.replaced + late:
            yield one.attempt.at, f"a token of {token.family} is used after it was replaced"
    spent: dict[str, bool] = {}
    dead: dict[str, float] = {}
    for renewal in cases.renewals:
        if not renewal.known:
            yield renewal.at, f"the token endpoint got {renewal.sent[:20]!r}, which it never gave"
        known = spent.get(renewal.sent)
        if known and not _is_forgotten(cases, dead.get(renewal.sent), renewal.at):
            yield renewal.at, f"a used refresh token of {renewal.family} was sent again"
        # While the process stood still the time for the answer ran out, though that was sent.
        heard = renewal.delivered and not cases.faulted(
            PAUSE, renewal.at, renewal.at + ANSWER_SECONDS
        )
        if renewal.access or renewal.sent in spent:
            # Who never heard the answer cannot know that it is used up, and may ask again.
            spent[renewal.sent] = spent.get(renewal.sent, False) or heard
            if heard:
                dead[renewal.sent] = float("inf") if renewal.access else renewal.at


def _is_forgotten(cases: Cases, told: float | None, again: float) -> bool:
    """Whether a new life may not know that a token was declared dead at `told`: the disk failed when
    that was to be written, and the life is over that knew it. Tried again, it is told again."""
    if told is None or not cases.faulted(DISK_ERROR, told, again):
        return False
    return any(life.what in ("over", "cut") and told <= life.at <= again for life in cases.lives)


def the_disabled_rest(cases: Cases) -> Found:
    """Who is disabled or removed is not tried for requests that came since."""
    for one in cases.tries.values():
        attempt, case = one.attempt, cases.cases.get(one.attempt.request)
        name = cases.account_of(attempt.credential)
        if name is None or case is None:
            continue
        begin = case.sent.at - SLACK
        if cases.disturbed(begin, attempt.at) or cases.faulted(DISK, begin - 30, attempt.at):
            continue
        if cases.off_throughout(name, begin, attempt.at):
            yield attempt.at, f"request {attempt.request} went to {name}, which is switched off"


def told_rests_are_kept(cases: Cases) -> Found:
    """An upstream said how long to stay away: until then no new request tries that account."""
    for told in cases.tries.values():
        planned, over = told.planned, told.over
        if planned is None or not planned.rest or over is None or over.outcome != "complete":
            continue
        name = cases.account_of(told.attempt.credential)
        if name is None:
            continue
        for one in cases.tries.values():
            case = cases.cases.get(one.attempt.request)
            if case is None or one.attempt.path not in SPENDING:
                continue
            since = over.at + SLACK
            if not (since < case.sent.at and one.attempt.at < over.at + planned.rest - SLACK):
                continue
            if cases.account_of(one.attempt.credential) == name and not forgiven(
                cases, name, over.at, one.attempt.at
            ):
                rested = f"{one.attempt.at - over.at:.1f} of {planned.rest:g} s"
                yield one.attempt.at, f"{name} was tried when it had rested {rested}"


def keys_open_what_they_should(cases: Cases) -> Found:
    """A revoked inbound key opens nothing, nor does what is none; a valid one, and the owner's, is
    not turned away. While no keys are asked for nobody is.

    While the file cannot be read those go on that were known, and in a new life nobody is.
    """
    for case in cases.cases.values():
        sent = case.sent
        if not sent.relayed and not sent.own and case.status == 401:
            yield sent.at, f"request {sent.request}, which shows the owner's key, was turned away"
        if not cases.made_keys or len(case.ends) != 1:
            continue
        asked = cases.keys_asked(sent.at - SLACK, case.end.at)
        if _is_turned_away(case) and asked == {"off"}:
            yield sent.at, f"request {sent.request} was asked for a key, and nobody wants any"
        made = cases.made_keys.get(sent.own)
        if made is None:
            if sent.relayed and case.tries and asked == {"on"}:
                yield sent.at, f"request {sent.request} came in without a key"
            continue
        if cases.faulted(KEYS_FILE | DISK, sent.at - KEYS_FILE_SECONDS, case.end.at):
            continue
        revoked = cases.revoked_keys.get(made.nth, float("inf"))
        stuck = cases.faulted(HELD_UP, revoked - KEYS_FILE_SECONDS, sent.at)
        if case.tries and sent.at > revoked + SLACK and not stuck and asked == {"on"}:
            late = sent.at - revoked
            yield sent.at, f"request {sent.request} came in by a key revoked {late:.1f} s before"
        if case.tries and (more := _past_its_limit(cases, case, made)):
            yield sent.at, f"request {sent.request} is one of {more} in a minute by its key"
        # Of a new one nobody knows while the one who reads the file is down.
        unread = sent.at < made.at + SLACK or (
            cases.crashes("keyring", sent.at - LATE_SECONDS, sent.at)
            and made.at > sent.at - LATE_SECONDS
        )
        if _is_turned_away(case) and case.end.at < revoked and not unread:
            yield sent.at, f"request {sent.request} was turned away with a valid key"


def _is_turned_away(case: Case) -> bool:
    return case.status == 401 and not case.tries


def _past_its_limit(cases: Cases, case: Case, made: KeyMade) -> int:
    """How many requests came in by that key in the minute before this one, if they were too many."""
    at = case.sent.at
    since = at - 60 + SLACK
    before = [one for one in cases.by_key[made.shown] if since < one.sent.at <= at and one.tries]
    if not made.per_minute or len(before) <= made.per_minute:
        return 0
    if cases.keys_asked(since - SLACK, at) != {"on"}:  # what comes in unasked is not counted
        return 0
    # What was counted is gone with a life, and with a second crash over the same state; and while
    # nobody answers the door, requests that were sent apart come in together.
    forgotten = cases.crashes("keyring", since - LATE_SECONDS, at) >= 2 or any(
        since - SLACK <= life.at <= at for life in cases.lives[1:]
    )
    held_up = cases.crashes("keyring", since, at) or cases.faulted(DISK | PAUSE, since, at)
    return 0 if forgotten or held_up else len(before)

"""Accounts: what files and the running instance say of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from supervisor.doctor.facts import Facts
from supervisor.doctor.finding import Finding, Level

_CREDIT = ("credit balance", "billing", "payment required")
_REFUSED = ("auth", "forbidden")


def store(facts: Facts) -> Iterator[Finding]:
    for problem in facts.account_problems:
        yield Finding(
            "store-unreadable", problem, "do what it says; `supervisor auth list` looks again."
        )


def login_needed(facts: Facts) -> Iterator[Finding]:
    for account in facts.accounts:
        if (
            account.state == "needs_login"
            or _told(facts, account.name).get("state") == "needs_login"
        ):
            why = f": {account.problem}" if account.problem else ""
            yield Finding(
                "login-needed",
                f"account {account.name} needs a login{why}",
                f"`supervisor auth login {account.name}`, or log in with Claude Code where it is.",
            )


def login_expired(facts: Facts) -> Iterator[Finding]:
    for account in facts.accounts:
        state = _told(facts, account.name).get("state") or account.state
        if account.expires_at is None or account.expires_at > facts.now or state != "available":
            continue
        # A running instance renews it ahead of time; without one that is nobody's business yet.
        level: Level = "wrong"
        fix = f"`supervisor auth refresh {account.name}`, or log in again."
        if account.renewable and not facts.url:
            level, fix = "note", "nothing: it is renewed when the program runs."
        yield Finding(
            "login-expired",
            f"the token of account {account.name} has expired"
            + ("" if account.renewable else ", and nothing can renew it"),
            fix,
            level,
        )


def login_shared(facts: Facts) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for account in facts.accounts:
        first = seen.setdefault(account.mark, account.name) if account.mark else account.name
        if first != account.name:
            yield Finding(
                "login-shared",
                f"accounts {first} and {account.name} have the same login: who renews it first logs "
                "the other out",
                f"`supervisor auth remove {account.name}`, or log in there anew.",
            )


def refused(facts: Facts) -> Iterator[Finding]:
    for account in facts.status.get("accounts", ()):
        reasons = {cooldown.get("reason") for cooldown in account.get("cooldowns", ())}
        if reasons & set(_REFUSED) and not _lacks_credit(account):
            yield Finding(
                "account-refused",
                f"the upstream refuses account {account.get('name')}: {account.get('last_error')}",
                "renew its key or its login; a new one serves at once.",
            )


def credit(facts: Facts) -> Iterator[Finding]:
    for account in facts.status.get("accounts", ()):
        if account.get("state") != "available" and _lacks_credit(account):
            yield Finding(
                "key-without-credit",
                f"account {account.get('name')} has no credit: {account.get('last_error')}",
                "add credit where its key was made, or take it out: "
                f"`supervisor auth disable {account.get('name')}`.",
            )


def _lacks_credit(account: dict[str, Any]) -> bool:
    said = str(account.get("last_error") or "").lower()
    return said.startswith("402 ") or any(words in said for words in _CREDIT)


def _told(facts: Facts, name: str) -> dict[str, Any]:
    told = (one for one in facts.status.get("accounts", ()) if one.get("name") == name)
    return next(told, {})


ACCOUNT_CHECKS = (store, login_needed, login_expired, login_shared, refused, credit)

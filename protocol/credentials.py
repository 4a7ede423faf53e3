"""All credentials there are: those of the configuration, of the token store, and of login files.

What the vault read last is `Known`; with the configuration it gives the accounts. Names are made
unique by the first: a stored account with a configured name is ignored (`interface.md` rule 17).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol.accounts import AccountSpec, Credential
from protocol.config import Account, Config
from protocol.credentials_file import NO_LOGIN
from protocol.login import Login, token_digest
from protocol.token_file import StoredAccount

OAUTH = "oauth"


class Source(msgspec.Struct, frozen=True):
    """A login that belongs to an account: in the file at `path`, or in the token store ("")."""

    name: str
    path: str = ""
    follow: str = "never"  # auto | always | never


class KnownLogin(msgspec.Struct, frozen=True):
    """A login file as read last; `changed_at` in epoch seconds. `problem`: why it is not used."""

    login: Login = NO_LOGIN
    changed_at: float = 0.0
    problem: str = ""


class Known(msgspec.Struct, frozen=True):
    """What was read last. `logins` is by path; `dead` are digests of refresh tokens in those files
    that only their owner's login can replace."""

    stored: tuple[StoredAccount, ...] = ()
    stored_at: float = 0.0
    logins: Mapping[str, KnownLogin] = {}
    dead: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


class Subject(msgspec.Struct, frozen=True):
    """A login as whoever renews it needs to know it."""

    source: Source
    credential: Credential | None
    digest: str
    expires_at: float | None
    changed_at: float
    needs_login: bool

    @property
    def name(self) -> str:
        """The account's."""
        return self.source.name

    @property
    def renewable(self) -> bool:
        """Whether there is anything to renew it with, and we may."""
        return bool(self.digest) and self.source.follow != "always" and not self.needs_login


def paths(config: Config, known: Known) -> tuple[str, ...]:
    """The login files that the configuration and the token store name, each once."""
    named = [account.credentials for account in config.accounts]
    named += [one.path for one in known.stored]
    return tuple(dict.fromkeys(path for path in named if path))


def shadowed(config: Config, known: Known) -> tuple[str, ...]:
    """Stored accounts that are ignored because a configured one has their name."""
    configured = {account.name for account in config.accounts}
    return tuple(one.name for one in known.stored if one.name in configured)


def sources(config: Config, known: Known) -> tuple[Source, ...]:
    """All logins that accounts have."""
    configured = tuple(
        Source(account.name, account.credentials, account.follow)
        for account in config.accounts
        if account.credentials is not None
    )
    hidden = set(shadowed(config, known))
    stored = tuple(
        Source(one.name, one.path, one.follow)
        for one in known.stored
        if one.kind == OAUTH and one.name not in hidden
    )
    return (*configured, *stored)


def login_of(known: Known, source: Source) -> KnownLogin:
    """What is known of a login; `NO_LOGIN` when nothing is."""
    found = _found(known, source)
    if token_digest(found.login.refresh_token) in known.dead:
        dead = msgspec.structs.replace(found.login, needs_login=True)
        return msgspec.structs.replace(found, login=dead)
    return found


def _found(known: Known, source: Source) -> KnownLogin:
    if source.path:
        return known.logins.get(source.path, KnownLogin())
    for one in known.stored:
        if one.name == source.name:
            return KnownLogin(one.login, known.stored_at)
    return KnownLogin()


def subject(known: Known, source: Source) -> Subject:
    """A login for whoever renews it. One without an access token counts as expired."""
    found = login_of(known, source)
    login = found.login
    return Subject(
        source,
        credential_of(login, source),
        token_digest(login.refresh_token),
        0.0 if login.access_token is None else login.expires_at,
        found.changed_at,
        login.needs_login,
    )


def subjects(config: Config, known: Known) -> tuple[Subject, ...]:
    """The same for all of them."""
    return tuple(subject(known, source) for source in sources(config, known))


def credential_of(login: Login, source: Source) -> Credential | None:
    """The access token, under a name of the login that stays when the token is renewed."""
    if login.access_token is None:
        return None
    identity = login.owner or source.path or source.name
    return Credential(login.access_token, bearer=True, expires_at=login.expires_at, login=identity)


def account_specs(config: Config, known: Known) -> tuple[AccountSpec, ...]:
    """The accounts of all sources: as configured, then stored ones in the order of their file."""
    specs = [_configured(config, known, account) for account in config.accounts]
    hidden = set(shadowed(config, known))
    specs += [_stored(config, known, one) for one in known.stored if one.name not in hidden]
    return tuple(msgspec.structs.replace(spec, order=order) for order, spec in enumerate(specs))


def _configured(config: Config, known: Known, account: Account) -> AccountSpec:
    spec = AccountSpec(
        name=account.name,
        kind="api_key",
        credential=None,
        base_url=account.base_url or config.upstream.base_url,
        enabled=account.enabled,
        priority=account.priority,
        models=account.models,
        exclude_models=account.exclude_models,
        weight=account.weight,
        requests_per_minute=account.requests_per_minute,
    )
    if account.credentials is not None:
        return _logged_in(spec, known, Source(account.name, account.credentials, account.follow))
    secret = account.token or account.api_key
    if secret is None:
        raise ValueError(f"account {account.name} has no credential")  # refused when it was read
    bearer = secret is account.token
    return msgspec.structs.replace(
        spec, kind="token" if bearer else "api_key", credential=Credential(secret, bearer=bearer)
    )


def _stored(config: Config, known: Known, stored: StoredAccount) -> AccountSpec:
    spec = AccountSpec(
        name=stored.name,
        kind=stored.kind,
        credential=None,
        base_url=config.upstream.base_url,
        enabled=not stored.disabled,
        email=stored.login.email,
    )
    secret = stored.login.access_token
    if stored.kind == OAUTH or secret is None:
        return _logged_in(spec, known, Source(stored.name, stored.path, stored.follow))
    credential = Credential(
        secret, bearer=stored.kind == "token", expires_at=stored.login.expires_at
    )
    return msgspec.structs.replace(spec, credential=credential)


def _logged_in(spec: AccountSpec, known: Known, source: Source) -> AccountSpec:
    login = login_of(known, source).login
    return msgspec.structs.replace(
        spec,
        kind=OAUTH,
        credential=credential_of(login, source),
        email=login.email,
        # Without a token nothing may be sent: the client's own credential is not this account's.
        needs_login=login.needs_login or login.access_token is None,
    )

"""From credential files and configuration to accounts, and what a new token changes in one."""

from __future__ import annotations

import json
import tomllib

import msgspec
import pytest

from protocol import credentials
from protocol.account import new_account, respecified
from protocol.accounts import AccountSpec, Cooldown, Credential, Scope
from protocol.config import Config, decode
from protocol.credentials import Known, Source
from protocol.dead_logins import KEPT
from protocol.dead_logins import decode as decode_dead
from protocol.dead_logins import encode as encode_dead
from protocol.dispatch import Acquire, DispatchState, Refusal, Strategy, choose
from protocol.known_credentials import Read, assembled
from protocol.login import Content, token_digest
from protocol.quota import Quota, Window
from protocol.quota_file import fingerprint
from protocol.request import Route
from protocol.secrets import Secret

CONFIG = """
[[account]]
name = "work"
credentials = "/c/work"
follow = "always"
priority = 3
[[account]]
name = "key"
api_key = "key-1"
"""
NO_FILE, NOTHING = Read(), Known()
LOGIN = {"accessToken": "at-1", "refreshToken": "rt-1", "expiresAt": 1_790_000_000_000}


def configured(text: str = CONFIG) -> Config:
    return decode(tomllib.loads(text), variables={}, source="test")


def file(**more: object) -> Read:
    data = json.dumps({"claudeAiOauth": {**LOGIN, **more}}).encode()
    return Read(Content(data, 100.0))


def store(**accounts: object) -> Read:
    return Read(Content(json.dumps({"version": 1, "accounts": accounts}).encode(), 50.0))


def known(
    stored: Read = NO_FILE, work: Read = NO_FILE, before: Known = NOTHING, dead: Read = NO_FILE
) -> Known:
    return assembled(before, "/s/accounts.json", stored, dead, {"/c/work": work})


def specs(now: Known, text: str = CONFIG) -> dict[str, AccountSpec]:
    return {spec.name: spec for spec in credentials.account_specs(configured(text), now)}


def test_all_sources_are_joined_in_order_and_a_configured_name_hides_a_stored_one() -> None:
    now = known(
        store(
            home={"kind": "oauth", **LOGIN, "email": "h@x.example"},
            key={"kind": "api_key", "accessToken": "other"},
            tool={"kind": "token", "accessToken": "tok", "disabled": True},
        ),
        file(),
    )
    found = specs(now)
    assert list(found) == ["work", "key", "home", "tool"]
    assert [spec.order for spec in found.values()] == [0, 1, 2, 3]
    assert [spec.kind for spec in found.values()] == ["oauth", "api_key", "oauth", "token"]
    assert found["key"].credential == Credential(Secret("key-1"), bearer=False)
    assert (found["work"].priority, found["tool"].enabled) == (3, False)
    assert found["home"].email == "h@x.example"
    assert credentials.shadowed(configured(), now) == ("key",)
    assert credentials.sources(configured(), now) == (
        Source("work", "/c/work", "always"),
        Source("home"),
    )


def test_a_stored_login_that_a_configured_account_hides_is_nobodys_to_renew() -> None:
    now = known(store(key={"kind": "oauth", **LOGIN}))
    assert [source.name for source in credentials.sources(configured(), now)] == ["work"]
    assert [one.name for one in credentials.subjects(configured(), now)] == ["work"]


@pytest.mark.parametrize("follow", ["auto", "always", "never"])
@pytest.mark.parametrize("disabled", [True, False])
def test_a_stored_reference_is_the_login_in_that_file_as_its_owner_wants_it_followed(
    follow: str, disabled: bool
) -> None:
    entry = {"kind": "oauth", "credentials": "/c/work", "follow": follow, "disabled": disabled}
    now = known(store(home=entry), file())
    (spec,) = specs(now, "").values()
    assert (spec.kind, spec.enabled, spec.needs_login) == ("oauth", not disabled, False)
    assert spec.credential is not None
    assert spec.credential.secret == Secret("at-1")
    assert credentials.paths(configured(""), now) == ("/c/work",)
    assert credentials.sources(configured(""), now) == (Source("home", "/c/work", follow),)
    (subject,) = credentials.subjects(configured(""), now)
    assert subject.renewable == (follow != "always")


def test_a_logins_token_is_a_bearer_of_a_subscription_under_a_name_that_stays() -> None:
    first = specs(known(work=file()))["work"].credential
    second = specs(known(work=file(accessToken="at-2")))["work"].credential
    assert first is not None
    assert second is not None
    assert first.header() == (b"authorization", b"Bearer at-1")
    assert first.subscription
    assert first.expires_at == 1_790_000_000
    assert first.login == second.login
    assert fingerprint(first, "salt") == fingerprint(second, "salt")


@pytest.mark.parametrize(
    "work", [Read(), Read(Content(b"{}", 0.0)), Read(problem="x", refused=True)]
)
def test_without_a_token_an_account_needs_a_login_and_says_why(work: Read) -> None:
    """And it serves nothing: without a credential of its own the client's would go upstream."""
    now = known(work=work)
    assert len(now.problems) == 1
    spec = specs(now)["work"]
    assert (spec.credential, spec.needs_login) == (None, True)
    account = new_account(spec)
    state = DispatchState(Strategy(pool=True, base_url="http://x"), {"work": account})
    _, outcome = choose(state, Acquire(Route.MESSAGES, owner=True), 0.0)
    assert isinstance(outcome, Refusal)
    assert outcome.cause == "no_credential"
    assert "work" in outcome.message
    assert account.status(0.0) == "needs_login"


@pytest.mark.parametrize("broken", [Read(Content(b"{", 0.0)), Read(problem="the disk has a fault")])
def test_what_cannot_be_read_at_the_moment_leaves_in_force_what_was_read_before(
    broken: Read,
) -> None:
    before = known(store(home={"kind": "oauth", **LOGIN}), file())
    after = known(broken, broken, before)
    assert after.stored == before.stored
    assert after.logins["/c/work"].login == before.logins["/c/work"].login
    assert len(after.problems) == 2


def test_a_file_that_others_can_read_is_no_longer_used() -> None:
    before = known(store(home={"kind": "oauth", **LOGIN}), file())
    refused = Read(problem="others can read it", refused=True)
    after = known(refused, refused, before)
    assert after.stored == ()
    assert specs(after)["work"].credential is None


def test_a_dead_login_is_told_by_its_refresh_token_and_lives_again_with_another() -> None:
    digest = token_digest(Secret("rt-1"))
    dead = Read(Content(encode_dead(frozenset(), digest), 0.0))
    assert specs(known(work=file(), dead=dead))["work"].needs_login
    assert not specs(known(work=file(refreshToken="rt-2"), dead=dead))["work"].needs_login
    broken = Read(Content(b"{", 0.0))
    before = known(work=file(), dead=dead)
    assert known(work=file(), before=before, dead=broken).dead == before.dead


def test_the_memory_of_dead_logins_is_bounded_and_keeps_the_newest() -> None:
    digests = frozenset(str(number) for number in range(3 * KEPT))
    kept = decode_dead(encode_dead(digests, "newest"))
    assert len(kept) == KEPT
    assert "newest" in kept
    with pytest.raises(ValueError, match="version"):
        decode_dead(b"{}")


def bench(reason: str) -> Cooldown:
    return Cooldown(Scope.ACCOUNT, "", reason, 0.0, 100.0, 0, "")


def test_a_new_token_of_the_same_login_keeps_its_limits_and_lifts_what_the_old_one_was_refused() -> (
    None
):
    old = specs(known(work=file()))["work"]
    new = specs(known(work=file(accessToken="at-2")))["work"]
    quota = Quota({"5h": Window(0.5, None, None, 1.0, "response")})
    state = msgspec.structs.replace(
        new_account(old), cooldowns=(bench("window_5h"), bench("auth")), quota=quota
    )
    changed = respecified(state, new)
    assert [cooldown.reason for cooldown in changed.cooldowns] == ["window_5h"]
    assert changed.quota == quota
    assert changed.counters.refreshes == 1


def test_another_persons_login_in_the_same_file_starts_anew() -> None:
    old = specs(known(work=file(accountUuid="one")))["work"]
    new = specs(known(work=file(accountUuid="two", accessToken="at-2")))["work"]
    state = msgspec.structs.replace(new_account(old), cooldowns=(bench("window_5h"),))
    assert respecified(state, new).cooldowns == ()


def test_whose_login_it_is_is_read_beside_it() -> None:
    beside = b'{"oauthAccount": {"emailAddress": "me@x.example", "accountUuid": "u"}}'
    now = known(work=msgspec.structs.replace(file(), beside=beside))
    assert specs(now)["work"].email == "me@x.example"


def test_subjects_have_no_secret_in_their_representation() -> None:
    now = known(store(home={"kind": "oauth", **LOGIN}), file())
    shown = repr(credentials.subjects(configured(), now)) + repr(now)
    assert "at-1" not in shown
    assert "rt-1" not in shown

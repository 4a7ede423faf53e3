"""What the parts take from the configuration."""

from __future__ import annotations

import msgspec

from protocol import derive
from protocol.accounts import AccountSpec, AccountState, Credential
from protocol.config import (
    Access,
    Account,
    Config,
    Cooldown,
    Routing,
    Server,
    Supervision,
    Upstream,
)
from protocol.dispatch import Acquire, Lease, choose
from protocol.request import Route
from protocol.routing import Policy
from protocol.secrets import Secret

CONFIG = Config(
    upstream=Upstream(base_url="https://up"),
    accounts=(
        Account("key", api_key=Secret("k"), priority=2, models=("a*",), exclude_models=("ab",)),
        Account("login", credentials="~/.claude/.credentials.json"),
        Account("token", token=Secret("t"), enabled=False, base_url="https://own"),
    ),
)


def test_an_account_is_what_was_written_and_keeps_its_place() -> None:
    key, login, token = derive.account_specs(CONFIG)
    assert (key.name, key.kind, key.base_url, key.order) == ("key", "api_key", "https://up", 0)
    assert key.credential == Credential(Secret("k"), bearer=False)
    assert (key.priority, key.models, key.exclude_models) == (2, ("a*",), ("ab",))
    assert (login.kind, login.credential, login.needs_login) == ("oauth", None, True)
    assert (token.name, token.kind, token.base_url) == ("token", "token", "https://own")
    assert token.credential == Credential(Secret("t"), bearer=True)
    assert (token.enabled, token.order > key.order) == (False, True)


def test_what_the_strategies_need_is_passed_on() -> None:
    shared = Account("a", api_key=Secret("k"), weight=3, requests_per_minute=7)
    routing = Routing(strategy="weighted", affinity_seconds=9.0, switch_at={"5h": 0.5})
    config = Config(accounts=(shared,), routing=routing)
    (spec,) = derive.account_specs(config)
    assert (spec.weight, spec.requests_per_minute) == (3, 7)
    strategy = derive.strategy(config)
    assert strategy.policy == Policy("weighted", {"5h": 0.5}, 9.0)
    assert strategy.name == "weighted"


def test_with_accounts_there_is_a_pool_and_without_any_none() -> None:
    assert derive.strategy(CONFIG).pool
    assert derive.gate_rules(CONFIG).pool
    assert not derive.strategy(Config()).pool
    assert not derive.gate_rules(Config()).pool
    assert derive.strategy(CONFIG).base_url == "https://up"


def test_subscriptions_are_for_their_owner_unless_the_operator_says_any() -> None:
    assert not derive.strategy(CONFIG).any_use
    anybody = msgspec.structs.replace(CONFIG, access=Access(subscription_use="any"))
    assert derive.strategy(anybody).any_use


def test_the_dispatcher_can_choose_before_any_snapshot_has_come() -> None:
    _, outcome = choose(derive.initial_dispatch(CONFIG), Acquire(Route.MESSAGES, "aa"), 0.0)
    assert isinstance(outcome, Lease)
    assert outcome.account == "key"


def test_a_clients_credential_goes_to_the_configured_upstream() -> None:
    spec = derive.client_spec("client-1", CONFIG)
    assert (spec.kind, spec.credential, spec.base_url) == ("client", None, "https://up")


def test_the_gate_knows_the_names_that_are_not_loopback_anyway() -> None:
    server = Server(
        host="Proxy.LAN.", allowed_hosts=("localhost", "127.0.0.1", "B.lan"),
        allowed_origins=("https://App.lan",),
    )  # fmt: skip
    rules = derive.gate_rules(Config(server=server, access=Access(token=Secret("t"))))
    assert rules.hosts == {"proxy.lan", "b.lan"}
    assert rules.origins == {"https://app.lan"}
    assert rules.token == Secret("t")


def test_an_empty_token_is_no_token() -> None:
    assert derive.gate_rules(Config(access=Access(token=Secret("")))).token is None
    assert derive.gate_rules(Config()).token is None


def test_the_cooldown_policy_is_the_section() -> None:
    policy = derive.cooldown_policy(Config(cooldown=Cooldown(base=2.0, maximum=3.0, auth=4.0)))
    assert (policy.base, policy.maximum, policy.auth) == (2.0, 3.0, 4.0)


def test_the_restart_policy_is_the_section() -> None:
    supervision = Supervision(intensity=1, period=2.0, backoff=3.0, maximum_backoff=4.0)
    policy = derive.restart_policy(Config(supervision=supervision))
    assert (policy.intensity, policy.period) == (1, 2.0)
    assert (policy.backoff, policy.maximum_backoff) == (3.0, 4.0)


def test_the_dispatcher_begins_with_what_is_known_of_each_account() -> None:
    """A program that is stopped before its accounts have begun must not forget them."""
    config = Config(accounts=(Account("a", api_key=Secret("k")), Account("b", api_key=Secret("l"))))

    def begin(spec: AccountSpec) -> AccountState:
        return AccountState(spec, level=3 if spec.name == "b" else 0)

    accounts = derive.initial_dispatch(config, begin).accounts
    assert {name: account.level for name, account in accounts.items()} == {"a": 0, "b": 3}

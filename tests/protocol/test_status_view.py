"""`GET /status`, field by field."""

from __future__ import annotations

import datetime
import json

import msgspec

from protocol.accounts import (
    AccountSpec,
    AccountState,
    Cooldown,
    Counters,
    Credential,
    Scope,
    Tokens,
)
from protocol.dispatch import DispatchState, Strategy
from protocol.egress import EgressLimited, limited
from protocol.quota import Quota, Window
from protocol.secrets import Secret
from protocol.status import ActorStatus, LastCrash
from protocol.status_view import (
    Clocks,
    account_view,
    accounts_view,
    actors_view,
    health_view,
    pool_view,
    utc,
)

CLOCKS = Clocks(monotonic=100.0, wall=1_770_000_000.0)
POOL = Strategy(pool=True, base_url="https://up")


def account(name: str, order: int = 0, kind: str = "api_key", **state: object) -> AccountState:
    credential = Credential(Secret("key-of-" + name), bearer=False)
    spec = AccountSpec(name, kind, credential, "https://up", order)
    return msgspec.structs.replace(AccountState(spec), **state)


def bench(until: float, reason: str = "rate_limited") -> Cooldown:
    return Cooldown(Scope.ACCOUNT, "", reason, 0.0, until, 2, "retry-after")


def pool(*accounts: AccountState, strategy: Strategy = POOL) -> DispatchState:
    return DispatchState(strategy, {a.name: a for a in accounts}, {"a": 3, "gone": 1})


USED = account(
    "a", cooldowns=(bench(160.0), bench(99.0, "auth")), counters=Counters(5, 2, 3, 1, 0),
    last_request_at=1_770_000_000.9, last_error="429 rate_limit_error",
    tokens=Tokens(1000, 20, 30_000, 4),
)  # fmt: skip


def test_an_account_has_exactly_the_fields_of_the_interface() -> None:
    assert account_view(pool(USED), USED, CLOCKS) == {
        "name": "a",
        "kind": "api_key",
        "state": "cooling",
        "enabled": True,
        "expires_at": None,
        "email": None,
        "cooldowns": [
            {
                "scope": "account",
                "target": "",
                "reason": "rate_limited",
                "until": "2026-02-02T02:41:00Z",
                "level": 2,
                "source": "retry-after",
            }
        ],
        "quota": {},
        "representative_claim": None,
        "counters": {
            "requests": 5, "successes": 2, "errors": 3, "rate_limits": 1, "refreshes": 0,
        },
        "tokens": {"input": 1000, "output": 20, "cache_read": 30_000, "cache_write": 4},
        "in_flight": 3,
        "last_request_at": "2026-02-02T02:40:00Z",
        "last_error": "429 rate_limit_error",
    }  # fmt: skip


def test_a_window_has_exactly_the_fields_of_the_interface() -> None:
    read = CLOCKS.wall - 60
    windows = {
        "5h": Window(1.25, "rejected", CLOCKS.wall + 60.7, read, "restored"),
        "7d_oi": Window(None, "rejected", None, read),
        "tokens": Window(0.75, None, CLOCKS.wall + 1, read, "response", 100, 25),
        "over": Window(0.9, "rejected", CLOCKS.wall, read, "probe"),
    }
    used = account("a", quota=Quota(windows, "five_hour"))
    view = account_view(pool(used), used, CLOCKS)
    assert view["representative_claim"] == "five_hour"
    at = {"read_at": "2026-02-02T02:39:00Z"}
    assert view["quota"] == {
        "5h": {"utilization": 1.25, "status": "rejected", "resets_at": "2026-02-02T02:41:00Z",
               **at, "source": "restored"},
        "7d_oi": {"utilization": None, "status": "rejected", "resets_at": None,
                  **at, "source": "response"},
        "tokens": {"utilization": 0.75, "status": None, "resets_at": "2026-02-02T02:40:01Z",
                   **at, "source": "response", "limit": 100, "remaining": 25},
        "over": {"utilization": 0.0, "status": "allowed", "resets_at": "2026-02-02T02:40:00Z",
                 **at, "source": "probe"},
    }  # fmt: skip


def test_the_pool_has_exactly_its_fields_and_sums() -> None:
    view = pool_view(
        pool(USED, account("b", 1, enabled=False), account("c", 2), account("d", 3)), CLOCKS
    )
    accounts = view.pop("accounts")
    assert [entry["state"] for entry in accounts] == [
        "cooling",
        "disabled",
        "available",
        "available",
    ]
    assert view == {
        "strategy": "fill-first",
        "mode": "pool",
        "totalAccounts": 4,
        "availableAccounts": 2,
        "rateLimitedAccounts": 1,
        "nextAccount": "c",
        "cooldowns": [],
        "in_flight": 4,
    }


def test_the_bench_of_the_egress_is_shown_above_the_accounts() -> None:
    state = limited(pool(account("a"), account("b", 1)), EgressLimited("https://up", 40.0), 100.0)
    view = pool_view(state, CLOCKS)
    assert view["cooldowns"] == [
        {
            "scope": "egress",
            "target": "up",
            "reason": "burst",
            "until": "2026-02-02T02:40:40Z",
            "level": 0,
            "source": "retry-after",
        }
    ]
    assert (view["availableAccounts"], view["nextAccount"]) == (2, "")
    assert pool_view(state, Clocks(140.0, 1_770_000_040.0))["cooldowns"] == []


def test_a_limited_family_is_shown_and_its_account_is_available() -> None:
    family = Cooldown(Scope.MODEL_FAMILY, "fable", "window_7d_oi", 0.0, 160.0, 0, "reset")
    used = account("a", cooldowns=(family,))
    view = pool_view(pool(used), CLOCKS)
    (shown,) = view["accounts"]
    assert shown["state"] == "available"
    assert (shown["cooldowns"][0]["scope"], shown["cooldowns"][0]["target"]) == (
        "model-family",
        "fable",
    )
    assert (view["rateLimitedAccounts"], view["availableAccounts"]) == (0, 1)


def test_nobody_is_next_when_nobody_could_serve_or_nobody_is_configured() -> None:
    assert pool_view(pool(USED), CLOCKS)["nextAccount"] == ""
    passthrough = pool(strategy=Strategy(pool=False, base_url="https://up"))
    view = pool_view(passthrough, CLOCKS)
    assert (view["nextAccount"], view["mode"], view["totalAccounts"]) == ("", "passthrough", 0)


def test_accounts_come_in_order_of_choice_and_clients_after_them_by_name() -> None:
    state = pool(
        account("client-2", kind="client"), account("z", 0), account("client-1", kind="client"),
        account("a", 1),
    )  # fmt: skip
    names = [entry["name"] for entry in accounts_view(state, CLOCKS)]
    assert names == ["z", "a", "client-1", "client-2"]
    assert pool_view(state, CLOCKS)["totalAccounts"] == 2


def test_a_bench_that_is_over_is_not_shown() -> None:
    later = Clocks(monotonic=160.0, wall=1_770_000_060.0)
    assert account_view(pool(USED), USED, later)["cooldowns"] == []
    assert account_view(pool(USED), USED, later)["state"] == "available"
    assert pool_view(pool(USED), later)["rateLimitedAccounts"] == 0


def test_the_whole_view_is_json_without_a_credential() -> None:
    text = json.dumps(pool_view(pool(USED, account("b", 1)), CLOCKS))
    assert "key-of-" not in text


def test_health_is_degraded_when_accounts_are_configured_and_none_could_serve() -> None:
    status, body = health_view(pool(USED), CLOCKS, "1.0", 2.00049)
    assert (status, body) == (
        503,
        {
            "status": "degraded",
            "version": "1.0",
            "uptime": 2.0,
            "accounts": {"total": 1, "available": 0},
        },
    )
    status, body = health_view(pool(USED, account("b")), CLOCKS, "1.0", 2.0)
    assert (status, body["status"]) == (200, "ok")
    assert body["accounts"] == {"total": 2, "available": 1}


def test_health_is_good_without_accounts_whatever_becomes_of_clients() -> None:
    client = account("client-1", kind="client", cooldowns=(bench(999.0),))
    state = pool(client, strategy=Strategy(pool=False, base_url="https://up"))
    assert health_view(state, CLOCKS, "1.0", 2.0)[0] == 200


def test_an_actor_has_exactly_the_fields_of_the_interface() -> None:
    at = datetime.datetime(2026, 2, 2, tzinfo=datetime.UTC)
    crash = LastCrash(at, "ValueError", "m", "a.py:1 in f")
    views = actors_view(
        [
            ActorStatus("journal", "running", 2, 1, crash, 4, 0.5),
            ActorStatus("dispatcher", "restarting", 1, 0, None, 0, 0.0),
        ]
    )
    assert views[0] == {
        "name": "journal",
        "state": "running",
        "incarnation": 2,
        "restarts": 1,
        "last_crash": {
            "at": "2026-02-02T00:00:00Z",
            "type": "ValueError",
            "message": "m",
            "where": "a.py:1 in f",
        },
        "mailbox": 4,
        "oldest_message_age": 0.5,
    }
    assert views[1]["last_crash"] is None


def test_times_are_utc_to_the_second() -> None:
    assert utc(0.999) == "1970-01-01T00:00:00Z"
    assert CLOCKS.text(50.0) == utc(1_769_999_950.0)

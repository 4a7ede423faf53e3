"""An instance with some of everything, as `GET /status` and `GET /status/requests` tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 21, 14, 0, 0, tzinfo=UTC)


def at(seconds: float, now: datetime = NOW) -> str:
    return (now + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def account(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "api_key",
        "state": "available",
        "enabled": True,
        "expires_at": None,
        "email": None,
        "cooldowns": [],
        "quota": {},
        "representative_claim": None,
        "counters": {"requests": 0, "successes": 0, "errors": 0, "rate_limits": 0, "refreshes": 0},
        "tokens": {"input": 0, "output": 0, "cache_read": 0, "cache_write": 0},
        "in_flight": 0,
        "last_request_at": None,
        "last_error": None,
        **changes,
    }


def window(utilization: float | None, status: str, resets_at: str) -> dict[str, Any]:
    return {
        "utilization": utilization,
        "status": status,
        "resets_at": resets_at,
        "read_at": resets_at,
        "source": "response",
    }


def actor(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "running",
        "incarnation": 1,
        "restarts": 0,
        "last_crash": None,
        "mailbox": 0,
        "oldest_message_age": 0.0,
        **changes,
    }


def accounts(now: datetime = NOW) -> list[dict[str, Any]]:
    return [
        account(
            "work",
            kind="oauth",
            quota={
                "7d": window(0.62, "allowed", at(300_000, now)),
                "5h": window(0.81, "allowed_warning", at(7_400, now)),
            },
            counters={"requests": 1204, "successes": 1190, "errors": 4, "rate_limits": 10},
            in_flight=3,
            last_request_at=at(-3, now),
        ),
        account(
            "personal",
            kind="token",
            state="cooling",
            cooldowns=[{"scope": "account", "reason": "rate_limit", "until": at(130, now)}],
            quota={"5h": window(1.0, "rejected", at(130, now))},
        ),
        account("team-key", state="needs_login", last_error="refresh refused: invalid_grant"),
        account(
            "old",
            state="disabled",
            cooldowns=[
                {
                    "scope": "model-family",
                    "target": "opus",
                    "reason": "quota",
                    "until": at(4000, now),
                }
            ],
            quota={"tokens": window(None, "allowed", at(0, now))},
        ),
    ]


def status(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "pid": 4711,
        "started_at": at(-3900, now),
        "uptime": 3900.2,
        "host": "127.0.0.1",
        "port": 4080,
        "strategy": "fill-first",
        "config": {
            "path": "/etc/llm-supervisor.toml",
            "loaded_at": at(-3900, now),
            "error": None,
        },
        "mode": "pool",
        "redirect": {"active": False, "since": None, "reason": None},
        "tls": None,
        "totalAccounts": 4,
        "availableAccounts": 1,
        "rateLimitedAccounts": 1,
        "nextAccount": "work",
        "cooldowns": [
            {
                "scope": "provider",
                "target": "anthropic",
                "reason": "overloaded",
                "until": at(12, now),
            }
        ],
        "accounts": accounts(now),
        "fallback": [{"provider": "openai", "model": "gpt-5", "state": "available"}],
        "actors": [
            actor("dispatcher"),
            actor(
                "account/work",
                restarts=2,
                last_crash={
                    "at": at(-70, now),
                    "type": "RuntimeError",
                    "message": "the thing [red]broke[/red]",
                    "where": "actors/account.py:88",
                },
                mailbox=12,
                oldest_message_age=3.2,
            ),
            actor("front-end", state="restarting", restarts=5),
        ],
        "in_flight": 3,
        "event_loop_lag": {"p50": 0.0004, "p99": 0.0021},
        **changes,
    }


def request(**changes: Any) -> dict[str, Any]:
    return {
        "at": at(-1),
        "request_id": "r1",
        "method": "POST",
        "path": "/v1/messages",
        "model": "claude-opus-5-5",
        "served_model": None,
        "account": "work",
        "provider": None,
        "status": 200,
        "attempts": 1,
        "terminal": "complete",
        "ms_total": 2310.4,
        "reason": None,
        "error_type": None,
        **changes,
    }


def requests() -> list[dict[str, Any]]:
    return [
        request(),
        request(
            path="/v1/messages/count_tokens",
            model="claude-haiku-5-5-20260101",
            account="personal",
            status=429,
            attempts=3,
            ms_total=120,
            reason="every account is cooling, the first is back in 2 min",
        ),
        request(
            method="GET",
            path="/v1/models",
            model=None,
            account=None,
            status=None,
            attempts=0,
            ms_total=None,
            error_type="x\x1b[31mevil",
        ),
    ]

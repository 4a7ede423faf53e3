"""What the management routes show and do: the actors' knowledge, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import trio

from actors.asking import insist
from actors.mailbox import AskFailed, Mailbox
from actors.messages import (
    Describe,
    Explain,
    FreeEgress,
    KeysUsed,
    LookAtKeys,
    Recent,
    Reload,
    Renew,
    Reset,
    SetEnabled,
    SetStored,
)
from protocol import status_view as views
from protocol.accounts import AccountState
from protocol.credentials import OAUTH
from protocol.dispatch import DispatchState
from protocol.errors import Problem
from protocol.key_file import key_view
from protocol.providers import fallback_view, redirect_view
from protocol.question import Question
from protocol.refreshing import held_back
from protocol.status_view import Clocks, utc
from server.app import NotPossible, find_account
from server.provider_models import own_models
from supervisor import metrics
from supervisor.engine import Supervisor
from supervisor.instance import Instance
from supervisor.parts import Parts

ASK_SECONDS = 5.0

R = TypeVar("R")


class Control:
    """Implements `server.app.Management`. `stop` begins the drain."""

    def __init__(
        self, parts: Parts, engine: Supervisor, instance: Instance, stop: Callable[[], None]
    ) -> None:
        self._parts = parts
        self._engine = engine
        self._instance = instance
        self._stop = stop
        self._began = trio.current_time()

    def live(self) -> dict[str, Any]:
        """Answers while the process serves at all; the id says which instance this is."""
        return {"status": "ok", "instance": self._instance.id, "version": self._instance.version}

    async def health(self) -> tuple[int, dict[str, Any]]:
        """503 when accounts are configured and none could serve."""
        return views.health_view(
            await self._pool(), self._clocks(), self._instance.version, self._uptime()
        )

    async def status(self) -> dict[str, Any]:
        """`GET /status`."""
        parts, instance = self._parts, self._instance
        pool = views.pool_view(
            await self._pool(), self._clocks(), parts.door.ports.repeats.resting()
        )
        providers = await parts.foreign.known()
        path = parts.config_path()
        return {
            "version": instance.version,
            "pid": instance.pid,
            "worker_pid": instance.worker_pid,
            "started_at": instance.started_at,
            "uptime": round(self._uptime(), 3),
            "host": instance.host,
            "port": instance.port,
            **pool,
            "config": {
                "path": str(path) if path else "",
                "loaded_at": utc(parts.loaded_at),
                "error": parts.config_error,
            },
            "redirect": redirect_view(providers.redirecting),
            "accounts": self._with_metadata(pool["accounts"]),
            "fallback": fallback_view(parts.config, providers, self._clocks()),
            "actors": self.actors(),
            "keys": await self.keys() if parts.access.wanted() else None,
            "tls": None if parts.tls is None else parts.tls.view(),
            "log": {"dropped_lines": parts.dropped.total},
            "prices": parts.accounting.prices.view(),
            "client": parts.client_status(),
            "event_loop_lag": msgspec.to_builtins(parts.loop_lag()),
        }

    async def metrics(self) -> tuple[bytes, str]:
        """`GET /metrics` and its media type: rendered in a thread, of what `/status` shows now."""
        status, tally = await self.status(), self._parts.accounting.tally.copy()
        now = self._parts.wall_clock()
        return await trio.to_thread.run_sync(metrics.render, status, tally, now)

    async def accounts(self) -> list[dict[str, Any]]:
        """`GET /status/accounts`."""
        return self._with_metadata(views.accounts_view(await self._pool(), self._clocks()))

    def actors(self) -> list[dict[str, Any]]:
        """`GET /status/actors`."""
        return views.actors_view(self._engine.statuses(trio.current_time()))

    async def models(self) -> list[dict[str, Any]]:
        """`GET /status/models`: what the model list has beside Anthropic's own."""
        return own_models(self._parts.config, await self._parts.foreign.known())

    async def requests(self, limit: int) -> list[dict[str, Any]]:
        """The newest request lines, newest first."""
        lines = await self._ask(self._parts.journal, Recent(limit))
        return [msgspec.to_builtins(line) for line in lines]

    async def request(self, request_id: str) -> dict[str, Any]:
        """One request line, with `explanation`: every step and where the time went."""
        found = await self._ask(self._parts.journal, Explain(request_id))
        if found is None:
            message = f"no request {request_id[:128]!r} is among the newest that are kept in memory"
            raise NotPossible(Problem(404, message))
        explanation = msgspec.to_builtins(found.explanation)
        return {**msgspec.to_builtins(found.line), "explanation": explanation}

    async def act(self, name: str, action: str) -> dict[str, Any]:
        """Enable, disable, reset or refresh an account; gives it back as it is then."""
        account = find_account(await self.accounts(), name)
        mailbox = self._parts.roster.mailbox(name)
        if mailbox is None:
            raise NotPossible(Problem(404, f"there is no account {name!r}"))
        if action == "refresh":
            await self._refresh(name, account["kind"])
        elif action == "reset":
            await self._ask(mailbox, Reset())
            await self._ask(self._parts.dispatcher, FreeEgress(name))
            self._forget_faults((await self._pool()).accounts.get(name))
        else:
            await self._enable(name, mailbox, enabled=action == "enable")
        return find_account(await self.accounts(), name)

    def _forget_faults(self, account: AccountState | None) -> None:
        if account is not None:
            self._parts.door.ports.repeats.forget(account.spec.base_url)

    async def _refresh(self, name: str, kind: str) -> None:
        if kind != OAUTH:
            message = f"account {name!r} is of kind {kind}; there is nothing to refresh"
            raise NotPossible(Problem(409, message))
        logins = self._parts.logins
        seconds = 2 * logins.policy().timeout + ASK_SECONDS
        before = (await self._pool()).accounts[name].spec.credential
        after = await self._ask(logins.refresh, Renew(name, by_hand=True), seconds)
        if after is None or (before is not None and after.secret == before.secret):
            said = (held_back(one) for one in logins.subjects() if one.name == name)
            why = next(said, "") or (
                "the token endpoint gave none, or another process holds the login's lock; the log says "
                "more"
            )
            message = f"the tokens of account {name!r} were not renewed: {why}"
            raise NotPossible(Problem(409, message))

    async def _enable(self, name: str, mailbox: Mailbox[Any], *, enabled: bool) -> None:
        """For a stored account it is written down; a configured one forgets it with a restart."""
        if self._parts.logins.is_stored(name):
            problem = await self._ask(self._parts.logins.vault, SetStored(name, enabled))
            if problem:
                raise NotPossible(Problem(503, problem, retry_after=1))
        await self._ask(mailbox, SetEnabled(enabled))

    async def keys(self) -> list[dict[str, Any]]:
        """`GET /status/keys`: whose keys hold, and what they have spent, without the keys."""
        access, now = self._parts.access, self._parts.wall_clock()
        if access.ring is None:
            return []
        used = await self._ask(access.keyring, KeysUsed())
        return [key_view(key, now, used.get(key.id)) for key in access.ring.by_id.values()]

    async def look_at_keys(self) -> dict[str, Any]:
        """`POST /status/keys/reload`: answered when the file as it is now counts."""
        return {"problem": await self._ask(self._parts.access.keyring, LookAtKeys()) or None}

    async def reload(self) -> tuple[int, dict[str, Any]]:
        """`POST /status/reload`: 200 with the keys that need a restart, or 422 with all errors."""
        done = await self._ask(self._parts.config_watcher, Reload())
        if done.errors:
            return 422, {"errors": [str(error) for error in done.errors]}
        return 200, {"restart_needed": list(done.restart_needed)}

    def drain(self) -> None:
        """`POST /status/drain`: the same as SIGTERM."""
        self._stop()

    async def _pool(self) -> DispatchState:
        return await self._ask(self._parts.dispatcher, Describe())

    async def _ask(
        self, mailbox: Mailbox[Any], question: Question[R], seconds: float = ASK_SECONDS
    ) -> R:
        # All of these may be put twice, so a crash of the actor costs a moment and no error.
        try:
            return await insist(mailbox, question, timeout=seconds)
        except AskFailed as failure:
            problem = Problem(503, f"{failure}; try again", retry_after=1)
            raise NotPossible(problem) from failure

    def _with_metadata(self, accounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known = {account.name: account.metadata for account in self._parts.config.accounts}
        now, forecasts = self._parts.wall_clock(), self._parts.accounting.forecasts
        return [
            {
                **view,
                "forecast": forecasts(view, now),
                "metadata": dict(known.get(view["name"], {})),
            }
            for view in accounts
        ]

    def _clocks(self) -> Clocks:
        return Clocks(trio.current_time(), self._parts.wall_clock())

    def _uptime(self) -> float:
        return trio.current_time() - self._began

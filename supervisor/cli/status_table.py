"""`GET /status` as tables for people, from 80 columns up.

Built of `Text` only, never of strings: rich reads `[red]` in a string as markup, and model names
come from strangers. What a window has no room for moves below (quota) or is shortened (paths,
reasons); no row is ever broken in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from protocol.usage_file import percent
from supervisor.cli.columns import flexible, left, right, table
from supervisor.cli.status_access import certificate, key_table, keys_told
from supervisor.cli.status_view import (
    AccountView,
    ActorView,
    CooldownView,
    RequestView,
    StatusView,
    TokensView,
)
from supervisor.cli.wording import (
    KINDS,
    ago,
    amount,
    clock,
    duration,
    outlook,
    printable,
    reading_age,
    remaining,
)

QUOTA_BESIDE_WIDTH = 140
"""Columns from which quota stands beside its account, and headings are whole words."""

TOKENS_WIDTH = 150
"""Columns from which there is room for tokens."""

METHOD_WIDTH = 110
"""Columns from which a request is shown with its method and whole path."""

BAR_CELLS = 10
NEARLY_USED_UP = 0.9
GETTING_USED_UP = 0.75
LATE_MESSAGE_SECONDS = 1.0
FIRST_ERROR_STATUS = 400

_COLOURS = {
    "available": "green",
    "running": "green",
    "cooling": "yellow",
    "restarting": "yellow",
    "needs_login": "red",
    "failed": "red",
    "disabled": "dim",
    "stopped": "dim",
}
_WINDOW_ORDER = {name: place for place, name in enumerate(("5h", "7d", "overage"))}


def render(
    status: StatusView,
    requests: Sequence[RequestView],
    *,
    url: str,
    width: int,
    now: datetime,
    ascii_only: bool = False,
    brief: bool = False,
) -> RenderableType:
    """The whole picture. `now` is aware; `width` is columns; `ascii_only` for old terminals;
    `brief` leaves out the actors of whom there is nothing to say."""
    parts: list[RenderableType] = [*_headlines(status, url), *_remarks(status, now)]
    parts += [Text(), _title("Accounts", _of_all(status))]
    if status.accounts:
        parts.append(_accounts(status.accounts, width, now, ascii_only))
    if width < QUOTA_BESIDE_WIDTH and any(account.quota for account in status.accounts):
        parts += [Text(), _title("Quota"), _quota(status.accounts, width, now, ascii_only)]
    if status.keys is not None:
        parts += [Text(), _title("Keys", keys_told(status.keys))]
        parts += key_table(status.keys, width, now)
    if status.actors:
        shown = [actor for actor in status.actors if not brief or _is_worth_a_look(actor)]
        parts += [Text(), _title("Actors", _running(status.actors) if brief else "")]
        parts += [_actors(shown, width, now)] if shown else []
    if requests:
        parts += [Text(), _title("Last requests"), _requests(requests, width)]
    return Group(*parts)


def _headlines(status: StatusView, url: str) -> list[Text]:
    lag = status.event_loop_lag
    first = [
        f"version {status.version}" if status.version else "",
        status.mode,
        f"up {duration(status.uptime)}" if status.uptime is not None else "",
    ]
    second = [
        status.strategy,
        f"{status.in_flight} in flight" if status.in_flight is not None else "",
        f"event loop lag {_milliseconds(lag.p99)}" if lag.p99 is not None else "",
    ]
    headline = Text.assemble((printable(url), "bold"), "  ", _text(", ".join(filter(None, first))))
    return [headline, _text(", ".join(filter(None, second)))] if any(second) else [headline]


def _remarks(status: StatusView, now: datetime) -> list[Text]:
    """Lines that are only there when there is something to say."""
    lines = []
    if status.config.path:
        lines.append(_line("configuration ", status.config.path, "dim"))
    if status.config.error:
        lines.append(_line("configuration not taken over: ", _said(status.config.error), "red"))
    lines += certificate(status.tls, now) if status.tls is not None else []
    if status.redirect.active:
        since = ago(status.redirect.since, now)
        reason = status.redirect.reason or ""
        lines.append(_line("redirect active: ", ", ".join(filter(None, (reason, since))), "yellow"))
    for cooldown in status.cooldowns:
        where = f"{cooldown.scope} {cooldown.target or ''}".strip()
        lines.append(_line(f"{where} cooling: ", _bench(cooldown, now), "yellow"))
    for fallback in status.fallback:
        name = f"{fallback.provider}/{fallback.model}" if fallback.model else fallback.provider
        colour = _COLOURS.get(fallback.state, "")
        lines.append(_line("fallback ", f"{name} {_words(fallback.state)}", colour))
    lines += [
        _line(f"{account.name}: ", _said(account.last_error), "red")
        for account in status.accounts
        if account.last_error and account.state not in ("available", "disabled")
    ]
    return lines


def _accounts(
    accounts: Sequence[AccountView], width: int, now: datetime, ascii_only: bool
) -> Table:
    wide = width >= QUOTA_BESIDE_WIDTH
    columns = [*flexible("name"), *left("kind"), *flexible("state")]
    if wide:
        columns += left("quota")
        columns += right("requests", "ok", "errors", "limited", "in flight")
    else:
        columns += right("reqs", "ok", "err", "429", "now")
    counted = width >= TOKENS_WIDTH and any(account.tokens != TokensView() for account in accounts)
    if counted:
        columns += right("tokens in", "cached", "out")
    columns += left("last request" if wide else "last")
    rows = []
    for account in accounts:
        counters = account.counters
        row = [
            _text(account.name),
            _text(KINDS.get(account.kind, _words(account.kind))),
            _state(account, now),
        ]
        if wide:
            windows = [_window(account, *window, now, ascii_only) for window in _windows(account)]
            row.append(Text("\n").join(windows))
        row += [
            _number(counters.requests),
            _number(counters.successes),
            _number(counters.errors, "red"),
            _number(counters.rate_limits, "yellow"),
            _number(account.in_flight),
            *(_tokens(account.tokens) if counted else ()),
            _text(ago(account.last_request_at, now) or "never"),
        ]
        rows.append(row)
    return table(columns, rows, width)


def _tokens(tokens: TokensView) -> list[Text]:
    """What was read anew, what came from a cache, what was written."""
    counts = (tokens.input + tokens.cache_write, tokens.cache_read, tokens.output)
    return [_text(amount(count)) for count in counts]


def _state(account: AccountView, now: datetime) -> Text:
    """The state, and under it each bench with its scope, reason and remaining time."""
    text = _text(_words(account.state), _COLOURS.get(account.state, ""))
    for cooldown in account.cooldowns:
        bench = _bench(cooldown, now)
        if cooldown.scope not in ("", "account"):
            bench = f"{cooldown.target or cooldown.scope}: {bench}"
        text.append(f"\n{printable(bench)}", "dim")
    return text


def _bench(cooldown: CooldownView, now: datetime) -> str:
    left = remaining(cooldown.until, now)
    return ", ".join(filter(None, (_words(cooldown.reason or ""), left)))


def _quota(accounts: Sequence[AccountView], width: int, now: datetime, ascii_only: bool) -> Table:
    rows = [
        [_text(account.name if place == 0 else ""), _window(account, *window, now, ascii_only)]
        for account in accounts
        for place, window in enumerate(_windows(account))
    ]
    return table([*flexible("account"), *left("window")], rows, width)


def _windows(account: AccountView) -> list[tuple[str, int]]:
    """In the usual order, each with the width of the longest name, so that bars line up."""
    names = sorted(account.quota, key=lambda name: (_WINDOW_ORDER.get(name, 99), name))
    longest = max(map(len, names), default=0)
    return [(name, longest) for name in names]


def _window(
    account: AccountView, name: str, name_width: int, now: datetime, ascii_only: bool
) -> Text:
    window = account.quota[name]
    text = Text(f"{printable(name):<{name_width}} ")
    refuses = window.status not in (None, "", "allowed", "allowed_warning")
    left = remaining(window.resets_at, now)
    remarks = [f"resets in {left}" if left else "", outlook(account.forecast.get(name), now)]
    remarks.append(reading_age(window.read_at, window.source, now))
    remark = "  " + ", ".join(filter(None, remarks)) if any(remarks) else ""
    if window.utilization is None and refuses:
        return text.append(printable(window.status), "red").append(remark, "dim")
    if window.utilization is None:
        return text.append("not known yet", "dim")
    used = min(max(window.utilization, 0.0), 1.0)
    colour = "red" if used >= NEARLY_USED_UP else "yellow" if used >= GETTING_USED_UP else "green"
    if refuses:
        colour = "red"
    full, empty = ("#", "-") if ascii_only else ("█", "░")
    filled = round(used * BAR_CELLS)
    text.append(full * filled, colour).append(empty * (BAR_CELLS - filled), "dim")
    text.append(f" {percent(max(window.utilization, 0.0)):>3}%", colour)
    return text.append(remark, "dim")


def _is_worth_a_look(actor: ActorView) -> bool:
    late = (actor.oldest_message_age or 0.0) >= LATE_MESSAGE_SECONDS
    return actor.state != "running" or bool(actor.restarts) or late


def _running(actors: Sequence[ActorView]) -> str:
    running = sum(actor.state == "running" for actor in actors)
    return (
        f"all {running} running"
        if running == len(actors)
        else f"{running} of {len(actors)} running"
    )


def _actors(actors: Sequence[ActorView], width: int, now: datetime) -> Table:
    columns = [*left("name", "state"), *right("restarts", "mailbox"), *flexible("last crash")]
    rows = []
    for actor in actors:
        age = actor.oldest_message_age or 0.0
        waiting = f" ({duration(age)} old)" if age >= LATE_MESSAGE_SECONDS else ""
        state = _text(_words(actor.state), _COLOURS.get(actor.state, ""))
        mailbox = _number(actor.mailbox).append(waiting, "yellow")
        restarts = _number(actor.restarts, "yellow")
        rows.append([_text(actor.name), state, restarts, mailbox, _crash(actor, now)])
    return table(columns, rows, width)


def _crash(actor: ActorView, now: datetime) -> Text:
    crash = actor.last_crash
    if crash is None or not crash.type:
        return Text()
    what = f"{crash.type}: {crash.message}" if crash.message else crash.type
    parts = (ago(crash.at, now), what, f"at {crash.where}" if crash.where else "")
    return _text(", ".join(filter(None, parts)))


def _requests(requests: Sequence[RequestView], width: int) -> Table:
    columns = [
        *left("time"),
        *flexible("request", "model", "account"),
        *right("status", "tries", "ms"),
        *flexible("reason"),
    ]
    rows = []
    for request in requests:
        path = request.path or ""
        target = (
            f"{request.method or ''} {path}" if width >= METHOD_WIDTH else path.removeprefix("/v1")
        )
        failed = request.status is None or request.status >= FIRST_ERROR_STATUS
        row = [
            _text(clock(request.at)),
            _text(target.strip()),
            _text(request.served_model or request.model or ""),
            _text(request.account or request.provider or ""),
            _number(request.status, "red" if failed else "green"),
            _number(request.attempts, "yellow" if (request.attempts or 0) > 1 else ""),
            _number(None if request.ms_total is None else round(request.ms_total)),
            _text(_words(request.reason or request.error_type or "")),
        ]
        rows.append(row)
    return table(columns, rows, width)


def _title(title: str, remark: str = "") -> Text:
    return Text.assemble((title, "bold"), (f"  {remark}" if remark else "", "dim"))


def _of_all(status: StatusView) -> str:
    if status.mode == "passthrough":
        return "none of ours: each client's own credential is passed through"
    total = status.totalAccounts if status.totalAccounts is not None else len(status.accounts)
    if status.availableAccounts is None:
        return ""
    following = f", next: {printable(status.nextAccount)}" if status.nextAccount else ""
    return f"{status.availableAccounts} of {total} available{following}"


def _line(label: str, text: str, style: str) -> Text:
    return Text.assemble(printable(label), (printable(text), style))


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _number(value: float | None, style: str = "") -> Text:
    """A number; not known is a dash, and a zero is never coloured."""
    return Text("-", "dim") if value is None else Text(str(value), style if value else "")


def _words(identifier: str) -> str:
    return identifier.replace("_", " ")


def _said(error: object) -> str:
    """An error as the server has it: text, a list of texts, or an object with a message."""
    if isinstance(error, list):
        return "; ".join(_said(item) for item in error)
    if isinstance(error, dict):
        return str(error.get("message") or ", ".join(f"{k}: {v}" for k, v in error.items()))
    return str(error)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"

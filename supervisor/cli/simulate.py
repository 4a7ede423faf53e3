"""`supervisor simulate`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor import exit_codes
from supervisor.cli.amounts import Amount
from supervisor.cli.failure import Failure
from supervisor.cli.manual import Documented, Manual

if TYPE_CHECKING:
    from protocol.replay import Outcome, Recorded
    from supervisor.price_table import PriceTable

_STRATEGIES = ("fill-first", "round-robin", "weighted", "drain-soonest", "least-used", "hybrid")

_MANUAL = Manual(
    examples={
        "supervisor simulate --log requests-2026-11-21.jsonl": "One day, with every strategy.",
        "supervisor simulate --log mon.jsonl --log tue.jsonl --allowance 20000000": "Two days, with accounts that may use 20 million tokens in five hours.",
        "supervisor simulate --log mon.jsonl --strategy hybrid --account a --account b": "One strategy over two accounts, instead of those of the log.",
    },
    exits={
        exit_codes.FAILED: "no request in the logs was served by an account, or they cannot be read",
        exit_codes.PERMISSION: "a log may not be read",
    },
    files={"logs/requests-*.jsonl": "in the state directory, or in logs.directory"},
    see=("supervisor usage", "docs/strategies.md#trying-them-on-your-own-traffic"),
)


@click.command(
    short_help="Replay recorded traffic through strategies.", cls=Documented, manual=_MANUAL
)
@click.option(
    "--log",
    "logs",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="FILE",
    help="A request log; more than once for several.",
)
@click.option(
    "--strategy",
    "strategies",
    type=click.Choice(_STRATEGIES),
    multiple=True,
    metavar="STRATEGY",
    help=f"{', '.join(_STRATEGIES)}; more than once for several, all by default.",
)
@click.option(
    "--account",
    "names",
    multiple=True,
    metavar="NAME",
    help="The accounts, in their order; those of the log by default.",
)
@click.option(
    "--allowance",
    type=Amount(min=0),
    default=0,
    metavar="TOKENS",
    show_default=True,
    help="What an account may use in five hours; 0: no limit.",
)
@click.option(
    "--affinity",
    type=Amount(min=0),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="routing.affinity_seconds; 0: off.",
)
@click.option(
    "--switch-at",
    type=Amount(0, 1),
    default=0.98,
    show_default=True,
    metavar="FRACTION",
    help="routing.switch_at, of the allowance.",
)
@click.option(
    "--max-wait",
    type=Amount(min=0),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="routing.max_wait: who is not served within it is refused.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def simulate(
    logs: tuple[Path, ...],
    strategies: tuple[str, ...],
    names: tuple[str, ...],
    allowance: float,
    affinity: float,
    switch_at: float,
    max_wait: float,
    as_json: bool,
) -> None:
    """Replay the requests of a log through routing strategies, in virtual time, side by side.

    Nothing is sent anywhere, and nothing has to run.

    What is asked, when, how long an answer takes and how many tokens it has are as recorded; who
    serves is chosen by the same code as in `supervisor run`. Modelled, and simply: an allowance of
    tokens per account and five hours (a cached token counts a tenth), and a prompt cache that a
    session loses where it is moved, or pauses for an hour.
    """
    from protocol.replay import WINDOW, Rules, replay
    from protocol.routing import Policy
    from supervisor.price_table import PriceTable

    recorded, found, left_out = _read(logs)
    if not recorded:
        raise Failure(
            exit_codes.FAILED,
            "no request in these files was served by an account and has tokens",
            "--log takes files such as requests-2026-11-21.jsonl of the log directory.",
        )
    accounts = tuple(dict.fromkeys(names)) or found
    prices = PriceTable()
    prices.read()
    rows = [_row("as recorded", recorded, None, prices)]
    for strategy in dict.fromkeys(strategies or _STRATEGIES):
        policy = Policy(strategy, {WINDOW: switch_at}, affinity)
        outcome = replay(recorded, Rules(accounts, policy, allowance, max_wait))
        rows.append(_row(strategy, outcome.requests, outcome, prices))
    if as_json:
        document = {"accounts": accounts, "left_out": left_out, "rows": rows}
        click.echo(json.dumps(document, indent=2))
        return
    from supervisor.cli.simulate_table import show

    show(rows, accounts, left_out)


def _read(logs: Iterable[Path]) -> tuple[list[Recorded], tuple[str, ...], int]:
    """The requests, the accounts in the order of their first one, and how many lines are left out."""
    from protocol.replay import Recorded
    from supervisor.cli.log_line import request_line
    from supervisor.cli.wording import moment
    from supervisor.log_files import blocks

    recorded: list[Recorded] = []
    accounts: dict[str, None] = {}
    left_out = 0
    for path in logs:
        try:
            lines = [line for block in blocks(path) for line in block.split(b"\n") if line.strip()]
        except OSError as error:
            raise Failure(
                exit_codes.PERMISSION if isinstance(error, PermissionError) else exit_codes.FAILED,
                f"the log cannot be read: {path}: {error.strerror or error}",
                "--log takes files such as requests-2026-11-21.jsonl of the log directory.",
            ) from error
        for line in lines:
            told = request_line(line)
            at = moment(told.at) if told is not None else None
            if told is None or at is None or told.account is None or told.output_tokens is None:
                left_out += 1
                continue
            accounts[told.account] = None
            recorded.append(
                Recorded(
                    at.timestamp(),
                    told.session,
                    told.served_model or told.model,
                    (told.ms_total or 0.0) / 1000,
                    told.input_tokens or 0,
                    told.output_tokens,
                    told.cache_read_tokens or 0,
                    told.cache_write_tokens or 0,
                )
            )
    return recorded, tuple(accounts), left_out


def _row(
    name: str, requests: Iterable[Recorded], outcome: Outcome | None, prices: PriceTable
) -> dict[str, object]:
    requests = list(requests)
    dollars, unpriced = _cost(requests, prices)
    row: dict[str, object] = {"strategy": name, "served": len(requests)}
    if outcome is not None:
        row |= {
            "refused": outcome.refused,
            "waited": outcome.waited,
            "waited_seconds": round(outcome.waited_seconds, 3),
            "limited": outcome.limited,
            "moved": outcome.moved,
            "cache_kept": round(outcome.kept / outcome.cached, 4) if outcome.cached else None,
            "by_account": outcome.by_account,
        }
    return {**row, "cost_usd": dollars, "unpriced": unpriced}


def _cost(requests: Iterable[Recorded], prices: PriceTable) -> tuple[float | None, int]:
    from datetime import UTC, datetime

    from protocol.prices import COST_DIGITS, Billed

    total, priced, unpriced = 0.0, 0, 0
    for one in requests:
        dollars = prices.cost(
            Billed(
                datetime.fromtimestamp(one.at, UTC).isoformat(),
                served_model=one.model,
                input_tokens=one.input,
                output_tokens=one.output,
                cache_read_tokens=one.cache_read,
                cache_write_tokens=one.cache_write,
            )
        )
        if dollars is None:
            unpriced += 1
        else:
            total, priced = total + dollars, priced + 1
    return (round(total, COST_DIGITS) if priced else None), unpriced

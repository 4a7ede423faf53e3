"""Of `supervisor status`: the certificate of the front end, and the keys of clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from supervisor.cli.columns import flexible, left, table
from supervisor.cli.key_words import KeyView, limits, whose
from supervisor.cli.status_view import TlsView
from supervisor.cli.wording import ago, duration, moment, printable, remaining

KEYS_MAX = 20
ENDING_SECONDS = 14 * 86400.0
"""Before its end a certificate should have been renewed by then."""


def certificate(tls: TlsView, now: datetime) -> list[Text]:
    """Whose it is and for how long; and why a newer one is not taken over."""
    shown = ", ".join(tls.names) or tls.subject or "unknown names"
    ends = moment(tls.not_after)
    text, colour = shown, "dim"
    if ends is not None:
        seconds = (ends - now).total_seconds()
        text += f", ends in {duration(seconds)}" if seconds > 0 else ", has expired"
        colour = "red" if seconds <= 0 else "yellow" if seconds < ENDING_SECONDS else "dim"
    lines = [_line("certificate ", text, colour)]
    if tls.error:
        lines.append(_line("new certificate not taken over: ", tls.error, "red"))
    return lines


def _held(keys: Sequence[KeyView]) -> list[KeyView]:
    return [key for key in keys if key.state == "valid"]


def keys_told(keys: Sequence[KeyView]) -> str:
    """How many there are."""
    held = len(_held(keys))
    more = f"; {held - KEYS_MAX} more in `supervisor keys list`" if held > KEYS_MAX else ""
    return f"{held} of {len(keys)} valid{more}" if keys else "there are none yet"


def key_table(keys: Sequence[KeyView], width: int, now: datetime) -> list[Table]:
    """Those that are valid; none where there is no such key."""
    columns = [*flexible("name"), *left("expires", "last used"), *flexible("limits")]
    rows = []
    for key in _held(keys)[:KEYS_MAX]:
        left_over = remaining(key.expires, now)
        expires = _text(f"in {left_over}" if left_over else "never")
        used = _text(ago(key.last_used, now) or "never")
        rows.append([_text(whose(key)), expires, used, _text(limits(key))])
    return [table(columns, rows, width)] if rows else []


def _line(label: str, text: str, style: str) -> Text:
    return Text.assemble(label, (printable(text), style))


def _text(text: str) -> Text:
    return Text(printable(text))

"""The help pages of `supervisor keys` and its commands."""

from __future__ import annotations

from supervisor import exit_codes
from supervisor.cli.manual import PLACE_VARIABLES, Manual

_PAGE = "docs/operating.md#keys-for-several-people"
_STORE_EXITS = {exit_codes.PERMISSION: "keys.json may not be read or written"}

KEYS = Manual(
    examples={
        "supervisor keys create --name ann": "Make one, valid for 90 days; it is shown once.",
        "supervisor keys list": "Who has one, until when, and when it was last used.",
        "supervisor keys revoke 3f8a41d0": "Turn it away from now on.",
    },
    files={"keys.json": "in the state directory: names, ends, limits and salted hashes"},
    environment=PLACE_VARIABLES,
    see=(_PAGE, "docs/security.md"),
)
CREATE = Manual(
    examples={
        "supervisor keys create --name ci --days 30 --budget-per-day 5": "Thirty days, five dollars a day.",
        "supervisor keys create --name me --owner > my.key": "Your own; the key alone is on stdout.",
    },
    exits=_STORE_EXITS,
    see=(_PAGE,),
)
LIST = Manual(
    examples={
        "supervisor keys list": "As a table.",
        "supervisor keys list --json": "For programs.",
    },
    exits=_STORE_EXITS,
    see=("supervisor usage", _PAGE),
)
REVOKE = Manual(
    examples={"supervisor keys revoke 3f8a41d0": "The ID is in `supervisor keys list`."},
    exits={exit_codes.FAILED: "there is no such key", **_STORE_EXITS},
    see=("supervisor keys list", _PAGE),
)
DELETE = Manual(
    examples={
        "supervisor keys delete 3f8a41d0": "One that is over or revoked.",
        "supervisor keys delete 3f8a41d0 --force": "One that is still valid.",
    },
    exits={exit_codes.FAILED: "there is no such key, or it is still valid", **_STORE_EXITS},
    see=("supervisor keys revoke", _PAGE),
)

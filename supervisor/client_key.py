"""The key that clients without a login of their own are given. It opens nothing but this program.

Random per state directory and kept there, so that a session which was started with it is still
known after a restart.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from protocol.secrets import Secret
from supervisor.files import replace_file

FILE_NAME = "client.key"
PREFIX = "llm-supervisor-"
_BYTES = 16


def known_key(state_directory: Path) -> Secret | None:
    """The key, if one was ever made."""
    try:
        text = (state_directory / FILE_NAME).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Secret(text) if text.startswith(PREFIX) and len(text) > len(PREFIX) else None


def client_key(state_directory: Path) -> Secret:
    """The key, made where there is none. One that cannot be written serves until the end."""
    known = known_key(state_directory)
    if known is not None:
        return known
    made = PREFIX + secrets.token_hex(_BYTES)
    with contextlib.suppress(OSError):
        replace_file(state_directory / FILE_NAME, made.encode() + b"\n")
    return Secret(made)

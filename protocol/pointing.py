"""When the settings guard points clients here and when away: a decision a second, over one state.

Only our own reachability counts. An upstream that fails or an account that is spent is answered,
never bypassed. Away after three probes in a row went unanswered; back after ten seconds, the last
three probes of which were answered; and who has to go away twice within a minute stays away.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Mode = Literal["off", "pointed", "stood back", "restored"]
Action = Literal["none", "point", "restore"]

BAD_PROBES = 3
GOOD_PROBES = 3
CALM_SECONDS = 10.0
FLIP_SECONDS = 60.0

NOT_REACHABLE = "this program could not be reached"
FLAPPING = (
    "this program could not be reached twice within a minute, so the client stays away; "
    "`supervisor client apply` points it here again"
)


class ClientFile(msgspec.Struct, frozen=True):
    """One settings file, as the guard left it."""

    path: str
    did: str
    reason: str = ""
    keys: tuple[str, ...] = ()


class Pointing(msgspec.Struct, frozen=True):
    """What the guard knows. Times are seconds of the monotonic clock.

    `bad`, `good`: probes in a row. `away_at`: when we last went away because nobody reached us.
    `settled`: nothing more is done by itself (somebody else decided, or we flapped).
    """

    mode: Mode = "off"
    reason: str = ""
    files: tuple[ClientFile, ...] = ()
    bad: int = 0
    good: int = 0
    away_at: float | None = None
    settled: bool = False


def probed(
    state: Pointing, answered: bool, now: float, *, stay: bool = False
) -> tuple[Pointing, Action]:
    """One probe's result. `stay`: `client.on_down = "stay"`."""
    bad, good = (0, state.good + 1) if answered else (state.bad + 1, 0)
    state = msgspec.structs.replace(state, bad=bad, good=good)
    if state.mode == "pointed" and bad >= BAD_PROBES and not stay:
        return _away(state, now), "restore"
    calm = state.away_at is None or now - state.away_at >= CALM_SECONDS
    if state.mode == "restored" and not state.settled and good >= GOOD_PROBES and calm:
        return state, "point"
    return state, "none"


def pointed(state: Pointing, files: tuple[ClientFile, ...]) -> Pointing:
    """After an attempt to point: at least one file, or we stand back."""
    ours = [file for file in files if file.did == "pointed"]
    first = next(iter(ours or files), None)
    return msgspec.structs.replace(
        state,
        mode="pointed" if ours else "stood back",
        reason=first.reason if first else "there is no settings file to change",
        files=files,
        bad=0,
        settled=not ours,
    )


def taken(state: Pointing, path: str, reason: str) -> Pointing:
    """Somebody else changed the base URL of that file: it is theirs from now on."""
    files = tuple(
        ClientFile(file.path, "stood back", reason) if file.path == path else file
        for file in state.files
    )
    return pointed(state, files)


def stopped(state: Pointing, reason: str) -> Pointing:
    """Not pointed any more, and not because of a failure."""
    files = tuple(ClientFile(file.path, "restored") for file in state.files)
    return msgspec.structs.replace(state, mode="restored", reason=reason, files=files, settled=True)


def off(reason: str) -> Pointing:
    """Clients are not managed."""
    return Pointing(reason=reason, settled=True)


def view(state: Pointing) -> dict[str, Any]:
    """`client` of `GET /status`: `state`, and the first file with its reason; all in `files`."""
    first = state.files[0] if state.files else None
    return {
        "state": state.mode,
        "file": first.path if first else "",
        "reason": state.reason,
        "files": [
            {"file": file.path, "state": file.did, "keys": list(file.keys), "reason": file.reason}
            for file in state.files
        ],
    }


def _away(state: Pointing, now: float) -> Pointing:
    flapping = state.away_at is not None and now - state.away_at < FLIP_SECONDS
    return msgspec.structs.replace(
        state,
        mode="restored",
        reason=FLAPPING if flapping else NOT_REACHABLE,
        files=tuple(
            ClientFile(file.path, "restored" if file.did == "pointed" else file.did, file.reason)
            for file in state.files
        ),
        away_at=now,
        settled=flapping,
    )

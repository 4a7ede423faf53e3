"""Other processes at the same settings file: `python -m tests.supervisor.settings_writers ROLE ...`.

`edits FILE COUNT`: somebody who sets `"counter"` again and again, in turns by an atomic rename and
in place, and looks whether it stays. Prints how many edits were lost for good.
`guard STATE FILE`: points and puts back for ever, until it is killed.
`in-place FILE`: the control of that: writes the same content over the file without any care.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from protocol.client_judgement import Circumstances
from protocol.client_lease import Holder
from supervisor.client_point import Wanted, point_clients
from supervisor.client_settings import finish, restore

EDIT_SECONDS = 0.006
PATIENCE_SECONDS = 0.5
"""For an edit to be seen again; the guard's moment between two exchanges is a thousandth of it."""


def read(path: Path) -> dict[str, object]:
    """The document, once nobody is in the middle of writing it."""
    while True:
        try:
            found: dict[str, object] = json.loads(path.read_bytes())
            return found
        except (ValueError, FileNotFoundError):
            time.sleep(0.0002)


def edit(path: Path, number: int) -> None:
    document = read(path)
    document["counter"] = number
    text = json.dumps(document, indent=2).encode()
    if number % 2:
        path.write_bytes(text)
    else:
        temporary = path.with_name("theirs.tmp")
        temporary.write_bytes(text)
        temporary.replace(path)


def edits(path: Path, count: int) -> int:
    """How many of them were lost for good."""
    lost = 0
    chance = random.Random(7)
    for number in range(count):
        time.sleep(chance.uniform(0, EDIT_SECONDS))  # so that the guard has its turn as well
        edit(path, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while read(path).get("counter") != number:
            if time.monotonic() > deadline:
                lost += 1
                break
            time.sleep(0.0005)
    return lost


def wanted(path: Path, port: int) -> Wanted:
    here = Circumstances(f"http://127.0.0.1:{port}", replace=True)
    return Wanted((str(path),), here, {"X": "1"}, "https://direct.test", 1.0)


def guard(state: Path, path: Path) -> None:
    port = 4080
    while True:
        point_clients(state, wanted(path, port), Holder(), answers=lambda _: "nobody")
        restore(state)
        finish(state)


def in_place(path: Path) -> None:
    text = path.read_bytes()
    while True:
        path.write_bytes(text)


def main() -> None:
    role, *arguments = sys.argv[1:]
    os.write(1, b"ready\n")
    if role == "edits":
        lost = edits(Path(arguments[0]), int(arguments[1]))
        os.write(1, f"{lost}\n".encode())
    elif role == "guard":
        guard(Path(arguments[0]), Path(arguments[1]))
    else:
        in_place(Path(arguments[0]))


if __name__ == "__main__":
    main()

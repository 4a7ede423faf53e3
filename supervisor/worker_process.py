"""The worker's process: what the keeper starts. Its argument is the number of its end of the line."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
from pathlib import Path

PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def main(descriptor: int) -> int:
    """Serves until told to stop; gives back the exit code."""
    # Nothing that imports make is garbage; looking for some in it took a seventh of the start.
    gc.disable()
    # Here and not at the top: run as a file, this has no packages beside it before `_find_packages`.
    from supervisor import kept_life
    from supervisor.cli.running import unusable
    from supervisor.instance import StateDirectoryUnusable
    from supervisor.keeper_line import KeeperGone, KeeperLine

    gc.enable()
    line = socket.socket(fileno=descriptor)
    line.set_inheritable(False)
    wake_when_the_keeper_dies()
    try:
        kept = KeeperLine(line)
    except KeeperGone:
        return 0
    try:
        return kept_life.run_kept(kept, os.environ)
    except StateDirectoryUnusable as error:
        failure = unusable(error)
        failure.show()
        return failure.exit_code


def wake_when_the_keeper_dies() -> None:
    """Ctrl-Z stops this process too; should the keeper be killed then, it must not sleep for ever.

    Linux alone can do this.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, int(signal.SIGCONT))


def command() -> tuple[str, ...]:
    """What starts this file, before the number.

    Not `-m`, which would look for packages in the working directory first: a folder `server` of
    somebody's project is not ours.
    """
    return (sys.executable, "-P", str(Path(__file__).absolute()))


def _find_packages() -> None:
    root = str(Path(__file__).absolute().parent.parent)
    if root not in sys.path:
        sys.path.insert(0, root)


if __name__ == "__main__":
    _find_packages()
    sys.exit(main(int(sys.argv[1])))

"""How many connections this process may have: each one in front costs another one behind."""

from __future__ import annotations

import os
import sys

RESERVED = 24
"""Descriptors for everything else: event loop, lock, listening socket, log, files being read."""

ENOUGH = 65536
"""Wanted where the system sets no limit; a real number, because some systems refuse "unlimited"."""

if sys.platform == "win32":

    def raise_limit() -> int:
        """There is no such limit there."""
        return sys.maxsize

else:
    import resource

    def raise_limit() -> int:
        """Raises the soft limit of open files to the hard one; gives back what is in force."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = ENOUGH if hard == resource.RLIM_INFINITY else hard
        if soft != resource.RLIM_INFINITY and soft < wanted:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (OSError, ValueError):  # macOS has a second limit, below the one it tells
                return soft
            return wanted
        return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def connections_max(limit: int) -> int:
    """Of clients, so that each of them can have an upstream connection beside its own."""
    return max((limit - RESERVED) // 2, 1)


def inherited(descriptor: int) -> int:
    """The same, which ends here: whatever this process starts does not get it."""
    os.set_inheritable(descriptor, False)
    return descriptor

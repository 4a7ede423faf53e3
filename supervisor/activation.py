"""A listening socket that the service manager holds and hands over: sd_listen_fds(3).

Then the port outlives the program: clients wait while it is restarted, and the first one starts it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import MutableMapping

from supervisor import exit_codes
from supervisor.cannot_serve import CannotServe
from supervisor.listening import address_of

FIRST = 3
"""SD_LISTEN_FDS_START."""


def handed_over(environ: MutableMapping[str, str], host: str, port: int) -> socket.socket | None:
    """The socket that was handed over to this process, None where none was.

    It has to be what the configuration says, `host` and `port`: who may be let in was judged by
    that. Takes the variables away. Raises CannotServe.
    """
    mine = environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not mine or count in ("", "0"):
        return None
    if count != "1":
        raise CannotServe(
            exit_codes.CONFIGURATION, f"the socket unit has {count} sockets; one can be used"
        )
    return _usable(FIRST, host, port)


def _usable(descriptor: int, host: str, port: int) -> socket.socket:
    try:
        listening = socket.socket(fileno=descriptor)
    except OSError as error:
        raise _refused(f"descriptor {descriptor} is no socket: {error.strerror}") from error
    try:
        if listening.family not in (socket.AF_INET, socket.AF_INET6):
            raise _refused("the socket unit must have a TCP address: ListenStream=HOST:PORT")
        if not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise _refused("the socket unit's socket does not listen: Accept=no is needed")
        found = address_of(listening)
        if (found[1] != port and port != 0) or not _same_host(found[0], host):
            raise _refused(
                f"the socket unit listens on {found[0]}:{found[1]}, the configuration says "
                f"{host}:{port}; write it anew with `supervisor service install --socket`"
            )
        listening.set_inheritable(False)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _same_host(bound: str, wanted: str) -> bool:
    address = ipaddress.ip_address(bound)
    try:
        found = socket.getaddrinfo(wanted, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(address == ipaddress.ip_address(str(entry[4][0])) for entry in found)


def _refused(message: str) -> CannotServe:
    return CannotServe(exit_codes.CONFIGURATION, message)

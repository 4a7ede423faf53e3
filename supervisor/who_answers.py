"""Who answers at a loopback URL, in a second at most. Standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
from urllib.parse import urlsplit

from protocol.client_judgement import Answer

SECONDS = 1.0
_BYTES_MAX = 64 * 1024


def who_answers(url: str) -> Answer:
    """`nobody` where no connection comes about; `supervisor` where `/health/live` names an
    instance; else `somebody`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        connection = _connection(parts.scheme, host, port)
    except ValueError:
        return "nobody"
    try:
        connection.connect()
    except OSError:
        return "nobody"
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health/live")
        document = json.loads(connection.getresponse().read(_BYTES_MAX))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return "somebody"
    finally:
        connection.close()
    named = isinstance(document, dict) and isinstance(document.get("instance"), str)
    return "supervisor" if named else "somebody"


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    # Who answers on this machine is asked, nothing is told: the certificate does not matter.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)

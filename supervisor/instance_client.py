"""Small HTTP calls from the command line to the running instance.

With the standard library: `status` should be on the screen before a full HTTP client is imported,
and no proxy of the environment may stand between a machine and itself.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.secrets import Secret
    from supervisor.instance import Instance

TIMEOUT_SECONDS = 5.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024

_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here


class NothingAnswers(Exception):
    """No connection, no answer in time, or something there that does not speak HTTP or JSON."""


class Refused(Exception):
    """The instance answered with a status other than 2xx.

    `body` is its JSON, None where there was none; `message` is the error's own text.
    """

    def __init__(self, status: int, message: str, body: object = None) -> None:
        self.status = status
        self.message = message
        self.body = body
        super().__init__(f"{message} (status {status})")


def reachable_host(host: str) -> str:
    """The address to connect to for a server that listens on `host`: loopback for a wildcard."""
    bare = host.removeprefix("[").removesuffix("]")
    return _WILDCARDS.get(bare, bare)


def get_json(
    instance: Instance,
    path: str,
    *,
    token: Secret | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> object:
    """GET `path`, decoded. `timeout` is seconds per socket operation.

    Raises NothingAnswers or Refused.
    """
    return _call(instance, "GET", path, token, timeout)


def post_json(
    instance: Instance,
    path: str,
    *,
    token: Secret | None = None,
    timeout: float = TIMEOUT_SECONDS,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> object:
    """POST `body` (JSON), or an empty one, to `path`; the answer decoded, None where it is empty.

    Raises NothingAnswers or Refused.
    """
    more = dict(headers or {})
    if body is not None:
        more["content-type"] = "application/json"
    return _call(instance, "POST", path, token, timeout, more, body)


def _call(
    instance: Instance,
    method: str,
    path: str,
    token: Secret | None,
    timeout: float,
    more: Mapping[str, str] = MappingProxyType({}),
    sent: bytes | None = None,
) -> object:
    headers = {"accept": "application/json", "connection": "close", **more}
    if token:
        headers["authorization"] = f"Bearer {token.reveal()}"
    connection = _connect(instance, timeout)
    try:
        connection.request(method, path, body=sent, headers=headers)
        response = connection.getresponse()
        status, data = response.status, response.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise NothingAnswers(f"{instance.url}: {_reason(error)}") from error
    finally:
        connection.close()
    succeeded = 200 <= status < 300
    try:
        body = json.loads(data) if data else None
    except ValueError as error:
        if succeeded:
            raise NothingAnswers(f"{instance.url} does not answer with JSON") from error
        body = None
    if not succeeded:
        raise Refused(status, _message(body) or http.client.responses.get(status, ""), body)
    return body


def _connect(instance: Instance, timeout: float) -> http.client.HTTPConnection:
    host = reachable_host(instance.host)
    if instance.scheme != "https":
        return http.client.HTTPConnection(host, instance.port, timeout=timeout)
    # Not verified: the certificate is made out to a public name, while this connects to an address
    # of this very machine, which the owner-only instance file gave. Who answers is proven by the
    # instance id, before any token is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, instance.port, timeout=timeout, context=context)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _message(body: object) -> str:
    """The text of an error answer, `{"type": "error", "error": {"type", "message"}}`."""
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""

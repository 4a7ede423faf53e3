"""Looking at this machine: ports, certificates, the service, and one question to the upstream."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.config import Config
from protocol.secrets import scrub
from supervisor import listening, picker
from supervisor.certificate_pair import CertificateUnusable, read_pair
from supervisor.doctor.facts import PickerFact, UpstreamFact
from supervisor.doctor.port_owner import owner_of
from supervisor.plain_files import read_plain, trouble

if TYPE_CHECKING:
    from supervisor.cli.running import RunningInstance

UPSTREAM_SECONDS = 10.0


def front_door(found: RunningInstance) -> str:
    """What is wrong with the answers of the running instance that nobody else has a part in.

    The message names an account that cannot be, so it goes the whole way to the dispatcher, and not
    upstream (`interface.md` rule 11).
    """
    from supervisor.instance_client import NothingAnswers, Refused, post_json

    nobody = found.instance.nobody
    token = found.credential()
    headers = {"x-account-name": nobody}
    if token is not None:  # where the usual headers are for the client's own credential
        headers["x-supervisor-key"] = token.reveal()
    try:
        post_json(
            found.instance, "/v1/messages?beta=true",
            token=token, headers=headers, body=_MESSAGE,
        )  # fmt: skip
    except NothingAnswers as error:
        return str(error)
    except Refused as refusal:
        if refusal.status == 404 and nobody in refusal.message:
            return ""
        if refusal.status == 401 and token is None:  # as it should: it wants what we have not got
            return ""
        return f"a message for an account that does not exist was answered with {refusal}"
    return "a message for an account that does not exist was served"


_MESSAGE = b'{"model":"claude-doctor-1","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'


def port_owner(config: Config) -> str:
    """Who has the configured port, where none of ours runs; "" where it is free."""
    server = config.server
    if server.port == 0:
        return ""
    try:
        listening.listen(server.host, server.port).close()
    except OSError:
        return owner_of(server.port) or "another program"
    return ""


def picker_cache(directory: Path) -> PickerFact:
    path = directory / picker.CACHE
    try:
        content = read_plain(str(path))
        if content is None:
            return PickerFact()
        document = json.loads(content)
        entries = [entry for entry in document["models"] if isinstance(entry, dict)]
        models = tuple(str(entry.get("id")) for entry in entries)
        return PickerFact(str(path), str(document.get("baseUrl", "")), models)
    except NotADirectoryError:
        return PickerFact()
    except OSError as error:
        return PickerFact(str(path), problem=str(trouble(str(path), error)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return PickerFact(str(path), problem=f"{path} is not what Claude Code writes there")


def shown_models(found: RunningInstance | None) -> tuple[str, ...]:
    """The models of the running instance that Claude Code would show, beside Anthropic's own."""
    from supervisor.instance_client import NothingAnswers, Refused

    if found is None:
        return ()
    try:
        answer = found.get("/status/models")
    except (NothingAnswers, Refused):
        return ()
    models = answer.get("models") if isinstance(answer, dict) else None
    listed = models if isinstance(models, list) else ()
    names = [str(model.get("id")) for model in listed if isinstance(model, dict)]
    return tuple(name for name in names if any(word in name.lower() for word in picker.SHOWN))


def stale_service(config: Config, environ: Mapping[str, str]) -> str:
    """Why the installed service is not what it should be; "" where none is installed."""
    from supervisor.service.keeping import NoKeeper, keeper_of

    try:
        keeper = keeper_of(environ)
    except NoKeeper:
        return ""
    for path in keeper.installed():
        try:
            content = path.read_bytes()
        except OSError as error:
            return f"{path} cannot be read: {error.strerror or error}"
        program = keeper.starts(content)
        if program and not os.access(program, os.X_OK):
            return f"{path} starts {program}, which is not there"
    return ""


def certificate_files(config: Config, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Those that are named and cannot be used, each with the reason."""
    named = {
        "SSL_CERT_FILE": environ.get("SSL_CERT_FILE", ""),
        "upstream.ca_file": config.upstream.ca_file,
    }
    for name, path in named.items():
        if not path:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except ssl.SSLError:
            yield name, f"{path} has no certificate in PEM form"
        except OSError as error:
            yield name, f"{path} cannot be read: {error.strerror or error}"
    directory = environ.get("SSL_CERT_DIR", "")
    if directory and not any(Path(part).is_dir() for part in directory.split(os.pathsep)):
        yield "SSL_CERT_DIR", f"{directory} is no directory"


def own_certificate(config: Config) -> tuple[str, float | None]:
    """What is wrong with `[server] tls_certificate` and its key, and when it ends (epoch seconds)."""
    if not config.server.tls_certificate:
        return "", None
    try:
        certificate = read_pair(config.server).certificate
    except CertificateUnusable as reason:
        return str(reason), None
    return "", certificate.ends if certificate is not None else None


def asked_upstream(config: Config, environ: Mapping[str, str]) -> UpstreamFact:
    """`HEAD /` without a credential, over the same connections as requests take."""
    import trio

    from server.upstream import DirectUpstream, tls_context
    from server.upstream_port import Limits, UpstreamFault, UpstreamRequest

    base_url = config.upstream.base_url
    fact = UpstreamFact(base_url)

    async def ask() -> UpstreamFact:
        limits = Limits(
            connect_timeout=min(config.upstream.connect_timeout, UPSTREAM_SECONDS),
            response_timeout=UPSTREAM_SECONDS,
            idle_timeout=UPSTREAM_SECONDS,
        )
        tls = tls_context(config.upstream.ca_file)
        client = DirectUpstream(base_url, limits, tls, environment=environ)
        request = UpstreamRequest("HEAD", b"/", [(b"user-agent", b"llm-supervisor")], b"")
        try:
            with trio.fail_after(2 * UPSTREAM_SECONDS):
                async with client.send(request) as response:
                    headers = dict(response.headers)
                    return UpstreamFact(
                        base_url, date=_date(headers.get(b"date", b"")), asked_at=time.time()
                    )
        except UpstreamFault as fault:
            return UpstreamFact(base_url, fault.kind.value, scrub(fault.detail))
        except trio.TooSlowError:
            return UpstreamFact(base_url, "timeout", f"nothing in {2 * UPSTREAM_SECONDS:g} s")
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                await client.aclose()

    with contextlib.suppress(OSError, ssl.SSLError):  # a file of trust anchors: told elsewhere
        fact = trio.run(ask)
    return fact


def _date(text: bytes) -> float | None:
    try:
        return parsedate_to_datetime(text.decode("ascii")).timestamp()
    except (ValueError, TypeError, UnicodeDecodeError):
        return None

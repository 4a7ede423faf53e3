"""nginx: as the upstream of a comparison, and as one of the relays that are compared."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme
from running import START_SECONDS, STOP_SECONDS, Failed

EVENTS = 200
SIZES = {"2KB": 2_048, "200KB": 204_800, "2MB": 2_097_152}


@dataclass(frozen=True)
class Upstream:
    """`ca_file` "" means plain HTTP, else the authority of its certificate."""

    port: int
    ca_file: str = ""

    @property
    def scheme(self) -> str:
        """Of its URL."""
        return "https" if self.ca_file else "http"

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"{self.scheme}://{'localhost' if self.ca_file else '127.0.0.1'}:{self.port}"


_HEAD = """\
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_max_body_size 64m;
  client_body_buffer_size 64m;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  keepalive_requests 100000000;
  keepalive_timeout 600;
  sendfile on;
"""

# A file answers only GET; the answer to everything else is turned into the file as well.
_UPSTREAM = """\
  server {{
    listen 127.0.0.1:{port}{tls};
    root {home}/files;
    default_type application/json;
    types {{ text/event-stream sse; application/json json; }}
    add_header request-id req_bench always;
    add_header anthropic-ratelimit-unified-status allowed always;
    add_header anthropic-ratelimit-unified-5h-utilization 0.12 always;
    add_header anthropic-ratelimit-unified-5h-reset 4102444800 always;
    add_header anthropic-ratelimit-unified-5h-status allowed always;
    location /v1/messages {{
      error_page 405 =200 /answer$is_args$args;
      if ($arg_answer = "") {{ rewrite ^ /2KB.json break; }}
      rewrite ^ /$arg_answer break;
    }}
    location /answer {{
      rewrite ^ /$arg_answer break;
    }}
  }}
}}
"""

_RELAY = """\
  upstream there {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {scheme}://there;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_ssl_session_reuse on;
    }}
  }}
}}
"""


def found() -> str | None:
    """The program, where it is installed (Debian: `apt install nginx-light`)."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def upstream(home: Path, *, tls: bool = False) -> Iterator[Upstream]:
    """An upstream far faster than any relay. `?answer=` names what it answers."""
    files = home / "files"
    files.mkdir(parents=True)
    for name, size in SIZES.items():
        (files / f"{name}.json").write_bytes(_message(size))
    (files / "stream.sse").write_bytes(_stream())
    for path in (home, files, *files.iterdir()):
        path.chmod(0o755)
    with _running(home, _UPSTREAM, tls=_certificate(home) if tls else "") as (port, _):
        yield Upstream(port, str(home / "ca.pem") if tls else "")


@contextlib.contextmanager
def relay(home: Path, there: Upstream) -> Iterator[tuple[int, int]]:
    """nginx as a relay with one worker: its port and the process id of its master."""
    home.mkdir(parents=True)
    home.chmod(0o755)
    with _running(home, _RELAY, upstream=there.port, scheme=there.scheme) as started:
        yield started


def _certificate(home: Path) -> str:
    """What the `listen` line needs to speak TLS."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    for place, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(str(home / "chain.pem"), append=place > 0)
    leaf.private_key_pem.write_to_path(str(home / "key.pem"))
    return (
        f" ssl;\n    ssl_certificate {home}/chain.pem;\n"
        f"    ssl_certificate_key {home}/key.pem;\n    ssl_session_cache shared:s:1m"
    )


@contextlib.contextmanager
def _running(home: Path, server: str, **values: object) -> Iterator[tuple[int, int]]:
    program = found()
    if program is None:
        raise Failed("nginx is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    configuration = home / "nginx.conf"
    configuration.write_text((_HEAD + server).format(home=home, port=port, **values), "utf-8")
    process = subprocess.Popen(
        [program, "-p", str(home), "-c", str(configuration), "-e", str(home / "error.log")]
    )
    try:
        _wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise Failed("nginx did not start")


def _message(size: int) -> bytes:
    usage = {"input_tokens": 12, "output_tokens": 34}
    message = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": ""}],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    message["content"] = [{"type": "text", "text": "x" * (size - len(json.dumps(message)))}]
    return json.dumps(message).encode()


def _stream() -> bytes:
    """Events of the sizes that are seen: a few words each."""
    usage = {"input_tokens": 12, "output_tokens": 1}
    message = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [],
        "usage": usage,
    }
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": " some words of it"},
    }
    events = [
        {"type": "message_start", "message": message},
        start,
        *[delta] * (EVENTS - 5),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 99},
        },
        {"type": "message_stop"},
    ]
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )

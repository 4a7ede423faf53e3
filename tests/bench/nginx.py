"""nginx: as the upstream of a comparison, and as one of the relays that are compared."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import recorded
import trustme
from running import START_SECONDS, STOP_SECONDS, Failed

CONNECTIONS = 8192
"""At both ends together, for one nginx."""


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
worker_rlimit_nofile {descriptors};
events {{ worker_connections {connections}; }}
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

# A file answers only GET; the answer to everything else is turned into the file as well. What is no
# file (no dot in its name) lives, and is answered by `upstream.py` behind it. `&whole=1` answers no
# sooner than the request's body is read, as every real upstream does; a relay that sends on what it
# reads would else be answered in the middle, and nginx takes that badly.
_UPSTREAM = """\
  map $request_uri $named {{ "~^/as/([^/?]+)/" $1; default $arg_answer; }}
  map $named $wanted {{ "" 2KB.json; default $named; }}
  upstream files {{ server unix:{home}/files.sock; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen unix:{home}/files.sock;
    root {home}/files;
    types {{ application/json json; }}
  }}
  upstream live {{ server 127.0.0.1:{live}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096{tls};
    root {home}/files;
    default_type application/json;
    types {{ text/event-stream sse; application/json json; }}
    location / {{
      error_page 405 =200 /answer;
      error_page 418 = @live;
      error_page 419 = @whole;
      if ($wanted !~ "[.]") {{ return 418; }}
      if ($arg_whole) {{ return 419; }}
      add_header request-id req_bench always;
      add_header anthropic-ratelimit-unified-status allowed always;
      add_header anthropic-ratelimit-unified-5h-utilization 0.12 always;
      add_header anthropic-ratelimit-unified-5h-reset 4102444800 always;
      add_header anthropic-ratelimit-unified-5h-status allowed always;
      rewrite ^ /$wanted break;
    }}
    location = /answer {{
      internal;
      add_header request-id req_bench always;
      add_header anthropic-ratelimit-unified-status allowed always;
      add_header anthropic-ratelimit-unified-5h-utilization 0.12 always;
      add_header anthropic-ratelimit-unified-5h-reset 4102444800 always;
      add_header anthropic-ratelimit-unified-5h-status allowed always;
      rewrite ^ /$wanted break;
    }}
    location @whole {{
      proxy_method GET;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      rewrite ^ /$wanted break;
      proxy_pass http://files;
    }}
    location @live {{
      proxy_pass http://live;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""

_RELAY = """\
  upstream there {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {scheme}://there;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 600s;
{secured}    }}
  }}
}}
"""

_SECURED = """\
      proxy_ssl_session_reuse on;
      proxy_ssl_verify on;
      proxy_ssl_name localhost;
      proxy_ssl_trusted_certificate {ca_file};
"""


def found() -> str | None:
    """The program, where it is installed (Debian: `apt install nginx-light`)."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def upstream(home: Path, live: int, *, tls: bool = False) -> Iterator[Upstream]:
    """An upstream far faster than any relay, and what lives on port `live` behind it.

    `?answer=`, or a path `/as/ANSWER/...`, names what it answers.
    """
    files = home / "files"
    files.mkdir(parents=True)
    for name, size in recorded.SIZES.items():
        (files / f"{name}.json").write_bytes(recorded.message(size))
    (files / "stream.sse").write_bytes(b"".join(recorded.events()))
    for path in (home, files, *files.iterdir()):
        path.chmod(0o755)
    secured = _certificate(home) if tls else ""
    with _running(home, _UPSTREAM, tls=secured, live=live) as (port, _):
        yield Upstream(port, str(home / "ca.pem") if tls else "")


@contextlib.contextmanager
def relay(home: Path, there: Upstream) -> Iterator[tuple[int, int]]:
    """nginx as a relay with one worker: its port and the process id of its master."""
    home.mkdir(parents=True)
    home.chmod(0o755)
    secured = _SECURED.format(ca_file=there.ca_file) if there.ca_file else ""
    values = {"upstream": there.port, "scheme": there.scheme, "secured": secured}
    with _running(home, _RELAY, **values) as started:
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
    configuration.write_text(
        (_HEAD + server).format(
            home=home, port=port, connections=CONNECTIONS, descriptors=2 * CONNECTIONS, **values
        ),
        "utf-8",
    )
    process = subprocess.Popen(
        [program, "-p", str(home), "-c", str(configuration), "-e", str(home / "error.log")]
    )
    try:
        _wait_for(port, process, home)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _wait_for(port: int, process: subprocess.Popen[bytes], home: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    log = next((file for file in home.glob("error.log")), None)
    raise Failed(f"nginx did not start: {log.read_text('utf-8')[-1000:] if log else 'no log'}")

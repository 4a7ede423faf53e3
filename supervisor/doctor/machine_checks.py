"""The machine: clock, file rights, disk, and the way to the upstream."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.proxies import ProxyInvalid, proxy_for
from supervisor.doctor.facts import Facts
from supervisor.doctor.finding import Finding, Level

SKEW_SECONDS = 60.0
"""From here on reset times and expiry dates are misjudged for longer than their margins."""
FREE_BYTES_LEAST = 200 * 2**20
FREE_FILES_LEAST = 1000
CERTIFICATE_SECONDS_LEFT = 14 * 86400.0

_CLOCK_FIX = "set the clock by the network: `timedatectl set-ntp true`, or the system's settings."


def clock(facts: Facts) -> Iterator[Finding]:
    """Against the upstream's `Date`, where it was asked. Offline only a clock that went back can be
    known: by files and a start that lie in the future."""
    asked = facts.upstream
    if asked is not None and asked.date is not None:
        skew = asked.asked_at - asked.date
        if abs(skew) > SKEW_SECONDS:
            where = "ahead of" if skew > 0 else "behind"
            said = f"this clock is {abs(skew):.0f} s {where} the upstream's"
            yield Finding("clock-skew", said, _CLOCK_FIX)
        return
    newest = max(facts.files, key=lambda file: file.modified_at, default=None)
    if newest is not None and newest.modified_at > facts.now + SKEW_SECONDS:
        ahead = newest.modified_at - facts.now
        said = f"{newest.path} was written {ahead:.0f} s in the future: the clock went back"
        yield Finding("clock-skew", said, _CLOCK_FIX)


def state_rights(facts: Facts) -> Iterator[Finding]:
    for file in facts.files:
        if file.directory and not file.writable:
            yield Finding(
                "state-rights",
                f"{file.path} cannot be written",
                "make it yours (chown, chmod 700), or set SUPERVISOR_STATE_DIR to another one.",
            )
        elif file.directory and file.open_to_others:
            yield Finding(
                "state-rights", f"others can look into {file.path}", f"chmod 700 {file.path}"
            )


def secret_rights(facts: Facts) -> Iterator[Finding]:
    for file in facts.files:
        if file.secret and file.open_to_others and not file.directory:
            yield Finding(
                "secret-rights",
                f"others can read {file.path}",
                f"chmod 600 {file.path}, and renew what is in it if they could have.",
            )


def settings_rights(facts: Facts) -> Iterator[Finding]:
    for file in facts.settings:
        if facts.config.client.manage and not file.writable and not file.problem:
            yield Finding(
                "settings-rights",
                f"{file.path} cannot be written, so it is not pointed here",
                "make it and its directory yours, or set client.manage = false.",
            )


def disk(facts: Facts) -> Iterator[Finding]:
    few = facts.free_files is not None and facts.free_files < FREE_FILES_LEAST
    if facts.free_bytes < FREE_BYTES_LEAST or few:
        left = f"{facts.free_files} files" if few else f"{facts.free_bytes // 2**20} MiB"
        yield Finding(
            "disk-low",
            f"{left} are left on the disk of {facts.state_directory}",
            "make room, lower logs.maximum_bytes, or move logs.directory: new tokens have to be "
            "written, or a login is lost.",
        )


def upstream(facts: Facts) -> Iterator[Finding]:
    asked = facts.upstream
    if asked is not None and asked.kind and asked.kind != "certificate":
        yield Finding(
            "upstream-unreachable",
            f"{asked.base_url} cannot be reached ({asked.kind}): {asked.detail}",
            "check the network, upstream.base_url, and whether a proxy is needed (HTTPS_PROXY).",
        )


def certificate(facts: Facts) -> Iterator[Finding]:
    asked = facts.upstream
    if asked is not None and asked.kind == "certificate":
        yield Finding(
            "certificate-refused",
            f"the certificate of {asked.base_url} is not trusted: {asked.detail}",
            "where a proxy opens TLS, set upstream.ca_file to its authority's PEM file.",
        )


def certificate_files(facts: Facts) -> Iterator[Finding]:
    for named, problem in facts.certificate_files:
        yield Finding(
            "certificate-file",
            f"{named}: {problem}",
            "name a PEM file that this user may read, or remove the setting.",
        )


def own_certificate(facts: Facts) -> Iterator[Finding]:
    problem, ends = facts.own_certificate
    fix = "renew it, and put certificate and key where server.tls_certificate and tls_key say; a "
    fix += "running instance takes them over by itself."
    refused = (facts.status.get("tls") or {}).get("error")
    if problem:
        yield Finding("server-certificate", f"server.tls_certificate: {problem}", fix)
    elif refused:
        said = f"the running instance does not take over the new certificate: {refused}"
        yield Finding("server-certificate", said, fix)
    elif ends is not None and ends - facts.now < CERTIFICATE_SECONDS_LEFT:
        days = int((ends - facts.now) // 86400)
        said = f"it ends in {days} day{'' if days == 1 else 's'}" if days >= 0 else "it has expired"
        level: Level = "note" if days >= 0 else "wrong"
        yield Finding("server-certificate", f"server.tls_certificate: {said}", fix, level)


def proxies(facts: Facts) -> Iterator[Finding]:
    for scheme in ("https", "http"):
        try:
            proxy_for(
                scheme, "doctor.invalid", 443, {**facts.environ, "NO_PROXY": "", "no_proxy": ""}
            )
        except ProxyInvalid as reason:
            yield Finding(
                "proxy-unusable",
                str(reason),
                "use an http:// proxy (SOCKS cannot be used), or unset the variable.",
            )
            return


def loopback(facts: Facts) -> Iterator[Finding]:
    """Clients, not we: this program never asks a proxy for this machine."""
    environ = facts.environ
    names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    used = [name for name in names if environ.get(name)]
    excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    words = {word.strip().partition(":")[0] for word in excepted.split(",")}
    if used and not words & {"*", "127.0.0.1", "127.0.0.0/8", "localhost"}:
        yield Finding(
            "loopback-proxied",
            f"{used[0]} is set and NO_PROXY does not except 127.0.0.1: clients started here may ask "
            "the proxy for this machine",
            "export NO_PROXY=127.0.0.1,localhost (`supervisor exec` does so).",
        )


MACHINE_CHECKS = (
    clock, state_rights, secret_rights, settings_rights, disk, upstream, certificate,
    certificate_files, own_certificate, proxies, loopback,
)  # fmt: skip

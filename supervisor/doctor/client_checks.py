"""Claude Code: where its settings point, and what of the shell gets in the way."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from supervisor.doctor.facts import Facts
from supervisor.doctor.finding import Finding

CLOUDS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
_OFF = ("", "0", "false", "no", "off")


def settings_readable(facts: Facts) -> Iterator[Finding]:
    for file in facts.settings:
        if file.problem:
            yield Finding(
                "settings-unreadable",
                file.problem,
                f"{file.advice or 'repair the file (it is JSON)'}, then `supervisor client apply`.",
            )


def settings_lead_somewhere(facts: Facts) -> Iterator[Finding]:
    for file in facts.settings:
        if file.dead:
            yield Finding(
                "settings-dead-port",
                f"{file.path} points at {file.url}, where nobody answers",
                "`supervisor repair` puts back what we changed; else start what listened there, or "
                "remove ANTHROPIC_BASE_URL from its env.",
            )


def settings_point_here(facts: Facts) -> Iterator[Finding]:
    client = facts.status.get("client") or {}
    if not facts.url or not facts.config.client.manage:
        return
    for file in facts.settings:
        if file.url == facts.url or file.dead or file.problem or _by_hand(file.url, facts):
            continue
        told = [one for one in client.get("files", ()) if one.get("file") == file.path]
        reason = next((one["reason"] for one in told if one.get("reason")), "")
        reason = reason or str(client.get("reason") or "")
        said = f"{file.path} points at {file.url or 'the upstream itself'}, not at {facts.url}"
        said += f": {reason}" if reason else ""
        if not file.has_directory:
            fix = "nothing, where Claude Code is not used; else start Claude Code once, then this."
            yield Finding("settings-elsewhere", said, fix, "note")
        elif client.get("state") == "off" or (facts.status and not client):
            fix = "nothing, if that was meant; `supervisor exec -- claude` comes here for one run."
            yield Finding("settings-elsewhere", said, fix, "note")
        elif facts.status.get("tls"):  # nothing that this program could do
            fix = "set it to a name of the certificate, or client.manage = false."
            yield Finding("settings-elsewhere", said, fix, "note")
        else:
            first = "do what that says, then " if reason else ""
            fix = f"{first}`supervisor client apply`; docs/client-settings.md has each case."
            yield Finding("settings-elsewhere", said, fix)


def _by_hand(url: str, facts: Facts) -> bool:
    """Whether it leads here by a name of the certificate, which only its owner could choose."""
    names = (facts.status.get("tls") or {}).get("names") or ()
    try:
        wanted, ours = urlsplit(url), urlsplit(facts.url)
        return wanted.scheme == "https" and wanted.port == ours.port and wanted.hostname in names
    except ValueError:
        return False


def settings_of_this_shell(facts: Facts) -> Iterator[Finding]:
    managed = {file.path for file in facts.settings}
    wanted = facts.config.client.manage and not facts.config.client.settings
    told = (facts.status.get("client") or {}).get("files", ())
    elsewhere = {one.get("file") for one in told}
    if wanted and facts.url and elsewhere and not elsewhere & {*managed, facts.shell_settings}:
        yield Finding(
            "settings-other-directory",
            f"started from this shell, Claude Code reads {facts.shell_settings}; the instance looks "
            f"after {', '.join(sorted(map(str, elsewhere)))}",
            "start both with the same CLAUDE_CONFIG_DIR, or name the file in client.settings.",
        )


def base_url_of_the_shell(facts: Facts) -> Iterator[Finding]:
    there = facts.environ.get("ANTHROPIC_BASE_URL", "")
    if not there or there.rstrip("/") == facts.url:
        return
    # The settings win over the shell (`peers.md` 1.10), but for Claude Code alone.
    wins = any(file.url and file.url == facts.url for file in facts.settings)
    yield Finding(
        "shell-base-url",
        f"ANTHROPIC_BASE_URL is {there} in this shell"
        + (": Claude Code's settings win over it, other clients go there" if wins else ""),
        "unset ANTHROPIC_BASE_URL, and remove it from your shell's start-up file.",
        "note" if wins else "wrong",
    )


def cloud_of_the_shell(facts: Facts) -> Iterator[Finding]:
    set_in_files = {name for file in facts.settings for name in file.environment}
    for name in CLOUDS:
        shell = facts.environ.get(name, "").lower() not in _OFF
        if shell or name in set_in_files:
            where = "this shell" if shell else "Claude Code's settings"
            yield Finding(
                "shell-cloud",
                f"{name} is set in {where}: Claude Code then never comes here",
                f"unset {name}.",
            )


def key_of_the_shell(facts: Facts) -> Iterator[Finding]:
    names = [
        name
        for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
        if facts.environ.get(name) and not (name.endswith("TOKEN") and _has_base_url(facts))
    ]
    passthrough = not facts.accounts
    if facts.has_login and names and passthrough:
        yield Finding(
            "shell-key",
            f"{' and '.join(names)} of this shell takes the place of Claude Code's login: its owner "
            "pays for what this shell starts",
            f"unset {' '.join(names)}, if that is not meant.",
            "note",
        )


def _has_base_url(facts: Facts) -> bool:
    return bool(facts.environ.get("ANTHROPIC_BASE_URL"))


def picker(facts: Facts) -> Iterator[Finding]:
    if not facts.models or not facts.url:
        return
    fix = "`supervisor client seed-models`; sessions that start from then on show them."
    cache = facts.picker
    missing = [model for model in facts.models if model not in cache.models]
    if cache.problem:
        yield Finding("picker-cache", cache.problem, fix)
    elif not cache.path:
        if facts.has_login:  # without one, Claude Code asks by itself
            found = f"Claude Code does not list {', '.join(missing)}: it has never been told"
            yield Finding("picker-cache", found, fix, "note")
    elif cache.base_url != facts.url:
        yield Finding(
            "picker-cache",
            f"{cache.path} is for {cache.base_url or 'no address'}, so it is not used",
            fix,
        )
    elif missing:
        yield Finding("picker-cache", f"{cache.path} lacks {', '.join(missing)}", fix)


CLIENT_CHECKS = (
    settings_readable, settings_lead_somewhere, settings_point_here, settings_of_this_shell,
    base_url_of_the_shell, cloud_of_the_shell, key_of_the_shell, picker,
)  # fmt: skip

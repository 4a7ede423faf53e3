"""What a check says, and every symptom that there is."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["wrong", "note"]

SYMPTOMS = {
    # Claude Code
    "settings-unreadable": "Claude Code's settings cannot be read",
    "settings-dead-port": "Claude Code points at a port where nobody answers",
    "settings-elsewhere": "Claude Code does not point at the running instance",
    "settings-other-directory": "this shell's Claude Code has other settings than those managed",
    "shell-base-url": "ANTHROPIC_BASE_URL of the shell leads elsewhere",
    "shell-cloud": "Claude Code is set to a cloud provider and ignores the base URL",
    "shell-key": "a key of the shell takes the place of the login",
    "picker-cache": "Claude Code's list of models is not that of the instance",
    # the instance
    "config-invalid": "the configuration has errors",
    "config-refused": "the running instance refused a changed configuration",
    "not-running": "nothing is running",
    "not-answering": "an instance holds the state directory and does not answer",
    "port-taken": "another program has the port",
    "version-differs": "an older version is running",
    "actor-trouble": "a part of the program crashes",
    "log-lines-lost": "lines of the request log are lost",
    "front-door": "the running instance does not answer as it should",
    "contract-broken": "what a gateway has to do for Claude Code is not done",
    "service-stale": "the service is not as it would be installed now",
    # accounts
    "store-unreadable": "the token store or a login file cannot be used",
    "login-needed": "an account needs a login",
    "login-expired": "a login has expired",
    "login-shared": "two accounts have the same login",
    "account-refused": "the upstream refuses an account",
    "key-without-credit": "an account has no credit",
    # the machine
    "clock-skew": "the clock is wrong",
    "state-rights": "others can look into the state directory, or we cannot write it",
    "secret-rights": "others can read a file with secrets",
    "settings-rights": "Claude Code's settings cannot be written",
    "disk-low": "the disk is almost full",
    # the way to the upstream
    "upstream-unreachable": "the upstream cannot be reached",
    "certificate-refused": "the upstream's certificate is not trusted",
    "certificate-file": "a certificate file cannot be used",
    "server-certificate": "our own certificate has expired, or soon will",
    "proxy-unusable": "a proxy variable cannot be used",
    "loopback-proxied": "clients ask a proxy for this machine",
}
"""By name, in words. `docs/troubleshooting.md` has an entry for each."""


class Finding(msgspec.Struct, frozen=True):
    """One thing. `fix` says what to do; a `note` is worth knowing, and nothing is wrong."""

    symptom: str
    message: str
    fix: str
    level: Level = "wrong"

"""What a service will not have that the shell has which installs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from protocol.config import ConfigInvalid
from supervisor import configuration
from supervisor.environment_accounts import environment_accounts
from supervisor.service.description import Description, sorted_out
from supervisor.token_store import stored_names


def lacking(
    service: Description,
    environ: Mapping[str, str],
    argument: Path | None,
    overrides: Mapping[str, object],
    *,
    reads_file: bool,
) -> list[str]:
    """In sentences, each with what to do. `reads_file`: the service gets its environment file."""
    found: list[str] = []
    _, secret = sorted_out(environ)
    place = Path(service.environment_file)
    written = read_environment_file(place) if reads_file else {}
    given = {**dict(service.environment), **written}
    missing = [name for name in secret if name not in given]
    if missing:
        into = f"put {missing[0]}=... into {place} (chmod 600)"
        found.append(
            f"{', '.join(missing)} may hold a secret, so the service does not get it from here; "
            + (into if reads_file else "write it into the configuration file (chmod 600)")
        )
    stored, _ = stored_names(Path(service.state_directory))
    # The home is what every service has.
    theirs = {**{name: environ[name] for name in ("HOME", "USER") if name in environ}, **given}
    try:
        configuration.load(argument, overrides=overrides, environ=theirs, stored_accounts=stored)
    except ConfigInvalid as invalid:
        found += [
            f"the service will not start with what it is given: {error}; "
            + (f"put the variable into {place} (chmod 600), or " if reads_file else "")
            + "store the key with `supervisor auth add`"
            for error in invalid.errors
        ]
        return found
    here = environment_accounts(environ).accounts
    configured = configuration.load(
        argument, overrides=overrides, environ=environ, stored_accounts=stored
    )
    there = environment_accounts(theirs).accounts
    if "environment" in configured.accounts_from and len(there) < len(here):
        found.append(
            "the keys of this shell's environment are not the service's; store them: "
            "`supervisor setup`, or `supervisor auth add NAME`"
        )
    return found


def read_environment_file(path: Path) -> dict[str, str]:
    """As systemd reads it, but for its finer points of quoting. Empty where there is none."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, sign, value = line.strip().partition("=")
        if sign and not name.startswith(("#", ";")):
            found[name.strip()] = value.strip().strip("\"'")
    return found

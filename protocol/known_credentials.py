"""From the content of the credential files to what is known: pure.

A file that others can read is not used. One that cannot be read or understood at the moment (an
editor is half-way, the disk has a fault) leaves in force what was read of it before.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol import credentials_file, dead_logins, token_file
from protocol.credentials import Known, KnownLogin
from protocol.credentials_file import NO_LOGIN
from protocol.login import Content, CredentialFileInvalid

_KEPT = "; what was read before stays in force"


class Read(msgspec.Struct, frozen=True):
    """One look at one file. Without `content` and `problem` there is no such file. `refused`: it
    must not be used. `beside` is what Claude Code keeps about the person beside its login."""

    content: Content | None = None
    problem: str = ""
    refused: bool = False
    beside: bytes | None = None


def assembled(
    before: Known, store_path: str, store: Read, dead: Read, logins: Mapping[str, Read]
) -> Known:
    """What is known after a look at all files; `logins` is by path."""
    problems: list[str] = []
    stored, stored_at = _stored(before, store_path, store, problems)
    found = {path: _login(before, path, read, problems) for path, read in logins.items()}
    return Known(stored, stored_at, found, _dead(before, dead), tuple(problems))


def _stored(
    before: Known, path: str, read: Read, problems: list[str]
) -> tuple[tuple[token_file.StoredAccount, ...], float]:
    if read.content is None:
        if read.problem:
            problems.append(read.problem)
        kept = bool(read.problem) and not read.refused
        return (before.stored, before.stored_at) if kept else ((), 0.0)
    try:
        file = token_file.parse(read.content.data)
    except CredentialFileInvalid as reason:
        problems.append(f"{path} cannot be used: {reason}{_KEPT if before.stored else ''}")
        return before.stored, before.stored_at
    problems.extend(f"{path}: {problem}" for problem in file.problems)
    return file.accounts, read.content.modified_at


def _login(before: Known, path: str, read: Read, problems: list[str]) -> KnownLogin:
    known = before.logins.get(path, KnownLogin())
    if read.content is None:
        problem = read.problem or f"{path}: there is no such file; log in with Claude Code there"
        problems.append(problem)
        kept = bool(read.problem) and not read.refused
        return msgspec.structs.replace(known if kept else KnownLogin(), problem=problem)
    try:
        login = credentials_file.parse(read.content.data)
    except CredentialFileInvalid as reason:
        stays = _KEPT if known.login != NO_LOGIN else ""
        problem = f"{path} cannot be used: {reason}{stays}"
        problems.append(problem)
        return msgspec.structs.replace(known, problem=problem)
    problem = ""
    if login.access_token is None and login.refresh_token is None:
        problem = f"{path} has no login in it; log in with Claude Code there"
        problems.append(problem)
    if read.beside is not None:
        login = credentials_file.with_owner(login, read.beside)
    return KnownLogin(login, read.content.modified_at, problem)


def _dead(before: Known, read: Read) -> frozenset[str]:
    if read.content is None:
        return before.dead if read.problem else frozenset()
    try:
        return dead_logins.decode(read.content.data)
    except ValueError:
        return before.dead  # written anew with the next one

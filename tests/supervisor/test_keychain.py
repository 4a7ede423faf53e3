"""The keychain by way of a stand-in for `security` (nobody ran the real one)."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from protocol.login import CredentialsUnusable
from supervisor import login_sources
from supervisor.credential_disk import RealCredentialDisk
from supervisor.keychain import FRESH_SECONDS, Keychain, of_this_machine, service_of

TOOL = """
import json, pathlib, shlex, sys
entries = pathlib.Path(sys.argv[1])
known = json.loads(entries.read_text()) if entries.exists() else {}
words = sys.argv[2:]
(entries.parent / "argv").open("a").write(" ".join(words) + "\\n")
if words == ["-i"]:
    words = shlex.split(sys.stdin.read())
    assert words[:2] == ["add-generic-password", "-U"], words
    known[words[words.index("-s") + 1]] = bytes.fromhex(words[words.index("-X") + 1]).decode()
    entries.write_text(json.dumps(known))
elif known.get("locked"):
    sys.exit(36)
elif words[0] == "delete-generic-password":
    if known.pop(words[words.index("-s") + 1], None) is None:
        sys.exit(44)
    entries.write_text(json.dumps(known))
    print("password has been deleted.")
else:
    assert words[0] == "find-generic-password"
    service = words[words.index("-s") + 1]
    if service not in known:
        sys.exit(44)
    print(known[service])
"""


class Mac:
    """A keychain in a file."""

    def __init__(self, directory: Path) -> None:
        self.now = 0.0
        self.entries = directory / "entries.json"
        tool = directory / "security.py"
        tool.write_text(TOOL)
        self.keychain = Keychain(
            (sys.executable, str(tool), str(self.entries)), lambda: self.now, lambda: 1e9 + self.now
        )
        self.home = directory / ".claude"

    def put(self, text: str) -> None:
        self.entries.write_text(json.dumps({service_of(self.home): text}))


@pytest.fixture
def mac(tmp_path: Path) -> Mac:
    """Without any entry."""
    return Mac(tmp_path)


def test_the_entry_of_the_usual_directory_has_the_plain_name() -> None:
    assert service_of(Path.home() / ".claude") == "Claude Code-credentials"
    other = service_of(Path("/elsewhere/.claude"))
    assert other.startswith("Claude Code-credentials-")
    assert len(other) == len("Claude Code-credentials-") + 8


def test_an_entry_is_read_and_its_changes_are_dated(mac: Mac) -> None:
    assert mac.keychain.look(mac.home) is None
    mac.put("one")
    assert mac.keychain.look(mac.home) is None, "looked at a moment ago"
    mac.now += FRESH_SECONDS
    found = mac.keychain.look(mac.home)
    assert found is not None
    assert found.data == b"one"
    assert found.modified_at == 1e9 + mac.now


def test_it_is_replaced_only_while_it_is_as_it_was_and_never_by_the_command_line(
    mac: Mac, tmp_path: Path
) -> None:
    mac.put("one")
    assert not mac.keychain.replace(mac.home, b"other", b"secret")
    assert mac.keychain.replace(mac.home, b"one", b"secret")
    found = mac.keychain.look(mac.home)
    assert found is not None
    assert found.data == b"secret"
    said = (tmp_path / "argv").read_text()
    assert b"secret".hex() not in said
    assert "secret" not in said


def test_a_locked_keychain_says_what_to_do(mac: Mac) -> None:
    mac.entries.write_text('{"locked": true}')
    with pytest.raises(CredentialsUnusable, match="unlock the keychain"):
        mac.keychain.look(mac.home)


def test_an_entry_is_removed_once_and_others_stay(mac: Mac) -> None:
    mac.put("one")
    mac.keychain.look(mac.home)
    assert not mac.keychain.remove(mac.home.parent / "other")
    assert mac.keychain.remove(mac.home)
    assert mac.keychain.look(mac.home) is None
    assert not mac.keychain.remove(mac.home)


def test_only_macos_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert of_this_machine() is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert of_this_machine() is not None


def test_without_the_tool_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnusable, match="cannot be used"):
        Keychain((str(tmp_path / "none"),)).look(tmp_path)


async def test_a_file_goes_before_the_keychain_and_the_keychain_stands_in_for_it(mac: Mac) -> None:
    disk = RealCredentialDisk(random.Random(1), keychain=mac.keychain)
    mac.put("entry")
    mac.home.mkdir()
    path = mac.home / ".credentials.json"
    found = await disk.look(path)
    assert found is not None
    assert found.data == b"entry"
    assert await disk.replace(path, b"entry", b"newer")
    assert not path.exists()
    path.write_bytes(b"file")
    path.chmod(0o600)
    found = await disk.look(path)
    assert found is not None
    assert found.data == b"file"


# ---------------------------------------------------------------------------------------- import


@pytest.fixture
def on_a_mac(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """The machine's credentials are those of `mac`."""
    disk = RealCredentialDisk(random.Random(1), keychain=mac.keychain)
    monkeypatch.setattr(login_sources, "of_this_machine", lambda rng: disk)
    mac.home.mkdir()
    return mac


def test_a_login_in_the_keychain_is_found_for_its_directory(on_a_mac: Mac) -> None:
    on_a_mac.put('{"claudeAiOauth": {"accessToken": "a", "refreshToken": "r", "expiresAt": 1}}')
    for place in (on_a_mac.home, on_a_mac.home / ".credentials.json"):
        found = login_sources.look(place)
        assert found is not None
        (account,) = found.accounts
        assert account.path == str(on_a_mac.home / ".credentials.json")
        assert (account.kind, account.follow) == ("oauth", "auto")


def test_without_an_entry_there_is_none(on_a_mac: Mac) -> None:
    assert login_sources.look(on_a_mac.home) is None
    assert login_sources.look(on_a_mac.home / ".credentials.json") is None


def test_a_locked_keychain_is_named_as_the_reason(on_a_mac: Mac) -> None:
    on_a_mac.entries.write_text('{"locked": true}')
    found = login_sources.look(on_a_mac.home)
    assert found is not None
    assert "unlock the keychain" in found.problem

"""`keys.json` on a real disk."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from protocol import key_file
from protocol.key_file import KeyFile, Note
from protocol.login import CredentialsUnusable
from supervisor.key_store import KeyStore, StoredKeys
from tests.protocol.test_inbound_keys import NOW, key

KEY, _ = key()


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "state")


def test_it_is_private_and_empty_before_the_first_key(store: KeyStore) -> None:
    assert store.read().keys == ()
    store.change(lambda file: key_file.added(file, KEY))
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert store.read().keys == (KEY,)


def test_others_may_not_read_it(store: KeyStore) -> None:
    store.change(lambda file: key_file.added(file, KEY))
    store.path.chmod(0o644)
    with pytest.raises(CredentialsUnusable, match="chmod 600"):
        store.read()


def test_a_broken_file_is_kept_aside_by_a_change_and_left_by_a_note(store: KeyStore) -> None:
    store.path.parent.mkdir()
    store.path.write_text("{broken")
    store.path.chmod(0o600)
    with pytest.raises(CredentialsUnusable, match="not JSON"):
        store.read()
    changed = store.change(lambda file: key_file.added(file, KEY))
    assert changed.aside is not None
    assert changed.aside.read_text() == "{broken"


async def test_a_note_never_touches_a_broken_file(store: KeyStore) -> None:
    store.path.parent.mkdir()
    store.path.write_text("{broken")
    store.path.chmod(0o600)
    with pytest.raises(CredentialsUnusable):
        await StoredKeys(store).note({KEY.id: Note(NOW)})
    assert store.path.read_text() == "{broken"


def test_a_file_of_a_newer_program_is_left_alone(store: KeyStore) -> None:
    store.path.parent.mkdir()
    store.path.write_text('{"version": 9, "keys": []}')
    store.path.chmod(0o600)
    with pytest.raises(CredentialsUnusable, match="left alone"):
        store.change(lambda file: key_file.added(file, KEY))
    assert store.path.read_text() == '{"version": 9, "keys": []}'


def test_changes_of_many_at_once_are_all_kept(store: KeyStore) -> None:
    entries = [key(f"key-{number}", number=number)[0] for number in range(12)]

    def add(one: int) -> None:
        def edit(file: KeyFile) -> KeyFile:
            return key_file.added(file, entries[one])

        store.change(edit)

    threads = [threading.Thread(target=add, args=(one,)) for one in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {one.id for one in store.read().keys} == {one.id for one in entries}


async def test_a_changed_file_has_another_stamp(store: KeyStore) -> None:
    disk = StoredKeys(store)
    assert await disk.stamp() is None
    store.change(lambda file: key_file.added(file, KEY))
    first = await disk.stamp()
    assert first == await disk.stamp()
    await disk.note({KEY.id: Note(NOW)})
    assert await disk.stamp() != first
    assert (await disk.read()).keys[0].last_used == NOW

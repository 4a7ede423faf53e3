"""Clients' settings on the disk: pointed, put back, left alone, and never lost."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.client_judgement import Answer, Circumstances
from protocol.client_lease import Holder, ProcessMark
from protocol.settings import AUTH_TOKEN, BASE_URL
from supervisor import client_lease_file as leases
from supervisor.client_point import FileOutcome, Outcome, Wanted, point_clients, upstream_of_clients
from supervisor.client_settings import (
    finish,
    given_up,
    held_by,
    read_lease,
    restore,
    restore_whole,
    show,
    still_to_wait,
)
from supervisor.settings_files import SettingsDisk, Status
from tests.kit.leaks import close_as_the_kernel_would, descriptors
from tests.kit.rounds import rounds
from tests.kit.settings_disk import FaultyDisk, PowerCut

URL = "http://127.0.0.1:4080"
DIRECT = "https://api.anthropic.com"
HOLDER = Holder((ProcessMark(os.getpid()),), "", "instance-1", 4080, "2026-11-21T10:00:00Z")
ORIGINAL = b'{\n    "model": "opus",\n    "env": {"KEEP": "me"}\n}'


class Place:
    """A state directory and one settings file."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.state.mkdir()
        self.directory = root / "claude"
        self.directory.mkdir()
        self.file = self.directory / "settings.json"

    def wanted(self, **changes: object) -> Wanted:
        wanted = Wanted((str(self.file),), Circumstances(URL), {"X": "1"}, DIRECT, 5.0)
        return wanted._replace(**changes)  # type: ignore[arg-type]

    def point(
        self,
        disk: SettingsDisk | None = None,
        answer: Answer = "nobody",
        holder: Holder = HOLDER,
        **changes: object,
    ) -> FileOutcome:
        return self.outcome(disk, answer, holder, **changes).files[0]

    def outcome(
        self,
        disk: SettingsDisk | None = None,
        answer: Answer = "nobody",
        holder: Holder = HOLDER,
        **changes: object,
    ) -> Outcome:
        return point_clients(
            self.state,
            self.wanted(**changes),
            holder,
            disk=disk or FaultyDisk(),
            answers=lambda _: answer,
        )

    @property
    def env(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.file.read_bytes()).get("env", {})
        return found

    @property
    def lease(self) -> Path:
        return self.state / "client.json"

    def back(self) -> bytes | None:
        restore_whole(self.state, pause=lambda _: None)
        return self.file.read_bytes() if self.file.exists() else None

    def strangers(self) -> list[str]:
        """Whatever else lies beside the settings."""
        return [one.name for one in self.directory.iterdir() if one != self.file]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_client_is_pointed_and_put_back_to_the_byte(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    done = place.point()
    assert (done.did, done.keys) == ("pointed", (BASE_URL, "X"))
    assert place.env == {"KEEP": "me", BASE_URL: URL, "X": "1"}
    assert place.back() == ORIGINAL
    assert not place.lease.exists()
    assert place.strangers() == []


def test_a_base_url_that_did_not_stand_there_goes_in_two_steps(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    first = restore(place.state, now=lambda: 100.0)
    assert first.pending
    assert place.env == {"KEEP": "me", BASE_URL: DIRECT}
    assert restore(place.state).pending  # again: nothing more
    assert place.env[BASE_URL] == DIRECT
    assert still_to_wait(place.state, now=lambda: 102.0) == 3.0
    assert still_to_wait(place.state, now=lambda: 1.0) == 5.0
    second = finish(place.state)
    assert (second.pending, second.left, second.messages) == (False, False, ())
    assert place.file.read_bytes() == ORIGINAL
    assert finish(place.state) == restore(place.state)
    assert place.file.read_bytes() == ORIGINAL


def test_the_second_step_does_nothing_without_the_first(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    finish(place.state)
    assert place.env[BASE_URL] == URL
    restore(place.state)
    place.point()  # the next life is there before the keeper has finished
    finish(place.state)
    assert place.env[BASE_URL] == URL
    assert place.back() == ORIGINAL


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        (b'{"env": {"ANTHROPIC_BASE_URL": "https://old.test"}}', {"here": Circumstances(URL, replace=True)}),
        (b"{}", {"token": "llm-supervisor-key"}),
        (b"{}", {"release_after": 0.0}),
        (b"{}", {"direct_url": ""}),
    ],
)  # fmt: skip
def test_elsewhere_one_step_is_enough(
    place: Place, before: bytes, changes: dict[str, object]
) -> None:
    place.file.write_bytes(before)
    assert place.point(**changes).did == "pointed"
    assert not restore(place.state).pending
    assert place.file.read_bytes() == before


def test_only_its_own_instance_is_put_back_when_one_is_named(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    assert restore(place.state, instance="another").changed == ()
    assert place.env[BASE_URL] == URL


def test_a_file_that_was_not_there_goes_again(place: Place) -> None:
    place.point()
    assert place.env[BASE_URL] == URL
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert place.back() is None
    assert place.strangers() == []


@pytest.mark.promise("S1")
def test_a_symbolic_link_is_followed_and_stays(place: Place) -> None:
    real = place.state.parent / "dotfiles.json"
    real.write_bytes(ORIGINAL)
    place.file.symlink_to(real)
    place.point()
    assert place.file.is_symlink()
    assert json.loads(real.read_bytes())["env"][BASE_URL] == URL
    assert place.back() == ORIGINAL
    assert place.file.is_symlink()


@pytest.mark.promise("S1")
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_the_mode_stays(place: Place, mode: int) -> None:
    place.file.write_bytes(ORIGINAL)
    place.file.chmod(mode)
    place.point()
    assert stat.S_IMODE(place.file.stat().st_mode) == mode
    place.back()
    assert stat.S_IMODE(place.file.stat().st_mode) == mode


def test_several_files_are_pointed_and_judged_each_by_itself(place: Place) -> None:
    other = place.directory / "other.json"
    other.write_bytes(b"{")
    place.file.write_bytes(ORIGINAL)
    done = place.outcome(files=(str(place.file), str(other)))
    assert [file.did for file in done.files] == ["pointed", "stood back"]
    assert place.back() == ORIGINAL
    assert other.read_bytes() == b"{"


# ------------------------------------------------------------------------ what is left as it is (S2)


def read_only(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.file.chmod(0o444)


def broken(content: bytes) -> Callable[[Place], None]:
    return lambda place: place.file.write_bytes(content) and None


def no_directory(place: Place) -> None:
    place.directory.rmdir()


def a_directory(place: Place) -> None:
    place.file.mkdir()


@pytest.mark.promise("S2")
@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (broken(b""), "settings.json is empty, which is not valid JSON; it is left as it is"),
        (broken(b'{"a": '), "settings.json is not valid JSON (line 1); it is left as it is"),
        (broken(b"[1]"), "settings.json is not a JSON object; it is left as it is"),
        (broken(b'{"env": 1}'), 'settings.json has an "env" that is not an object'),
        (broken(b'{"env": {"ANTHROPIC_BASE_URL": 1}}'), "that is not a text"),
        (broken(b'{"env": {"ANTHROPIC_BASE_URL": "https://x.test"}}'), "it points at https://x.test"),
        (read_only, "settings.json is read-only; it is left as it is (chmod u+w it"),
        (no_directory, "claude does not exist; it is made by the client's first start"),
        (a_directory, "settings.json is not a regular file"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_left_and_said(
    place: Place, prepare: Callable[[Place], None], words: str
) -> None:
    prepare(place)
    before = place.file.read_bytes() if place.file.is_file() else None
    done = place.point()
    assert done.did == "stood back"
    assert words in done.reason
    assert (place.file.read_bytes() if place.file.is_file() else None) == before
    assert not place.lease.exists()
    assert place.strangers() == [] if place.directory.is_dir() else True


class SomebodyElses(SettingsDisk):
    def status(self, path: str) -> Status | None:
        found = super().status(path)
        return found and found._replace(owner=54321)


@pytest.mark.promise("S2")
def test_a_file_of_another_user_is_left_and_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    place.file.write_bytes(ORIGINAL)
    done = place.point(SomebodyElses())
    assert "settings.json belongs to another user; it is left as it is" in done.reason
    assert place.file.read_bytes() == ORIGINAL


@pytest.mark.promise("S2")
@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_directory_that_may_not_be_written_is_left_and_said(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.directory.chmod(0o500)
    try:
        done = place.point()
    finally:
        place.directory.chmod(0o700)
    assert "cannot be changed" in done.reason
    assert not place.lease.exists()


@pytest.mark.promise("S2")
def test_a_damaged_lease_is_explained_and_nothing_is_touched(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    pointed = place.file.read_bytes()
    place.lease.write_bytes(b'{"version": 1')
    done = restore(place.state)
    assert done.left
    assert "client.json cannot be read" in done.messages[0]
    assert "then remove that file" in done.messages[0]
    assert place.point().did == "stood back"
    assert place.file.read_bytes() == pointed
    assert place.lease.read_bytes() == b'{"version": 1'


@pytest.mark.promise("S2")
def test_a_file_that_broke_meanwhile_is_left_until_it_can_be_read(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    pointed = place.file.read_bytes()
    place.file.write_bytes(pointed + b"}")
    done = restore(place.state)
    assert done.left
    assert place.file.read_bytes() == pointed + b"}"
    place.file.write_bytes(pointed)
    assert place.back() == ORIGINAL


# ----------------------------------------------------------------------------- other people's edits


@pytest.mark.promise("S1")
def test_what_others_wrote_meanwhile_stays(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    document = json.loads(place.file.read_bytes())
    document["model"] = "haiku"
    document["env"]["THEIRS"] = "2"
    place.file.write_text(json.dumps(document))
    assert json.loads(place.back() or b"") == {
        "model": "haiku",
        "env": {"KEEP": "me", "THEIRS": "2"},
    }


def test_a_base_url_that_somebody_changed_is_theirs_and_our_other_keys_go(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    path = str(place.file)
    assert given_up(place.state, "instance-1", (path,)) == ()
    place.file.write_bytes(place.file.read_bytes().replace(URL.encode(), b"https://x.test"))
    ((taken, reason),) = given_up(place.state, "instance-1", (path,))
    assert (taken, reason) == (path, "ANTHROPIC_BASE_URL was changed by somebody else")
    assert place.env == {"KEEP": "me", BASE_URL: "https://x.test"}
    assert not place.lease.exists()


def test_an_old_copy_put_over_ours_is_taken_for_a_decision(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    place.file.write_bytes(ORIGINAL)
    ((_, reason),) = given_up(place.state, "instance-1", (str(place.file),))
    assert "removed by somebody else" in reason
    assert place.file.read_bytes() == ORIGINAL


def test_who_put_it_back_by_hand_is_noticed(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    assert held_by(place.state, "instance-1") == ((str(place.file), (BASE_URL, "X")),)
    place.back()
    assert held_by(place.state, "instance-1") == ()
    assert given_up(place.state, "instance-1", ("p",)) == (("p", "it was put back by hand"),)


# ------------------------------------------------------------------------------- an earlier life's


def test_the_next_life_takes_over_what_a_killed_one_left(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    second = "http://127.0.0.1:5555"
    holder = HOLDER._replace(instance="instance-2")
    assert place.point(holder=holder, here=Circumstances(second)).did == "pointed"
    assert place.env[BASE_URL] == second
    lease = read_lease(place.state)
    assert lease is not None
    assert lease.holder.instance == "instance-2"
    assert lease.files[0].keys[0].ours == (second,)
    assert place.back() == ORIGINAL


def test_the_same_port_again_leaves_the_settings_untouched(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    place.point()
    before = place.file.stat()
    place.point(holder=HOLDER._replace(instance="instance-2"))
    assert place.file.stat().st_ino == before.st_ino
    assert place.back() == ORIGINAL


def test_a_token_that_is_no_longer_wanted_goes_with_the_next_pointing(place: Place) -> None:
    place.file.write_bytes(b"{}")
    place.point(token="llm-supervisor-key")
    assert place.env[AUTH_TOKEN] == "llm-supervisor-key"
    place.point()
    assert AUTH_TOKEN not in place.env
    assert place.back() == b"{}"


def test_a_file_that_is_no_longer_named_is_put_back(place: Place) -> None:
    other = place.directory / "other.json"
    other.write_bytes(b"{}")
    place.file.write_bytes(ORIGINAL)
    place.point()
    place.outcome(files=(str(other),))
    assert place.file.read_bytes() == ORIGINAL
    assert BASE_URL in json.loads(other.read_bytes())["env"]


# ------------------------------------------------------------------- logins, upstreams, and showing


@pytest.mark.parametrize(
    ("settings", "beside", "given"),
    [
        (b"{}", {}, True),
        (b"{}", {".credentials.json": b"{}"}, False),
        (b"{}", {".claude.json": b'{"oauthAccount": {"emailAddress": "x"}}'}, False),
        (b"{}", {".claude.json": b'{"primaryApiKey": "k"}'}, False),
        (b"{}", {".claude.json": b'{"numStartups": 3}'}, True),
        (b"{}", {".claude.json": b"{"}, True),
        (b'{"apiKeyHelper": "/bin/key"}', {}, False),
        (b'{"env": {"ANTHROPIC_API_KEY": "k"}}', {}, False),
        (b'{"env": {"ANTHROPIC_AUTH_TOKEN": "t"}}', {}, False),
    ],
)
def test_a_key_of_ours_is_for_clients_without_a_login(
    place: Place, settings: bytes, beside: dict[str, bytes], given: bool
) -> None:
    place.file.write_bytes(settings)
    for name, content in beside.items():
        (place.directory / name).write_bytes(content)
    place.point(token="llm-supervisor-key")
    assert (place.env.get(AUTH_TOKEN) == "llm-supervisor-key") is given
    place.point(token="llm-supervisor-key", token_always=True)
    assert place.env[AUTH_TOKEN] == "llm-supervisor-key"
    assert place.back() == settings


def test_where_the_client_pointed_is_found_also_after_we_pointed_it(place: Place) -> None:
    before = b'{"env": {"ANTHROPIC_BASE_URL": "https://gateway.test/"}}'
    place.file.write_bytes(before)
    files = (str(place.file),)
    assert upstream_of_clients(place.state, files) == "https://gateway.test"
    here = Circumstances(URL, passthrough=True, upstream="https://gateway.test")
    assert place.point(here=here).did == "pointed"
    assert upstream_of_clients(place.state, files) == "https://gateway.test"
    assert place.back() == before


@pytest.mark.parametrize("answer", ["nobody", "supervisor"])
def test_a_dead_port_or_another_supervisor_is_no_upstream(place: Place, answer: Answer) -> None:
    place.file.write_bytes(b'{"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}')
    files = (str(place.file),)
    assert upstream_of_clients(place.state, files, answers=lambda _: answer) == ""
    assert upstream_of_clients(place.state, files, answers=lambda _: "somebody")


def test_show_tells_where_it_points_and_which_keys_are_ours(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    files = (str(place.file), str(place.directory / "missing.json"))
    assert [one.url for one in show(place.state, files)] == ["", ""]
    place.point()
    first, second = show(place.state, files)
    assert (first.url, first.keys) == (URL, (BASE_URL, "X"))
    assert not second.exists
    place.file.write_bytes(b"[")
    assert "is not valid JSON" in show(place.state, files)[0].problem


# -------------------------------------------------------------- faults at every step (S3, D1)

WHOLE = {
    "env": ORIGINAL,
    "no-file": None,
    "empty": b"{}",
    "pointed": b'{"env": {"ANTHROPIC_BASE_URL": "https://old.test"}}',
}


def prepared(root: Path, before: bytes | None) -> Place:
    root.mkdir()
    place = Place(root)
    if before is not None:
        place.file.write_bytes(before)
    return place


def points(place: Place, disk: SettingsDisk) -> None:
    place.point(disk, here=Circumstances(URL, replace=True))


def releases(place: Place, disk: SettingsDisk) -> None:
    restore_whole(place.state, disk=disk, pause=lambda _: None)


def now(place: Place) -> bytes | None:
    return place.file.read_bytes() if place.file.exists() else None


def everything(place: Place) -> dict[str, bytes]:
    files = [*place.directory.iterdir(), *place.state.iterdir()]
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.promise("S3")
@pytest.mark.sweep
@pytest.mark.parametrize("before", list(WHOLE)[: rounds(2, 4)])
@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "rename"])
@pytest.mark.parametrize("after", [False, True], ids=["before-the-step", "after-the-step"])
@pytest.mark.parametrize("phase", ["point", "release"])
def test_a_death_at_any_step_is_repaired_to_the_original(
    tmp_path: Path, before: str, exchanges: bool, after: bool, phase: str
) -> None:
    """Then once more: the second repair changes nothing."""
    original = WHOLE[before]
    for step in range(1, 200):
        place = prepared(tmp_path / f"{step}", original)
        disk = FaultyDisk(cut_at=step, after=after, exchanges=exchanges)
        alive = descriptors()
        try:
            if phase == "point":
                points(place, disk)
            else:
                points(place, FaultyDisk())
                releases(place, disk)
        except PowerCut:
            close_as_the_kernel_would(alive)
        else:
            assert step > 8, disk.steps
            return
        found = now(place)
        assert place.lease.exists() or found == original, disk.steps
        releases(place, FaultyDisk())
        assert now(place) == original, disk.steps
        once = everything(place)
        assert set(once) <= {"settings.json", "client.lock"} | {
            name for name in once if name.startswith("client.json.")
        }, disk.steps
        releases(place, FaultyDisk())
        assert everything(place) == once
    raise AssertionError("it never came to an end")


@pytest.mark.promise("D1")
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "rename"])
@pytest.mark.parametrize("phase", ["point", "release"])
def test_a_disk_that_fails_at_any_step_costs_no_byte(
    tmp_path: Path, for_ever: bool, exchanges: bool, phase: str
) -> None:
    for step in range(1, 200):
        place = prepared(tmp_path / f"{step}", ORIGINAL)
        disk = FaultyDisk(fail_at=step, for_ever=for_ever, exchanges=exchanges)
        if phase == "release":
            points(place, FaultyDisk())
        (points if phase == "point" else releases)(place, disk)
        failed = len(disk.steps) >= step
        assert json.loads(now(place) or b"")["model"] == "opus", disk.steps
        assert place.lease.exists() or now(place) == ORIGINAL, disk.steps
        syncs = [name for name in disk.steps if name == "sync"]
        assert len(syncs) <= 6, "a failed sync is never repeated"
        releases(place, FaultyDisk())
        assert now(place) == ORIGINAL, disk.steps
        if not failed:
            assert step > 8
            return
    raise AssertionError("it never came to an end")


@pytest.mark.promise("S3")
def test_the_lease_is_on_the_disk_before_the_settings_change(place: Place) -> None:
    place.file.write_bytes(ORIGINAL)
    disk = FaultyDisk()
    points(place, disk)
    lease_done = disk.steps.index("sync_directory")
    exchanged = disk.steps.index("exchange")
    assert disk.steps.index("sync") < lease_done < exchanged
    assert "sync" in disk.steps[lease_done:exchanged]


@pytest.mark.promise("S3", control=True)
def test_without_the_lease_first_a_death_would_leave_the_client_pointed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the tests above would see."""
    place.file.write_bytes(ORIGINAL)
    monkeypatch.setattr(leases, "store", lambda *_: None)
    points(place, FaultyDisk())
    releases(place, FaultyDisk())
    assert place.env[BASE_URL] == URL


# ------------------------------------------------------------------------------------------ liveness


def test_a_process_with_a_used_number_is_not_taken_for_another() -> None:
    mine = leases.mark_of(os.getpid())
    assert leases.is_alive(Holder((mine,), leases.boot_id()))
    assert not leases.is_alive(Holder((mine._replace(started="1"),), leases.boot_id()))
    assert not leases.is_alive(Holder((mine,), "another boot"))
    assert not leases.is_alive(Holder((ProcessMark(2**22 + 5, "1"),)))
    assert not leases.is_alive(Holder(()))


def test_a_process_that_holds_the_lock_for_ever_does_not_keep_the_client_pointed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOCK_SECONDS", 0.05)
    place.file.write_bytes(ORIGINAL)
    place.point()
    with leases.lock(place.state):
        assert place.back() == ORIGINAL

"""What is no file where Claude Code's settings should be: said in a sentence, and never waited for."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.client_judgement import Circumstances
from protocol.client_lease import Holder, ProcessMark
from supervisor import client_settings
from supervisor.client_point import Wanted, point_clients, upstream_of_clients
from supervisor.client_settings import restore_whole
from supervisor.credential_disk import of_this_machine
from supervisor.doctor import machine
from supervisor.environment_accounts import claude_code_has_login
from supervisor.picker import CACHE
from supervisor.plain_files import NoPlainFile, read_plain, trouble
from supervisor.settings_files import SettingsDisk
from tests.supervisor.cli.conftest import Invoke, invoke

__all__ = ["invoke"]

HOLDER = Holder((ProcessMark(2**22 + 7, "1"),), "", "gone", 9, "")
HERE = Circumstances("http://127.0.0.1:9")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and links of this kind are Unix's")


class Odd:
    """A home with something odd in it. `freed`: a reader would have waited for ever, and was let go."""

    def __init__(self, home: Path) -> None:
        self.directory = home / ".claude"
        self.file = self.directory / "settings.json"
        self.state = Path(os.environ["SUPERVISOR_STATE_DIR"])
        self.state.mkdir(parents=True)
        self.freed = threading.Event()
        self.over = threading.Event()
        self._pipes: list[Path] = []

    def pipe(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path, 0o600)
        self._pipes.append(path)

    def free_readers(self) -> None:
        """After a while: so that a test that is blocked fails, instead of hanging."""
        while not self.over.wait(5):
            for path in self._pipes:
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                except OSError:  # nobody reads, which is as it should be
                    continue
                self.freed.set()


@pytest.fixture
def odd(home: Path) -> Iterator[Odd]:
    found = Odd(home)
    watch = threading.Thread(target=found.free_readers)
    watch.start()
    yield found
    found.over.set()
    watch.join()
    assert not found.freed.is_set(), "somebody read from a pipe"


def a_loop(odd: Odd) -> None:
    odd.directory.mkdir()
    odd.file.symlink_to("settings.json")


def a_loop_of_the_directory(odd: Odd) -> None:
    odd.directory.symlink_to(".claude")


def a_directory(odd: Odd) -> None:
    odd.file.mkdir(parents=True)


def a_pipe(odd: Odd) -> None:
    odd.pipe(odd.file)


def a_link_to_a_pipe(odd: Odd) -> None:
    odd.directory.mkdir()
    odd.pipe(odd.state / "pipe")
    odd.file.symlink_to(odd.state / "pipe")


def a_device(odd: Odd) -> None:
    odd.directory.mkdir()
    odd.file.symlink_to("/dev/null")


def a_link_to_nowhere(odd: Odd) -> None:
    odd.directory.mkdir()
    odd.file.symlink_to(odd.state / "nowhere" / "settings.json")


def a_directory_that_leads_nowhere(odd: Odd) -> None:
    odd.directory.symlink_to(odd.state / "nowhere")


def a_file_for_a_directory(odd: Odd) -> None:
    odd.directory.write_bytes(b"")


KINDS = [
    (a_loop, "its symbolic links lead in a circle", "remove the link"),
    (a_loop_of_the_directory, "its symbolic links lead in a circle", "remove the link"),
    (a_directory, "is a directory, not a file", "move it away"),
    (a_pipe, "is a pipe, not a file", "move it away"),
    (a_link_to_a_pipe, "is a pipe, not a file", "move it away"),
    (a_device, "is a device, not a file", "move it away"),
    (a_link_to_nowhere, "nowhere does not exist", "make that directory, or remove the link"),
    (a_directory_that_leads_nowhere, "nowhere does not exist", "make that directory, or remove"),
    (a_file_for_a_directory, ".claude is not a directory", "move that away"),
]
each_kind = pytest.mark.parametrize(("prepare", "what", "advice"), KINDS)
Prepare = Callable[[Odd], None]


def point(odd: Odd, **changes: Any) -> client_settings.Restored | Any:
    wanted = Wanted((str(odd.file),), HERE, {})
    return point_clients(odd.state, wanted, HOLDER, answers=lambda _: "nobody", **changes)


@each_kind
def test_it_is_not_pointed_and_a_sentence_says_why_and_what_to_do(
    odd: Odd, prepare: Prepare, what: str, advice: str
) -> None:
    prepare(odd)
    (done,) = point(odd).files
    assert done.did == "stood back"
    assert what in done.reason or f"{odd.file} is not a regular file" in done.reason
    assert advice in done.reason
    assert "settings.json" in done.reason
    assert "Errno" not in done.reason
    assert not (odd.state / "client.json").exists()
    assert upstream_of_clients(odd.state, (str(odd.file),)) == ""


@each_kind
def test_show_says_why_and_what_to_do(
    odd: Odd, invoke: Invoke, prepare: Prepare, what: str, advice: str
) -> None:
    prepare(odd)
    done = invoke("client", "show")
    assert done.exit_code == 0, done.output
    assert what in done.stdout
    assert advice in done.stdout
    assert "settings.json" in done.stdout


@each_kind
def test_the_doctor_says_why_and_what_to_do(
    odd: Odd, invoke: Invoke, prepare: Prepare, what: str, advice: str
) -> None:
    prepare(odd)
    done = invoke("doctor", "--offline", "--no-replay")
    assert done.exit_code == 1, done.output
    (line,) = (one for one in done.stdout.splitlines() if "[settings-unreadable]" in one)
    assert what in line
    assert f"    {advice}" in done.stdout
    assert done.exception is None or isinstance(done.exception, SystemExit)


@each_kind
def test_what_it_became_while_we_held_it_is_said_and_the_lease_is_kept(
    odd: Odd, invoke: Invoke, prepare: Prepare, what: str, advice: str
) -> None:
    odd.directory.mkdir()
    odd.file.write_bytes(b"{}")
    assert point(odd).pointed
    odd.file.unlink()
    odd.directory.rmdir()
    prepare(odd)
    done = invoke("repair")
    if prepare in (a_link_to_nowhere, a_directory_that_leads_nowhere):
        return  # no file: nothing of ours is left in it
    assert done.exit_code == 1, done.output
    assert f"{odd.file} " in done.stderr
    assert advice in done.stderr
    assert (odd.state / "client.json").exists()


@pytest.mark.parametrize("name", [".credentials.json", ".claude.json", str(CACHE)])
def test_pipes_elsewhere_in_claude_codes_directory_hold_up_nobody(
    odd: Odd, invoke: Invoke, name: str
) -> None:
    odd.pipe(odd.directory / name)
    odd.file.write_bytes(b"{}")
    assert claude_code_has_login(os.environ) == (name != str(CACHE))  # unknown counts as one
    machine.picker_cache(odd.directory)
    assert point(odd).pointed
    assert invoke("client", "restore").exit_code == 0


async def test_a_pipe_beside_a_login_holds_up_nobody(odd: Odd) -> None:
    odd.pipe(odd.directory / ".claude.json")
    disk = of_this_machine(random.Random(1))
    assert await disk.look_beside(odd.directory / ".credentials.json") is None


@pytest.mark.parametrize(
    "line", [("client", "show"), ("repair",), ("client", "restore"), ("doctor", "--offline", "--no-replay")], ids=" ".join
)  # fmt: skip
@pytest.mark.parametrize("kind", ["a pipe", "a directory"])
def test_a_lease_that_is_no_file_is_said_in_a_sentence(
    odd: Odd, invoke: Invoke, kind: str, line: tuple[str, ...]
) -> None:
    lease = odd.state / "client.json"
    if kind == "a pipe":
        odd.pipe(lease)
    else:
        lease.mkdir()
    done = invoke(*line)
    assert done.exit_code == 1, done.output
    assert f"{lease} is {kind}, not a file" in done.output
    assert "move it away" in done.output
    assert "Errno" not in done.output


class Refusing(SettingsDisk):
    """A disk that fails at one of its steps: rights and full disks mean nothing to an administrator."""

    def __init__(self, step: str, number: int) -> None:
        self._step, self._number = step, number

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name == self._step:
            return lambda path, *rest: self._refuse(name, path, *rest)
        return super().__getattribute__(name)

    def _refuse(self, name: str, path: str, *rest: object) -> Any:
        if "settings.json" in path:
            raise OSError(self._number, os.strerror(self._number), path)
        return getattr(super(), name)(path, *rest)


@pytest.mark.parametrize("step", ["has_directory", "status", "read", "create", "exchange"])
@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "this user may not; make it and its directory yours (chown, chmod u+rwX)"),
        (errno.EROFS, "its file system is read-only; mount it writable"),
        (errno.ENOSPC, "the disk is full; make room"),
        (errno.EIO, f"{os.strerror(errno.EIO)}; look at the file and its directory"),
    ],
)
def test_what_the_disk_refuses_is_said_with_what_to_do(
    odd: Odd, step: str, number: int, told: str
) -> None:
    odd.directory.mkdir()
    odd.file.write_bytes(b"{}")
    (done,) = point(odd, disk=Refusing(step, number)).files
    assert done.did == "stood back"
    assert done.reason == (f"{odd.file} cannot be changed: {told}, or set client.manage = false")
    assert odd.file.read_bytes() == b"{}"


def test_what_cannot_be_read_back_is_said_with_what_to_do(odd: Odd) -> None:
    odd.directory.mkdir()
    odd.file.write_bytes(b"{}")
    assert point(odd).pointed
    done = restore_whole(odd.state, disk=Refusing("exchange", errno.EROFS))
    assert done.left
    assert "its file system is read-only; mount it writable" in done.messages[0]


def test_a_file_is_read_and_none_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert read_plain(str(file)) is None
    file.write_bytes(b"abc")
    assert read_plain(str(file)) == b"abc"
    assert read_plain(str(file), at_most=2) == b"ab"
    with pytest.raises(NoPlainFile):
        read_plain(str(tmp_path))


def test_a_part_of_the_path_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = str(tmp_path / "file" / "a" / "b")
    with pytest.raises(OSError, match="Not a directory") as raised:
        read_plain(path)
    found = trouble(path, raised.value)
    assert found.what == f"{path} cannot be read: {tmp_path / 'file'} is not a directory"

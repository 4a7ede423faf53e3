"""The settings guard's disk, and beside it all that could be left on it after a loss of power."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from supervisor.settings_files import CannotExchange, SettingsDisk, Status

Left = dict[Path, bytes]
"""What a machine finds that starts again: every file with its content."""


class _File:
    """`sure`: what of it was forced to the disk."""

    def __init__(self, content: bytes = b"", sure: bytes = b"") -> None:
        self.content = content
        self.sure = sure

    def possible(self) -> set[bytes]:
        if self.content == self.sure:
            return {self.sure}
        return {self.sure, self.content, self.content[: len(self.content) // 2]}


class ForgetfulDisk(SettingsDisk):
    """The real disk; `left` is every state that a loss of power after any step might have left.

    What a file holds is sure once the file was synced, before that it may be empty, half or whole.
    Which names a directory has is sure once the directory was; before that its changes come to
    the disk in their order, up to any of them, and those of two directories independently.

    `files`, `directories`: whether syncing them does anything.
    """

    def __init__(
        self,
        directories: Iterable[Path],
        *,
        exchanges: bool = True,
        files: bool = True,
        directories_too: bool = True,
    ) -> None:
        self.left: list[Left] = []
        self._exchanges = exchanges
        self._files = files
        self._directories = directories_too
        self._open: dict[int, _File] = {}
        # Of each directory what may be on the disk: the sure state, and each one after it.
        self._states: dict[Path, list[dict[Path, _File]]] = {}
        for directory in directories:
            there = {path: path.read_bytes() for path in directory.iterdir()}
            self._states[directory] = [{path: _File(data, data) for path, data in there.items()}]

    # -- the steps that change something

    def create(self, path: str, like: Status | None) -> int:
        descriptor = super().create(path, like)
        self._open[descriptor] = file = _File()
        self._change({Path(path): file})
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        super().write(descriptor, data)
        self._open[descriptor].content += data
        self._could_be_left()

    def sync(self, descriptor: int) -> None:
        """Of the machine's own disk nothing is forced: it does not lose its power."""
        if self._files:
            self._open[descriptor].sure = self._open[descriptor].content

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        del self._open[descriptor]

    def exchange(self, one: str, other: str) -> None:
        if not self._exchanges:
            raise CannotExchange(errno.ENOSYS, "no exchange here")
        super().exchange(one, other)
        first, second = Path(one), Path(other)
        self._change({first: self._at(second), second: self._at(first)})

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self._change({Path(target): self._at(Path(source)), Path(source): None})

    def link_new(self, source: str, target: str) -> None:
        super().link_new(source, target)
        self._change({Path(target): self._at(Path(source))})
        self._change({Path(source): None})

    def remove(self, path: str) -> None:
        super().remove(path)
        self._change({Path(path): None})

    def sync_directory(self, path: str) -> None:
        states = self._states[Path(path).parent]
        if self._directories:
            del states[:-1]

    # -- what would be left of it

    def _at(self, path: Path) -> _File | None:
        return self._states[path.parent][-1].get(path)

    def _change(self, names: dict[Path, _File | None]) -> None:
        """One change of a directory, which happens as a whole or not at all."""
        (directory,) = {path.parent for path in names}
        changed = {**self._states[directory][-1], **names}
        now = {path: file for path, file in changed.items() if file is not None}
        if now != self._states[directory][-1]:
            self._states[directory].append(now)
            self._could_be_left()

    def _could_be_left(self) -> None:
        for states in itertools.product(*self._states.values()):
            there = {path: file for names in states for path, file in names.items()}
            for left in _contents(there):
                if left not in self.left:
                    self.left.append(left)


def _contents(there: dict[Path, _File]) -> Iterator[Left]:
    for contents in itertools.product(*(file.possible() for file in there.values())):
        yield dict(zip(there, contents, strict=True))

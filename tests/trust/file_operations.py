"""A shim over the file operations of a run's folder: notes them, plays them back up to any point, makes them fail."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Cut = Literal["process", "power", "power, names written"]
CUTS: tuple[Cut, ...] = ("process", "power", "power, names written")
_OPEN, _REPLACE, _UNLINK, _FSYNC = Path.open, Path.replace, Path.unlink, os.fsync


@dataclass(frozen=True)
class Operation:
    """One change of the folder; `file` is an inode's number, so that a file keeps its own through a rename."""

    kind: Literal["create", "write", "truncate", "sync", "sync folder", "rename", "unlink", "note"]
    name: str = ""
    file: int = 0
    data: bytes = b""
    number: int = 0
    to: str = ""


@dataclass
class Shim:
    """Stands between the program and the file system, for files below `folder`.

    Attributes:
        folder: The run's folder.
        operations: What was done there, in order.
        fault: Asked before each operation that may fail, with its kind and how many came before; it may raise.
    """

    folder: Path
    operations: list[Operation] = field(default_factory=list)
    fault: Callable[[str, int], None] = lambda _kind, _number: None
    count: int = 0
    files: set[int] = field(default_factory=set)

    def note(self, number: int) -> None:
        """Remembers that the program now believes something to be safe."""
        self.operations.append(Operation("note", number=number))

    def ask(self, kind: str, path: Path | None = None) -> None:
        """Lets an operation fail; the system names the file where it was given a name."""
        self.count += 1
        try:
            self.fault(kind, self.count - 1)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path and str(path)) from error

    def open(self, path: Path, mode: str = "r", *arguments: Any, **others: Any) -> Any:
        """Stands for Path.open."""
        if path.parent != self.folder or mode not in {"wb", "ab"}:
            return _OPEN(path, mode, *arguments, **others)
        self.ask("open", path)
        is_new = mode == "wb" or not path.exists()
        stream = _OPEN(path, mode, buffering=0)
        file = os.fstat(stream.fileno()).st_ino
        self.files.add(file)
        if is_new:
            self.operations.append(Operation("create", path.name, file))
        return _Stream(self, stream, file)

    def replace(self, path: Path, target: Path) -> Any:
        """Stands for Path.replace."""
        if path.parent == self.folder:
            self.ask("rename", path)
            self.operations.append(Operation("rename", path.name, to=target.name))
        return _REPLACE(path, target)

    def unlink(self, path: Path, *, missing_ok: bool = False) -> None:
        """Stands for Path.unlink."""
        if path.parent == self.folder and path.exists():
            self.operations.append(Operation("unlink", path.name))
        _UNLINK(path, missing_ok=missing_ok)

    def fsync(self, descriptor: int) -> None:
        """Stands for os.fsync."""
        file = os.fstat(descriptor).st_ino
        if file == self.folder.stat().st_ino:
            self.ask("sync folder")
            self.operations.append(Operation("sync folder"))
        elif file in self.files:
            self.ask("sync")
            self.operations.append(Operation("sync", file=file))
        _FSYNC(descriptor)

    @contextlib.contextmanager
    def in_force(self) -> Iterator[Self]:
        """While in force, every operation in the folder goes through it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, ours in (("open", self.open), ("replace", self.replace), ("unlink", self.unlink)):
                patch.setattr(Path, name, _as_method(ours))
            patch.setattr(os, "fsync", self.fsync)
            yield self


def _as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that a class passes its instance to, which it would not to a method bound already."""

    def method(*arguments: Any, **others: Any) -> Any:
        return function(*arguments, **others)

    return method


class _Stream:
    """A file open for writing, unbuffered, so that what is written and what is noted never differ."""

    def __init__(self, shim: Shim, stream: Any, file: int) -> None:
        self.shim, self.stream, self.file = shim, stream, file

    def write(self, data: bytes) -> None:
        self.shim.ask("write")
        self.shim.operations.append(Operation("write", file=self.file, data=bytes(data)))
        self.stream.write(data)

    def truncate(self, size: int) -> None:
        self.shim.ask("truncate")
        self.shim.operations.append(Operation("truncate", file=self.file, number=size))
        self.stream.truncate(size)

    def flush(self) -> None:
        """Nothing is held back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def states(operations: list[Operation]) -> Iterator[tuple[str, dict[str, bytes], int]]:
    """The folder as a crash at every point leaves it: before and after each operation, and in the midst of each write.

    Yields:
        What happened in words, the folder's files, and the last number noted before.
    """
    for at in range(len(operations) + 1):
        points = [("before", operations[:at])]
        if at < len(operations) and operations[at].kind == "write":
            half = operations[at].data[: len(operations[at].data) // 2]
            write = Operation("write", file=operations[at].file, data=half)
            points.append(("in the midst of", [*operations[:at], write]))
        for when, done in points:
            noted = max((each.number for each in done if each.kind == "note"), default=0)
            last = "the end" if at == len(operations) else f"{operations[at].kind} {operations[at].name}"
            for cut in CUTS:
                yield f"{cut} cut {when} operation {at}, {last}", _after(done, cut), noted


def _after(operations: list[Operation], cut: Cut) -> dict[str, bytes]:
    """What is in the folder after these operations and a cut.

    A process that is killed leaves all that it wrote to the system. A machine without power leaves what was synced: of
    each file its bytes at its last sync, and the names at the folder's last sync; or, for renames may reach the disk
    sooner than asked, the latest names.
    """
    names: dict[str, int] = {}
    contents: dict[int, bytes] = {}
    synced_names: dict[str, int] = {}
    synced: dict[int, bytes] = {}
    files: dict[int, int] = {}  # inodes are used again
    for each in operations:
        if each.kind == "create":
            files[each.file] = len(contents)
            names[each.name] = files[each.file]
            contents[files[each.file]] = b""
        elif each.kind == "write":
            contents[files[each.file]] += each.data
        elif each.kind == "truncate":
            contents[files[each.file]] = contents[files[each.file]][: each.number]
        elif each.kind == "sync":
            synced[files[each.file]] = contents[files[each.file]]
        elif each.kind == "sync folder":
            synced_names = dict(names)
        elif each.kind == "rename":
            names[each.to] = names.pop(each.name)
        elif each.kind == "unlink":
            del names[each.name]
    if cut == "process":
        return {name: contents[file] for name, file in names.items()}
    left = synced_names if cut == "power" else names
    return {name: synced.get(file, b"") for name, file in left.items()}

"""Checks photographs before they are used: the beginning and the end of each file, or by decoding each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from typing import TYPE_CHECKING

from resnet_cli.data.decode import decode, in_order, seems_whole
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from resnet_cli.data.decode import Photographs

NAMED = 5  # photographs that a message names; it gives the number of the others
REPORT_SECONDS = 10.0
SAVE_SECONDS = 1.0


def look_at(photographs: Photographs, workers: int, report: Callable[[str], None]) -> None:
    """Checks each file's header and end, in a fiftieth of the time of decoding; suspicious files are decoded.

    Args:
        photographs: Files; those in memory are not checked.
        workers: Threads.
        report: Called with lines about a check that takes long.

    Raises:
        BadInputError: Some cannot be read or decoded.
    """
    told = time.monotonic()

    def look(file: str | bytes) -> str | None:
        return None if isinstance(file, bytes) else _fault(photographs.root, file, quickly=True)

    faults = []
    with contextlib.closing(in_order(look, photographs.files, workers)) as results:
        for number, fault in enumerate(results, start=1):
            faults += [fault] if fault else []
            if time.monotonic() - told >= REPORT_SECONDS:
                report(f"checking the validation photographs: {number:,} of {len(photographs):,}")
                told = time.monotonic()
    if faults:
        raise BadInputError(in_words(photographs.root, faults, len(photographs)))


def decode_all(
    root: Path, names: Sequence[str], records: Path, workers: int, progress: Callable[[int], None]
) -> list[str]:
    """Decodes these photographs of a folder; returns what is wrong, one item per photograph.

    A photograph without a fault is recorded with its size and modification time, and not decoded again after an
    interruption, or after others have been replaced. Once all are without a fault, the next call starts anew.

    Args:
        root: The folder.
        names: Names of the photographs, relative to it.
        records: The folder of these records.
        workers: Threads.
        progress: Called with the number of photographs done.
    """
    path = records / f"{re.sub('[^A-Za-z0-9_.-]', '-', root.name)}-{_digest(root)}.txt"
    known = set(path.read_bytes().split(b"\n")) if path.is_file() else set()
    faults: list[str] = []

    def look(name: str) -> tuple[bytes, str | None]:
        line = _line(root / name, name)
        return line, None if line in known else _fault(root, name, quickly=False)

    with _appending(path) as append, contextlib.closing(in_order(look, names, workers)) as results:
        for number, (line, fault) in enumerate(results, start=1):
            if fault:
                faults.append(fault)
            elif line not in known:
                append(line)
            progress(number)
    if not faults:
        with contextlib.suppress(OSError):
            path.unlink()
            records.rmdir()  # unless another folder's is there
    return faults


def check_all(
    root: Path, names: Sequence[str], records: Path, workers: int, progress: Callable[[int, int], None]
) -> None:
    """The same as `decode_all`, but a photograph that cannot be used is an error.

    Args:
        root: As in `decode_all`.
        names: As in `decode_all`.
        records: As in `decode_all`.
        workers: As in `decode_all`.
        progress: Called with the number of photographs done, and their total.

    Raises:
        BadInputError: Some cannot be used.
    """
    faults = decode_all(root, names, records, workers, lambda done: progress(done, len(names)))
    if faults:
        raise BadInputError(in_words(root, faults, len(names)))


def in_words(root: Path, faults: list[str], count: int) -> str:
    """Names the first photographs that cannot be used, says how many there are, and what to do."""
    first = "; ".join(faults[:NAMED])
    more = f"; and {len(faults) - NAMED:,} more" if len(faults) > NAMED else ""
    return (
        f"{root}: {len(faults):,} of {count:,} photographs cannot be used: {first}{more}; get the files again: a "
        "folder without them is another dataset, on which every run starts from the beginning"
    )


def _fault(root: Path, name: str, *, quickly: bool) -> str | None:
    """What is wrong with a photograph, after its name; None if nothing is."""
    try:
        if quickly and seems_whole(root / name):
            return None
        decode((root / name).read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    else:
        return None
    return f"{os.fsencode(name).decode(errors='backslashreplace')}: {reason}"


def _digest(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:8]


def _line(path: Path, name: str) -> bytes:
    """A file's record: size, modification time, name."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns} ".encode() + os.fsencode(name)
    return b"gone"


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Writes lines to the end of a file, and each second to the disk; nothing where it cannot be written."""
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(path.open("ab"))
        except OSError:  # a folder of datasets that cannot be written; then nothing is resumed
            yield lambda _line: None
            return
        stream.write(b"\n")  # the last line may have been cut short
        saved = time.monotonic()

        def append(line: bytes) -> None:
            nonlocal saved
            stream.write(line + b"\n")
            if time.monotonic() - saved >= SAVE_SECONDS:
                stream.flush()
                saved = time.monotonic()

        yield append

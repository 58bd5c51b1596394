"""CSV logs that survive a kill: a resumed run truncates them to the offset in its checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError
from resnet_cli.storage.run_folder import unwritten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from resnet_cli.tasks.task import Scores


class CsvLog:
    """A CSV file open for appending, truncated to `offset` bytes first; 0 begins it anew with its header.

    Raises:
        BadInputError: The file is shorter than `offset`, or the kept part does not have the SHA-256 `sha256`, if given.
    """

    def __init__(self, path: Path, columns: Iterable[str], offset: int, sha256: str = "") -> None:
        self.path = path
        kept = path.read_bytes()[:offset] if path.exists() else b""
        self._sum = hashlib.sha256(kept)
        if len(kept) < offset or sha256 not in ("", self.sha256):
            raise BadInputError(
                f"{path}: not as it was at the checkpoint; restore the file, or delete {path.parent} to start again"
            )
        with self._named(0):
            self._stream = path.open("ab")
        try:
            with self._named(0):
                self._stream.truncate(offset)
                self._stream.seek(offset)  # or tell() would give the old end until the next row
            if offset == 0:
                self.write([",".join(columns)])
        except OSError:
            self.close()
            raise

    @property
    def sha256(self) -> str:
        """Over all that was written."""
        return self._sum.hexdigest()

    def write(self, lines: Iterable[str]) -> None:
        """Appends lines."""
        content = "".join(f"{line}\n" for line in lines).encode()
        self._sum.update(content)
        with self._named(len(content)):
            self._stream.write(content)
            self._stream.flush()

    def sync(self) -> int:
        """Makes all that was written durable; returns the file's length in bytes, for the checkpoint."""
        with self._named(0):
            os.fsync(self._stream.fileno())
        return self._stream.tell()

    @contextlib.contextmanager
    def _named(self, count: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritten(self.path, count, error) from error

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):  # unwritten rows: this was reported, or they are written again
            self._stream.close()


def train_line(iteration: int, learning_rate: float, loss: float, value: float, parts: Sequence[float] = ()) -> str:
    """A row of train.csv; losses with nine digits, which determine a float32 exactly; value of the task's metric."""
    return ",".join([f"{iteration},{learning_rate:.6g},{loss:.9g},{value:.6g}", *(f"{each:.9g}" for each in parts)])


def eval_line(iteration: int, scores: Scores, averaged: Sequence[float | None] = ()) -> str:
    """A row of eval.csv; after the test's numbers those with averaged statistics, empty where they are None."""
    metrics = ",".join(f"{value:.6g}" for value in scores.metrics.values())
    others = "".join("," if value is None else f",{value:.6g}" for value in averaged)
    return f"{iteration},{scores.loss:.9g},{metrics},{scores.images}{others}"

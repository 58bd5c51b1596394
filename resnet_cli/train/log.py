"""CSV logs that survive a kill: a resumed run cuts them back to the offset its checkpoint names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

TRAIN_COLUMNS = ("iteration", "lr", "loss", "train_error")
EVAL_COLUMNS = ("iteration", "test_loss", "test_error", "test_error_top5", "images")


class CsvLog:
    """A CSV file open for appending, cut back to `offset` bytes first; 0 begins it anew with its header."""

    def __init__(self, path: Path, columns: Iterable[str], offset: int) -> None:
        self._stream = path.open("ab")
        self._stream.truncate(offset)
        if offset == 0:
            self.write([",".join(columns)])

    def write(self, lines: Iterable[str]) -> None:
        """Appends lines."""
        self._stream.write("".join(f"{line}\n" for line in lines).encode())
        self._stream.flush()

    def sync(self) -> int:
        """Makes all that was written durable; returns the file's length in bytes, for the checkpoint."""
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the file."""
        self._stream.close()


def train_line(iteration: int, learning_rate: float, loss: float, train_error: float) -> str:
    """A row of train.csv; loss with nine digits, which give back a float32 exactly, error in percent."""
    return f"{iteration},{learning_rate:.6g},{loss:.9g},{train_error:.6g}"


def eval_line(iteration: int, loss: float, top1_error: float, top5_error: float, images: int) -> str:
    """A row of eval.csv; errors in percent."""
    return f"{iteration},{loss:.9g},{top1_error:.6g},{top5_error:.6g},{images}"

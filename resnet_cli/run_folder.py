"""A run's folder: the names of its files, its status, and how a file is replaced without a moment of loss."""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt, ValidationError

from resnet_cli.errors import BadInputError
from resnet_cli.spec import Frozen

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

SPEC = "spec.json"
ENVIRONMENT = "environment.json"
TRAIN_CSV = "train.csv"
EVAL_CSV = "eval.csv"
PREDICTIONS = "predictions.npz"
CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint.prev.pt"
WEIGHTS = "weights.safetensors"
STATUS = "status.json"
LOCK = ".lock"


def test_file(views: str) -> str:
    """The name of the result of a test over these views: `test-10-crop.json`."""
    return f"test-{views}.json"


def scores_file(views: str) -> str:
    """The name of that test's scores, an npz.

    `scores` (N, C) float16, the log of the probabilities averaged over an image's views; `labels` (N,) int64.
    """
    return f"scores-{views}.npz"


State = Literal["planned", "running", "done", "failed", "diverged", "interrupted"]

# A running process renews its heartbeat every second or so; evaluation of a deep net on a slow CPU may take minutes.
HEARTBEAT_LIMIT = 600.0


class Status(Frozen):
    """Where a run stands. Errors in percent, times in seconds; `heartbeat` is Unix time."""

    state: State = "planned"
    iteration: NonNegativeInt = 0
    iterations: NonNegativeInt = 0
    learning_rate: float | None = None
    train_error: float | None = None
    test_error: float | None = None
    images_per_second: float | None = None
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    warmup_ended_at: int | None = None
    message: str = ""
    heartbeat: float = 0.0

    @property
    def is_stale(self) -> bool:
        """Whether the run says it is running, but nobody has renewed its heartbeat for long."""
        return self.state == "running" and time.time() - self.heartbeat > HEARTBEAT_LIMIT


class TestResult(Frozen):
    """What a test over several views of each image gave (section 3.4). Errors in percent."""

    __test__ = False  # no test of pytest's

    views: str
    top1_error: float
    top5_error: float
    images: NonNegativeInt


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file so that at every moment its name holds the whole old or the whole new content.

    A temporary file in the same folder is written and renamed; if it is to be durable, it is synced before and the
    folder after, so that a power cut keeps the promise too. On an error the old file is untouched and the temporary
    one removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames and new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file of scores: (N, C) float32 and the labels (N,) int64; executes nothing in it.

    Raises:
        BadInputError: It is missing, damaged, or no file of scores.
    """
    import numpy as np

    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            scores, labels = content["scores"], content["labels"]
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged archive can raise nearly anything
        raise BadInputError(f"{path}: not a file of scores: {' '.join(str(error).split())}") from error
    shapes_agree = scores.ndim == 2 and labels.shape == scores.shape[:1]  # noqa: PLR2004
    whole = shapes_agree and scores.dtype.kind == "f" and labels.dtype.kind == "i"
    if not whole or not len(labels) or not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise BadInputError(f"{path}: not a file of scores: want scores (N, C) and labels (N,) below C")
    return scores.astype(np.float32), labels


def read_status(folder: Path) -> Status:
    """The run's status; `planned` when nothing, or nothing readable, is there yet."""
    try:
        return Status.model_validate_json((folder / STATUS).read_bytes())
    except (OSError, ValidationError):
        return Status()


def write_status(folder: Path, status: Status) -> None:
    """Replaces the run's status and renews its heartbeat.

    Only "done" is made durable: after it the checkpoint goes. Any other status lost with the machine's power is
    written anew by the next start of the run.
    """
    content = status.model_copy(update={"heartbeat": time.time()}).model_dump_json(indent=1) + "\n"
    replace_file(folder / STATUS, content.encode(), durable=status.state == "done")

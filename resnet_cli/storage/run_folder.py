"""A run's folder: the names of its files, its status, and how a file is replaced atomically."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import platform
import time
import zlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, ValidationError

from resnet_cli.errors import BadInputError
from resnet_cli.spec import MOST_UPDATES, Frozen, Percent

if TYPE_CHECKING:
    from collections.abc import Mapping
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
SUMS = "SHA256SUMS"
LOCK = ".lock"
JOB = "job.json"
ENSEMBLE = "ensemble.json"
MOST_BYTES = 2**30  # that a packed file may unpack to; a small one can hold more than the memory
RESULTS = (TRAIN_CSV, EVAL_CSV, PREDICTIONS, WEIGHTS)  # what every finished run has


def test_file(views: str) -> str:
    """The name of the result of a test over these views: `test-10-crop.json`."""
    return f"test-{views}.json"


def scores_file(views: str) -> str:
    """The name of that test's scores, an npz.

    `scores` (N, C) float16, the log of the probabilities averaged over an image's views; `labels` (N,) int64.
    """
    return f"scores-{views}.npz"


def analysis_file(analysis: str) -> str:
    """The name of the result of an analysis of the trained net: `responses.csv`."""
    return f"{analysis}.csv"


Count = Annotated[int, Field(ge=0, le=MOST_UPDATES)]
State = Literal["planned", "running", "done", "failed", "diverged", "interrupted"]

# A running process renews its heartbeat every second or so; evaluation of a deep net on a slow CPU may take minutes.
HEARTBEAT_LIMIT = 600.0


class Status(Frozen):
    """Where a run stands. Errors in percent, times in seconds; `heartbeat` is Unix time.

    `host` is the machine that trains it, while one does; on that machine, the run's lock shows whether it still does.
    """

    state: State = "planned"
    iteration: Count = 0
    iterations: Count = 0
    learning_rate: float | None = None
    train_error: Percent | None = None
    test_error: Percent | None = None
    images_per_second: NonNegativeFloat | None = None
    train_seconds: NonNegativeFloat = 0.0
    evaluate_seconds: NonNegativeFloat = 0.0
    warmup_ended_at: Count | None = None
    message: str = ""
    heartbeat: NonNegativeFloat = 0.0
    host: str = ""

    @property
    def is_stale(self) -> bool:
        """Whether the status says running, but the heartbeat has not been renewed for long."""
        return self.state == "running" and time.time() - self.heartbeat > HEARTBEAT_LIMIT


class Job(Frozen):
    """The job of a cluster that trains a run, or trained it; written before the job is submitted.

    Attributes:
        name: The job's own name, by which the cluster finds it: no other job has it.
        task: The run's place in the job's array.
        log: The job's log in the results folder, which names its id; empty until it has begun.
        ending: How it ended, in one word, and why in `message`; empty until then.
        fruitless: Starts in a row that a time limit or a preemption ended before the run made progress.
    """

    launcher: Literal["slurm"] = "slurm"
    name: str
    task: NonNegativeInt
    log: str = ""
    ending: str = ""
    message: str = ""
    fruitless: NonNegativeInt = 0


class TestResult(Frozen):
    """What a test over several views of each image gave (section 3.4). Errors in percent."""

    __test__ = False  # no test of pytest's

    views: str
    top1_error: Percent
    top5_error: Percent
    images: NonNegativeInt


class EnsembleResult(Frozen):
    """The result of an ensemble's test, and of each member's own test; in percent, by the keys of a run's numbers.

    Attributes:
        members: The SHA-256 of each member's weights, by run id.
        numbers: The ensemble's.
        by_class: The value of each class, None where there is none: a row for each member, and last the ensemble's.
    """

    members: dict[str, str]
    images: NonNegativeInt
    numbers: dict[str, Percent]
    by_class: dict[str, tuple[tuple[Percent | None, ...], ...]]


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file so that at every moment its name holds the whole old or the whole new content.

    A temporary file in the same folder is written and renamed; if it is to be durable, it is synced before and the
    folder after, so that this holds after a power cut too. On an error the old file is untouched and the temporary
    one removed.

    Raises:
        OSError: With the file's name and the number of bytes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritten(path, len(content), error) from error
        raise


def unwritten(path: Path, count: int, error: OSError) -> OSError:
    """The system's error, completed with the file and the number of bytes."""
    what = f", writing {count:,} bytes" if count else ""
    return OSError(error.errno, f"{error.strerror or error}{what}", str(path))


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of processes that were killed while they wrote. The caller holds the run's lock."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes renames and new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Writes the SHA-256 of a finished run's files, by name, in the form that `sha256sum --check` reads."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    replace_file(folder / SUMS, lines.encode())


def add_sum(path: Path, content: bytes) -> None:
    """Adds a file that was made from a finished run to its folder's SHA256SUMS, if there is one."""
    sums = _sums(path.parent)
    if sums is not None:
        write_sums(path.parent, {**sums, path.name: hashlib.sha256(content).hexdigest()})


def sum_of(path: Path) -> str:
    """The SHA-256 that a finished run recorded for one of its files; empty if it recorded none."""
    return (_sums(path.parent) or {}).get(path.name, "")


def read_checked(path: Path) -> bytes:
    """The content of a finished run's file, compared with its folder's SHA256SUMS, if there is one.

    If the file is missing, its gzip file is read instead: long logs are published so. Its content is checked likewise.

    Raises:
        OSError: It cannot be read.
        BadInputError: It is not what the run wrote.
    """
    content = _read_packed(path) if not path.exists() and _packed(path).exists() else path.read_bytes()
    sums = _sums(path.parent)
    if sums is None or (path.name not in RESULTS and path.name not in sums):  # not finished, or by an earlier version
        return content
    if sums.get(path.name) != hashlib.sha256(content).hexdigest():
        raise BadInputError(
            f"{path}: damaged: its SHA-256 is not in {SUMS}; restore it, or delete {path.parent} and run it again"
        )
    return content


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _read_packed(path: Path) -> bytes:
    try:
        with gzip.open(_packed(path)) as stream:
            content = stream.read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInputError(f"{_packed(path)}: damaged: {error}; restore it") from error
    if len(content) > MOST_BYTES:
        raise BadInputError(f"{_packed(path)}: holds more than {MOST_BYTES:,} bytes: no run writes that")
    return content


def _sums(folder: Path) -> dict[str, str] | None:
    """The SHA-256 of a finished run's files, by name; None if there is no SHA256SUMS."""
    try:
        lines = (folder / SUMS).read_text(encoding="ascii", errors="replace").split("\n")
    except FileNotFoundError:
        return None
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}


def read_environment(folder: Path) -> dict[str, Any] | None:
    """What a run was trained with: versions, device, threads, commit; None if nothing readable is there."""
    try:
        content = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def packed_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an npz with these arrays."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # their names are no options of savez
    return buffer.getvalue()


def read_scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file of scores: (N, C) float32 and the labels (N,) int64; executes nothing in it.

    Raises:
        BadInputError: It is missing, damaged, not what the run wrote, or no file of scores.
    """
    return _with_labels(path, read_arrays(path, "scores"), "scores")


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads a finished run's logits on the test set, (N, C) float32, and the labels, (N,) int64; executes nothing.

    Returns:
        None if it holds no labels, as files of earlier versions.

    Raises:
        BadInputError: It is missing, damaged, not what the run wrote, or no file of predictions.
    """
    arrays = read_arrays(path, "logits")
    return _with_labels(path, arrays, "logits") if "labels" in arrays else None


def read_arrays(path: Path, name: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz: all, or the one of this name, and `labels` if it has them; executes nothing in it.

    Raises:
        BadInputError: It is missing, damaged, not what the run wrote, or has no such array.
    """
    import numpy as np

    try:
        with np.load(io.BytesIO(read_checked(path)), allow_pickle=False) as archive:
            wanted = archive.files if name is None else [name, *(["labels"] if "labels" in archive else [])]
            return {key: archive[key] for key in wanted}
    except BadInputError:
        raise
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged archive can raise nearly anything
        raise BadInputError(f"{path}: not a file of {name or 'arrays'}: {' '.join(str(error).split())}") from error


def _with_labels(path: Path, arrays: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The array of this name (N, C) as float32, and its labels (N,) as int64, if they are such arrays."""
    import numpy as np

    values, labels = arrays[name], arrays.get("labels", np.array(None))
    shapes_agree = values.ndim == 2 and labels.shape == values.shape[:1]  # noqa: PLR2004
    whole = shapes_agree and values.dtype.kind == "f" and labels.dtype.kind == "i"
    if not whole or not len(labels) or not 0 <= labels.min() <= labels.max() < values.shape[1]:
        raise BadInputError(f"{path}: not a file of {name}: want {name} (N, C) and labels (N,) below C")
    return values.astype(np.float32), labels.astype(np.int64)


def read_status(folder: Path) -> Status:
    """The run's status; `planned` when nothing, or nothing readable, is there yet."""
    try:
        return Status.model_validate_json((folder / STATUS).read_bytes())
    except (OSError, ValidationError):
        return Status()


def is_held(folder: Path) -> bool | None:
    """Whether a process holds the run's lock: takes it, and releases it at once. None if that cannot be determined.

    A process that begins to train a run waits a second for its lock, so this check does not keep it from training.
    """
    import filelock

    if not (folder / LOCK).exists():
        return False
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except (OSError, NotImplementedError):  # a folder that cannot be written, or a disk without locks
        return None


def is_trained_here(status: Status) -> bool:
    """Whether the process that wrote this status is on this machine."""
    return status.state == "running" and status.host == platform.node() != ""


def write_status(folder: Path, status: Status) -> None:
    """Replaces the run's status and renews its heartbeat.

    Only "done" is made durable, since the checkpoint is removed after it. Any other status that a power cut destroys
    is written again by the run's next start.
    """
    content = status.model_copy(update={"heartbeat": time.time()}).model_dump_json(indent=1) + "\n"
    replace_file(folder / STATUS, content.encode(), durable=status.state == "done")


def read_job(folder: Path) -> Job | None:
    """The job that trains the run, or trained it; None if there was none."""
    try:
        return Job.model_validate_json((folder / JOB).read_bytes())
    except (OSError, ValidationError):
        return None


def write_job(folder: Path, job: Job) -> None:
    """Replaces the record of the run's job."""
    replace_file(folder / JOB, (job.model_dump_json(indent=1) + "\n").encode())

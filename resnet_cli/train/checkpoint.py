"""Checkpoints: everything an exact resume needs, checksummed, replaced atomically, with the one before kept."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch

from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"resnet-cli checkpoint 1, SHA-256 "
HEADER_LENGTH = len(MAGIC) + 65  # the digest and a line's end


@dataclass
class TrainState:
    """A training between two updates. The data's order is not in it: that is a function of the iteration."""

    iteration: int = 0
    net: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    train_csv_bytes: int = 0
    eval_csv_bytes: int = 0
    train_csv_sha256: str = ""
    eval_csv_sha256: str = ""
    warmup_ended_at: int | None = None
    recent_errors: list[float] = field(default_factory=list)
    window_wrong: float = 0
    window_errors: list[float] = field(default_factory=list)
    rate_drops: list[int] = field(default_factory=list)
    tested_at: int = 0
    test_error: float | None = None
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    averages: bool = False  # whether eval.csv has `Task.averaged_metrics`: a run keeps the columns that it began with


# A checkpoint of an earlier version gets their defaults.
ADDED_LATER = {
    "window_wrong",
    "window_errors",
    "rate_drops",
    "tested_at",
    "train_csv_sha256",
    "eval_csv_sha256",
    "averages",
}


class UnreadableCheckpointError(BadInputError):
    """The file is not a complete checkpoint of this program."""


def save(state: TrainState, folder: Path) -> None:
    """Replaces the folder's checkpoint; the one before becomes `checkpoint.prev.pt`."""
    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    payload = buffer.getbuffer()
    current, previous = folder / run_folder.CHECKPOINT, folder / run_folder.PREVIOUS_CHECKPOINT
    if current.exists():
        # Were we killed right after this, there would be no current one, and the previous one is found.
        current.replace(previous)
    run_folder.replace_file(current, b"".join((_header(payload), payload)))


def _header(payload: memoryview) -> bytes:
    return MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"


def load(folder: Path) -> tuple[TrainState | None, list[str]]:
    """The folder's newest readable checkpoint, None if there is none, and what was wrong with a newer one.

    Raises:
        UnreadableCheckpointError: There are checkpoints, but none can be read; to start again is the user's decision.
    """
    problems: list[str] = []
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS_CHECKPOINT):
        path = folder / name
        if path.exists():
            try:
                return read(path), problems
            except UnreadableCheckpointError as error:
                problems.append(f"{path}: {error}")
    if problems:
        raise UnreadableCheckpointError(f"{'; '.join(problems)}; delete {folder} to start again")
    return None, []


def read(path: Path) -> TrainState:
    """Reads one checkpoint; executes nothing in it.

    Raises:
        UnreadableCheckpointError: Truncated, altered, or not a checkpoint.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableCheckpointError(error.strerror or str(error)) from error
    if not content.startswith(MAGIC):
        raise UnreadableCheckpointError("not a checkpoint of this program")
    payload = memoryview(content)[HEADER_LENGTH:]
    if content[:HEADER_LENGTH] != _header(payload):
        raise UnreadableCheckpointError("damaged: its SHA-256 does not match")
    try:
        values = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # a whole file with foreign content can raise nearly anything
        raise UnreadableCheckpointError(f"not a training's state: {' '.join(str(error).split())}") from error
    known = {each.name for each in fields(TrainState)}
    if not isinstance(values, dict) or not known - ADDED_LATER <= set(values) <= known:
        raise UnreadableCheckpointError("written by another version of this program")
    # Before tests could be stopped, a checkpoint was written after its update's test.
    return TrainState(**{"tested_at": values["iteration"], **values})

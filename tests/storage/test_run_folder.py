from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import Status


def no_space(*_: object) -> None:
    """Fails as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_replace_file(tmp_path: Path) -> None:
    """A file is written, and written again, with nothing left beside it."""
    path = tmp_path / "file"
    for content in (b"first", b"the second, longer", b""):
        run_folder.replace_file(path, content)

        assert content == path.read_bytes()
        assert ["file"] == names(tmp_path)


@pytest.mark.parametrize("before", [b"old", None])
def test_replace_file_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes | None) -> None:
    """When writing fails, the old content stays, and no temporary file."""
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left on device"):
        run_folder.replace_file(path, b"new")

    assert ([] if before is None else ["file"]) == names(tmp_path)
    assert before == (path.read_bytes() if path.exists() else None)


def test_replace_file_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the midst of writing leaves the old content and no temporary file."""

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_folder.replace_file(path, b"new")

    assert (["file"], b"old") == (names(tmp_path), path.read_bytes())


def test_replace_file_syncs_before_it_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is durable before it gets its name, and then the name is."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.read_bytes()))
    run_folder.replace_file(path, b"new")

    assert [b"old", b"new"] == seen


def test_replace_file_in_no_folder(tmp_path: Path) -> None:
    """Where there is no folder, the error is the system's."""
    with pytest.raises(FileNotFoundError):
        run_folder.replace_file(tmp_path / "none" / "file", b"new")


def test_status_round_trip(tmp_path: Path) -> None:
    """A status comes back as it was written, with a heartbeat of now."""
    status = Status(
        state="running",
        iteration=5,
        iterations=8,
        learning_rate=0.01,
        train_error=81.25,
        test_error=90.5,
        images_per_second=123.4,
        train_seconds=1.5,
        evaluate_seconds=0.25,
        warmup_ended_at=4,
        message="äöü",
    )
    start = time.time()
    run_folder.write_status(tmp_path, status)
    found = run_folder.read_status(tmp_path)

    assert status == found.model_copy(update={"heartbeat": 0.0})
    assert start <= found.heartbeat <= time.time()
    assert [run_folder.STATUS] == names(tmp_path)


@pytest.mark.parametrize(
    "content", [None, b"", b'{"state": "running"', b'{"state": "asleep"}', b"\xff", b"7"], ids=repr
)
def test_status_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """A status that is missing or damaged counts as planned."""
    if content is not None:
        (tmp_path / run_folder.STATUS).write_bytes(content)

    assert Status(state="planned", iteration=0) == run_folder.read_status(tmp_path)
    assert Status() == run_folder.read_status(tmp_path / "none")


def test_status_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a status cannot be written, the last one stays, and no temporary file."""
    run_folder.write_status(tmp_path, Status(iteration=3))
    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space left on device"):
        run_folder.write_status(tmp_path, Status(iteration=4))

    assert 3 == run_folder.read_status(tmp_path).iteration
    assert [run_folder.STATUS] == names(tmp_path)


@pytest.mark.parametrize(
    ("state", "age", "stale"),
    [
        ("running", 0, False),
        ("running", 590, False),
        ("running", 610, True),
        ("done", 610, False),
        ("interrupted", 610, False),
        ("planned", 610, False),
    ],
)
def test_stale(state: run_folder.State, age: float, stale: bool) -> None:
    """A run that says it is running, but has not renewed its heartbeat for ten minutes, is stale; no other is."""
    assert stale == Status(state=state, heartbeat=time.time() - age).is_stale


def npz(**arrays: object) -> bytes:
    """The content of a file of these arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


SCORES, LABELS = np.arange(12, dtype=np.float16).reshape(4, 3), np.array([0, 1, 2, 2])


@pytest.mark.parametrize("checked", [True, False])
def test_packed_file(tmp_path: Path, checked: bool) -> None:
    """A file that `gzip` has packed is read as it was, and compared with its own sum."""
    path, content = tmp_path / run_folder.TRAIN_CSV, b"iteration,lr\n1,0.1\n"
    packed = gzip.compress(content)
    (tmp_path / "train.csv.gz").write_bytes(packed)
    if checked:
        run_folder.write_sums(tmp_path, {path.name: hashlib.sha256(content).hexdigest()})

    assert content == run_folder.read_checked(path)

    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(content + b"2,0.1\n"))
    if checked:
        with pytest.raises(BadInputError, match=f"{path}: damaged: its SHA-256"):
            run_folder.read_checked(path)
    for damaged in (packed[:-9], b"no gzip", packed[:12] + b"\xff" + packed[13:]):
        (tmp_path / "train.csv.gz").write_bytes(damaged)
        with pytest.raises(BadInputError, match=r"train\.csv\.gz: damaged: "):
            run_folder.read_checked(path)


def test_the_file_itself_comes_first(tmp_path: Path) -> None:
    """Where both are there, the packed one is not looked at; where neither is, the file is missing."""
    path = tmp_path / run_folder.TRAIN_CSV
    with pytest.raises(FileNotFoundError):
        run_folder.read_checked(path)
    (tmp_path / "train.csv.gz").write_bytes(b"no gzip")
    path.write_bytes(b"a log")

    assert b"a log" == run_folder.read_checked(path)


def test_a_packed_file_that_holds_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks to more than any run writes is refused before it fills the memory."""
    monkeypatch.setattr(run_folder, "MOST_BYTES", 10_000)
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(bytes(10_001)))
    with pytest.raises(BadInputError, match="holds more than 10,000 bytes"):
        run_folder.read_checked(tmp_path / "train.csv")


def test_scores(tmp_path: Path) -> None:
    """Scores come back as float32, exactly, with their labels."""
    path = tmp_path / run_folder.scores_file("10-crop")
    path.write_bytes(npz(scores=SCORES, labels=LABELS))
    scores, labels = run_folder.read_scores(path)

    assert "scores-10-crop.npz" == path.name
    assert (np.float32, SCORES.tolist(), LABELS.tolist()) == (scores.dtype, scores.tolist(), labels.tolist())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        npz(scores=SCORES, labels=LABELS)[:-30],
        npz(scores=SCORES),
        npz(scores=SCORES[0], labels=LABELS),
        npz(scores=SCORES, labels=LABELS[:2]),
        npz(scores=SCORES, labels=LABELS + 1),
        npz(scores=SCORES.astype(int), labels=LABELS),
        npz(scores=SCORES[:0], labels=LABELS[:0]),
        npz(scores=np.array([object()]), labels=LABELS),
    ],
    ids=["empty", "html", "cut", "no labels", "shape", "too few", "too large", "whole numbers", "none", "objects"],
)
def test_scores_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    """A damaged file, or one of something else, is named in one line; nothing in it is executed."""
    path = tmp_path / "scores.npz"
    path.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        run_folder.read_scores(path)

    assert str(caught.value).startswith(f"{path}: not a file of scores: ")
    assert 1 == len(str(caught.value).splitlines())


def test_missing_scores(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(BadInputError, match="No such file"):
        run_folder.read_scores(tmp_path / "scores.npz")


def test_predictions(tmp_path: Path) -> None:
    """Predictions come back as float32 and int64, exactly; those of an earlier version, without labels, do not."""
    path = tmp_path / run_folder.PREDICTIONS
    path.write_bytes(npz(logits=SCORES, labels=LABELS.astype(np.int16)))
    found = run_folder.read_predictions(path)
    path.write_bytes(npz(logits=SCORES))

    assert found is not None
    assert (np.float32, np.int64) == (found[0].dtype, found[1].dtype)
    assert (SCORES.tolist(), LABELS.tolist()) == (found[0].tolist(), found[1].tolist())
    assert run_folder.read_predictions(path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        npz(logits=SCORES, labels=LABELS)[:-30],
        npz(scores=SCORES, labels=LABELS),
        npz(logits=SCORES, labels=LABELS[:2]),
        npz(logits=SCORES, labels=LABELS + 1),
        npz(logits=np.array([object()]), labels=LABELS),
        npz(logits=SCORES, labels=np.array([object()] * 4)),
    ],
    ids=["empty", "cut", "no logits", "too few", "too large", "objects", "objects for labels"],
)
def test_predictions_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    """A damaged file, or one of something else, is named in one line; nothing in it is executed."""
    path = tmp_path / run_folder.PREDICTIONS
    path.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        run_folder.read_predictions(path)

    assert str(caught.value).startswith(f"{path}: not a file of logits: ")
    assert 1 == len(str(caught.value).splitlines())


def test_predictions_are_compared_with_their_sum(tmp_path: Path) -> None:
    """Predictions that can be read but are not what the run wrote are refused."""
    path = tmp_path / run_folder.PREDICTIONS
    content = npz(logits=SCORES, labels=LABELS)
    path.write_bytes(content)
    run_folder.write_sums(tmp_path, {path.name: hashlib.sha256(content).hexdigest()})
    whole = run_folder.read_predictions(path)
    path.write_bytes(npz(logits=SCORES + 1, labels=LABELS))
    with pytest.raises(BadInputError, match=r"predictions\.npz: damaged"):
        run_folder.read_predictions(path)

    assert whole is not None


def test_missing_predictions(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(BadInputError, match="No such file"):
        run_folder.read_predictions(tmp_path / run_folder.PREDICTIONS)

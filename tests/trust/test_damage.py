"""Damaged files of a run: every flipped bit and every cut is noticed; the one before is taken, or one line says it."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from typing import TYPE_CHECKING

import pytest
from small_run import FILES, result, small_run, train_here

from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store
from resnet_cli.train import checkpoint, loop
from resnet_cli.train.checkpoint import UnreadableCheckpointError
from resnet_cli.weights.weight_files import read_weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = small_run(12)
DIES_AT = 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the run, done."""
    root = tmp_path_factory.mktemp("whole") / "results"

    assert ("done", "") == train_here(RUN, root)
    return root


@pytest.fixture
def died(tmp_path: Path) -> Path:
    """A results folder with the run, which died after its tenth update; the checkpoint before it is of the ninth."""
    root = tmp_path / "results"
    save = checkpoint.save

    def dies(state: checkpoint.TrainState, folder: Path) -> None:
        save(state, folder)
        if state.iteration == DIES_AT:
            raise RuntimeError("died")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", dies)

        assert "failed" == train_here(RUN, root)[0]
    return root


def damaged(good: bytes, flips: int, cuts: int, others: int) -> Iterator[bytes]:
    """The content with one bit flipped, anywhere; cut short; and others in its place."""
    chance = random.Random(2015)  # noqa: S311  where to damage, no secret
    for at in chance.sample(range(8 * len(good)), flips):
        content = bytearray(good)
        content[at // 8] ^= 1 << at % 8
        yield bytes(content)
    for length in chance.sample(range(len(good)), cuts):
        yield good[:length]
    known = [b"", b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", b"\0" * len(good), good + b"x", good * 2]
    yield from known
    for _ in range(others - len(known)):
        yield chance.randbytes(chance.randrange(1, len(good)))


def test_every_damage_of_a_checkpoint_is_noticed(died: Path) -> None:
    """Of 1,000 flipped bits, 200 cuts and 50 other contents none loads: the checkpoint before is taken, with a warning.

    Where that one is damaged too, the error names both and the next step.

    Seen to fail when the SHA-256 is not compared; and by one flipped bit in 600,000, the end of the header's line, when
    only the payload was.
    """
    folder = Store(died).folder(RUN)
    current, previous = folder / run_folder.CHECKPOINT, folder / run_folder.PREVIOUS_CHECKPOINT
    good = current.read_bytes()
    count = 0
    for content in damaged(good, 1_000, 200, 50):
        current.write_bytes(content)
        with pytest.raises(UnreadableCheckpointError):
            checkpoint.read(current)
        count += 1
        if count % 25 == 0:
            state, problems = checkpoint.load(folder)

            assert state is not None
            assert DIES_AT - 1 == state.iteration
            assert 1 == len(problems)
            assert problems[0].startswith(f"{current}: ")
    previous.write_bytes(content)
    with pytest.raises(UnreadableCheckpointError) as caught:
        checkpoint.load(folder)

    assert 1_250 == count
    assert str(caught.value).startswith(f"{current}: ")
    assert f"; {previous}: " in str(caught.value)
    assert str(caught.value).endswith(f"; delete {folder} to start again")


def test_every_bit_of_a_checkpoints_header_counts(died: Path) -> None:
    """No bit of the line before the payload, its end included, may be another."""
    path = Store(died).folder(RUN) / run_folder.CHECKPOINT
    good = path.read_bytes()
    for at in range(8 * checkpoint.HEADER_LENGTH):
        content = bytearray(good)
        content[at // 8] ^= 1 << at % 8
        path.write_bytes(content)
        with pytest.raises(UnreadableCheckpointError):
            checkpoint.read(path)


def test_the_run_goes_on_from_the_checkpoint_before(died: Path, whole: Path) -> None:
    """The same command, over a damaged checkpoint, ends with the same bytes, and says what it met."""
    path = Store(died).folder(RUN) / run_folder.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1])

    assert ("done", "") == train_here(RUN, died)
    assert result(RUN, whole) == result(RUN, died)
    assert f"{path}: damaged" in Store(died).status(RUN).message


def test_two_damaged_checkpoints_are_bad_input(died: Path) -> None:
    """The run does not begin anew by itself: that is the user's decision, and what is there stays."""
    folder = Store(died).folder(RUN)
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS_CHECKPOINT):
        (folder / name).write_bytes(b"")
    rows = (folder / run_folder.TRAIN_CSV).read_bytes()
    ending, message = train_here(RUN, died)

    assert "bad input" == ending
    assert f"delete {folder} to start again" in message
    assert rows == (folder / run_folder.TRAIN_CSV).read_bytes()


def test_the_one_good_checkpoint_is_not_given_up_for_a_damaged_one(died: Path) -> None:
    """After a fall back to the checkpoint before, a disk that is full at the next save leaves that one whole.

    Seen to fail when the damaged one keeps its name, and is taken for the one before by the save.
    """
    folder = Store(died).folder(RUN)
    path = folder / run_folder.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1])
    real = run_folder.replace_file

    def full(path: Path, content: bytes, **others: bool) -> None:
        if path.name == run_folder.CHECKPOINT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, content, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "replace_file", full)

        assert "failed" == train_here(RUN, died)[0]
    state, _ = checkpoint.load(folder)

    assert state is not None
    assert DIES_AT - 1 == state.iteration


def test_killed_after_a_test_and_again_before_the_next(whole: Path, tmp_path: Path) -> None:
    """A log that was cut back on resume is as long as it is, not as it was, in the next checkpoint.

    Seen to fail when a log's place in the file is left at the end that was cut off: the third start refused its log.
    """
    root = tmp_path / "results"
    update, save = loop._Training.update, checkpoint.save

    def die_at(iteration: int, training: loop._Training) -> None:
        if training.state.iteration == iteration:
            raise RuntimeError("died")
        update(training)

    for saved, died_at in ((2, 5), (3, 4)):  # of updates; the first dies after the test at 4, which is not saved
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop._Training, "update", lambda self, at=died_at: die_at(at, self))
            patch.setattr(
                loop.checkpoint,
                "save",
                lambda state, folder, at=saved: save(state, folder) if state.iteration == at else None,
            )

            assert "failed" == train_here(RUN, root)[0]

    assert ("done", "") == train_here(RUN, root)
    assert result(RUN, whole) == result(RUN, root)


@pytest.mark.parametrize("name", [run_folder.TRAIN_CSV, run_folder.EVAL_CSV])
def test_logs_that_are_not_as_the_checkpoint_left_them(name: str, died: Path) -> None:
    """One that is shorter, gone, or has another digit is not gone on with: its rows would be wrong without a word.

    Seen to fail when a log is cut back without a look at what is kept: a shorter one was filled up with zeros.
    """
    folder = Store(died).folder(RUN)
    good = (folder / name).read_bytes()
    for content in (good[:40], good.replace(b"1", b"7", 1), None):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        ending, message = train_here(RUN, died)

        assert "bad input" == ending
        assert message == (
            f"{folder / name}: not as it was at the checkpoint; restore the file, or delete {folder} to start again"
        )
        (folder / name).write_bytes(good)

    assert ("done", "") == train_here(RUN, died)


def read(store: Store, name: str) -> object:
    """What the program reads of a finished run."""
    if name == run_folder.TRAIN_CSV:
        return store.train_log(RUN)
    if name == run_folder.EVAL_CSV:
        return store.eval_log(RUN)
    if name == run_folder.WEIGHTS:
        return read_weights(store.folder(RUN))
    return run_folder.read_checked(store.folder(RUN) / name)


@pytest.mark.parametrize("name", FILES[:-1])
def test_every_damage_of_a_result_is_noticed(name: str, whole: Path, tmp_path: Path) -> None:
    """Of 250 flipped bits, 50 cuts and 10 other contents of a finished run's file none is taken for what was measured.

    Seen to fail when the file is not compared with SHA256SUMS: a digit of an error, or of a weight, changes in silence.
    """
    store = Store(tmp_path / "results")
    folder = store.create_folder(RUN)
    for each in (*FILES, run_folder.STATUS):
        (folder / each).write_bytes((Store(whole).folder(RUN) / each).read_bytes())
    read(store, name)
    for content in damaged((folder / name).read_bytes(), 250, 50, 10):
        (folder / name).write_bytes(content)
        with pytest.raises(BadInputError, match=name):
            read(store, name)


def test_every_damage_of_the_checksums_is_noticed(whole: Path, tmp_path: Path) -> None:
    """A flipped bit in SHA256SUMS itself makes one of its files pass for damaged, not all of them for whole."""
    store = Store(tmp_path / "results")
    folder = store.create_folder(RUN)
    for each in FILES:
        (folder / each).write_bytes((Store(whole).folder(RUN) / each).read_bytes())
    good = (folder / run_folder.SUMS).read_bytes()
    for at in range(8 * len(good)):
        content = bytearray(good)
        content[at // 8] ^= 1 << at % 8
        (folder / run_folder.SUMS).write_bytes(content)
        with pytest.raises(BadInputError):
            _ = [run_folder.read_checked(folder / name) for name in FILES[:-1]]


def test_results_whose_status_is_lost_are_not_trained_over(whole: Path, tmp_path: Path) -> None:
    """Without its status a finished run looks like one that never began; its results stay, and one line says so.

    Seen to fail when nobody looks for SHA256SUMS before a training begins.
    """
    root = tmp_path / "results"
    folder = Store(root).create_folder(RUN)
    for each in FILES:
        (folder / each).write_bytes((Store(whole).folder(RUN) / each).read_bytes())
    (folder / run_folder.STATUS).write_bytes(b"{")
    ending, message = train_here(RUN, root)

    assert "bad input" == ending
    assert message.startswith(f"{folder}: has results and no checkpoint, but status.json does not say done")
    assert result(RUN, whole) == result(RUN, root)


def test_checksums_are_those_of_sha256sum(whole: Path) -> None:
    """A line a file, digest, two spaces, name: what `sha256sum --check` reads."""
    folder = Store(whole).folder(RUN)
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in FILES[:-1]]

    assert sorted(lines) == sorted((folder / run_folder.SUMS).read_text().splitlines())

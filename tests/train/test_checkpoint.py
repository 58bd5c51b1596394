"""Checkpoints: what is saved is read back, and nothing else is ever read."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.storage import run_folder
from resnet_cli.train import checkpoint
from resnet_cli.train.checkpoint import TrainState, UnreadableCheckpointError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state() -> TrainState:
    """A state with every kind of value."""
    return TrainState(
        iteration=7,
        net={"weight": torch.arange(6.0).reshape(2, 3)},
        optimizer={"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        train_csv_bytes=123,
        eval_csv_bytes=45,
        warmup_ended_at=5,
        recent_errors=[90.0, 80.5],
        test_error=12.5,
        train_seconds=1.5,
        evaluate_seconds=0.5,
    )


def test_a_checkpoint_comes_back_whole(state: TrainState, tmp_path: Path) -> None:
    """Every field is read back as it was saved."""
    checkpoint.save(state, tmp_path)
    loaded, problems = checkpoint.load(tmp_path)

    assert [] == problems
    assert loaded is not None
    assert torch.equal(state.net.pop("weight"), loaded.net.pop("weight"))
    assert torch.equal(
        state.optimizer["state"][0].pop("momentum_buffer"), loaded.optimizer["state"][0].pop("momentum_buffer")
    )
    assert state == loaded


def test_the_one_before_is_kept(state: TrainState, tmp_path: Path) -> None:
    """After two saves both are there; without the current one, the previous one is found."""
    checkpoint.save(state, tmp_path)
    state.iteration = 8
    checkpoint.save(state, tmp_path)

    assert 7 == checkpoint.read(tmp_path / run_folder.PREVIOUS_CHECKPOINT).iteration

    (tmp_path / run_folder.CHECKPOINT).unlink()
    loaded, _ = checkpoint.load(tmp_path)

    assert loaded is not None
    assert 7 == loaded.iteration


def test_no_checkpoint_is_no_problem(tmp_path: Path) -> None:
    """A fresh folder has none, and that is no warning."""
    assert (None, []) == checkpoint.load(tmp_path)


def test_to_begin_anew_is_the_users_decision(state: TrainState, tmp_path: Path) -> None:
    """Where every checkpoint is damaged, the error names each and the next step."""
    for _ in range(2):
        checkpoint.save(state, tmp_path)
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS_CHECKPOINT):
        (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(UnreadableCheckpointError) as caught:
        checkpoint.load(tmp_path)

    assert run_folder.CHECKPOINT in str(caught.value)
    assert run_folder.PREVIOUS_CHECKPOINT in str(caught.value)
    assert f"delete {tmp_path} to start again" in str(caught.value)


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    """A whole file with other fields is told apart from a damaged one."""
    _write_with_good_checksum(tmp_path / run_folder.CHECKPOINT, _saved({"iteration": 1}))

    with pytest.raises(UnreadableCheckpointError, match="another version"):
        checkpoint.read(tmp_path / run_folder.CHECKPOINT)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    """A pickle that would run code, under a right checksum, is refused and does not run."""
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return marker.touch, ()

    path = tmp_path / run_folder.CHECKPOINT
    _write_with_good_checksum(path, _saved(Evil()))
    with pytest.raises(UnreadableCheckpointError):
        checkpoint.read(path)
    _write_with_good_checksum(path, pickle.dumps(Evil()))
    with pytest.raises(UnreadableCheckpointError):
        checkpoint.read(path)

    assert not marker.exists()


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _write_with_good_checksum(path: Path, payload: bytes) -> None:
    import hashlib

    path.write_bytes(checkpoint.MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


def test_a_checkpoint_from_before_tests_could_be_stopped(state: TrainState, tmp_path: Path) -> None:
    """It was written after its update's test, which is not to be made again."""
    values = vars(state)
    del values["tested_at"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "vars", lambda _: values, raising=False)
        checkpoint.save(state, tmp_path)
    loaded = checkpoint.read(tmp_path / run_folder.CHECKPOINT)

    assert (7, 7) == (loaded.iteration, loaded.tested_at)

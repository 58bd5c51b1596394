"""A whole training: what it writes, how it resumes, how it ends badly."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from paper_tasks import CIFAR10

from resnet_cli.evaluate.evaluate import evaluate
from resnet_cli.spec import Net
from resnet_cli.storage import run_folder
from resnet_cli.tasks.cifar10 import Cifar10
from resnet_cli.train import checkpoint, loop
from resnet_cli.train.loop import DivergedError, StoppedError, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from resnet_cli.data import Dataset
    from resnet_cli.data.stream import TrainStream
    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.run_folder import Status

RESNET_8 = Net.model_validate("resnet-8")
GOLDEN = Path(__file__).parents[1] / "golden" / "resnet-8-train.csv"


def contents(folder: Path) -> dict[str, bytes]:
    """What must not depend on how often a run was interrupted."""
    names = (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS)
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def uninterrupted(run_spec: RunSpec, train_in: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run, trained in one go."""
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    train_in(run_spec, folder)
    return folder


def test_a_finished_run_holds_logs_weights_and_predictions(
    uninterrupted: Path, run_spec: RunSpec, dataset: Dataset
) -> None:
    """One row an update, one evaluation an epoch and at the end, weights that give the logged error, no checkpoint."""
    log = pd.read_csv(uninterrupted / "train.csv")
    tests = pd.read_csv(uninterrupted / "eval.csv")
    net = CIFAR10.make(run_spec.net, 0)
    net.load_state_dict(safetensors.torch.load_file(uninterrupted / "weights.safetensors"))
    again = evaluate(net.to(memory_format=torch.channels_last), dataset, "fp32")
    predictions = np.load(uninterrupted / "predictions.npz")
    logits, labels = predictions["logits"], predictions["labels"]

    assert ["iteration", "lr", "loss", "train_error"] == list(log.columns)
    assert list(range(1, 25)) == log.iteration.tolist()
    assert [4, 8, 12, 16, 20, 24] == tests.iteration.tolist()
    assert again.top1_error == tests.test_error.iloc[-1]
    assert (64, 10) == logits.shape
    assert tests.test_error.iloc[-1] == 100 * (logits.argmax(axis=1) != labels).mean()
    assert np.float16 == logits.dtype
    assert np.allclose(logits, again.logits.numpy(), atol=2e-2)
    assert {"train.csv", "eval.csv", "weights.safetensors", "predictions.npz", "SHA256SUMS", "status.json"} == {
        path.name for path in uninterrupted.iterdir()
    }
    assert "done" == run_folder.read_status(uninterrupted).state


def test_warm_up_switch_and_milestones_are_in_the_log(uninterrupted: Path) -> None:
    """The rate is 0.01 for the five updates of the window, then 0.1, then a tenth after 12 and 18."""
    log = pd.read_csv(uninterrupted / "train.csv")

    assert [0.01] * 5 + [0.1] * 7 + [0.01] * 6 + [0.001] * 6 == log.lr.tolist()
    assert 5 == run_folder.read_status(uninterrupted).warmup_ended_at


def test_losses_are_the_golden_ones(uninterrupted: Path) -> None:
    """The first updates' losses and errors stay what they were: a change of the training shows here.

    The tolerance covers processors that sum in another order; it grows with the updates, as their differences do.
    """
    log, golden = pd.read_csv(uninterrupted / "train.csv"), pd.read_csv(GOLDEN)

    assert golden.lr.tolist() == log.lr.tolist()
    assert golden.loss[:6].tolist() == pytest.approx(log.loss[:6].tolist(), rel=1e-3)
    assert golden.loss.tolist() == pytest.approx(log.loss.tolist(), rel=0.2)
    assert golden.train_error[:3].tolist() == log.train_error[:3].tolist()


def test_updates_are_sgd_by_hand(run_spec: RunSpec, dataset: Dataset, tmp_path: Path) -> None:
    """Two updates move each weight, BN's included, by lr times a velocity: 0.9 of the last, gradient, decay of weights.

    With a decay of 0.5 instead of 0.0001, so that leaving it out is seen.
    """
    from resnet_cli.data.stream import TrainStream

    net = CIFAR10.make(run_spec.net, run_spec.seed).to(memory_format=torch.channels_last)
    stream = TrainStream(dataset, run_spec.seed, 16)
    velocities = [torch.zeros_like(weight) for weight in net.parameters()]
    losses = []
    for iteration in (1, 2):
        images, labels = stream.batch(iteration)
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for weight, velocity, gradient in zip(net.parameters(), velocities, gradients, strict=True):
                velocity.mul_(0.9).add_(gradient + 0.5 * weight)
                weight.sub_(0.01 * velocity)
    two = run_spec.model_copy(
        update={"protocol": run_spec.protocol.model_copy(update={"iterations": 2, "weight_decay": 0.5})}
    )
    train(two, tmp_path, dataset, report=lambda status: None, should_stop=lambda: False)  # noqa: ARG005
    trained = safetensors.torch.load_file(tmp_path / "weights.safetensors")

    for name, weight in net.named_parameters():
        torch.testing.assert_close(trained[name], weight.detach(), rtol=1e-5, atol=1e-7)
    assert losses == pytest.approx(pd.read_csv(tmp_path / "train.csv").loss.tolist(), rel=1e-6)


@pytest.mark.parametrize("cut", range(1, 24))
def test_resume_at_every_update_is_exact(
    cut: int, uninterrupted: Path, run_spec: RunSpec, train_in: Callable[..., None], tmp_path: Path
) -> None:
    """Stopped after any update, mid-epoch, in the warm-up or at a milestone, and run again: the same bytes.

    Seen to fail when momentum, BN statistics, recent errors or the CSV offsets are left out of the checkpoint.
    """
    folder = tmp_path / "resumed"
    train_in(run_spec, folder, stop_at=cut)

    assert cut == run_folder.read_status(folder).iteration
    assert "interrupted" == run_folder.read_status(folder).state

    train_in(run_spec, folder)

    assert contents(uninterrupted) == contents(folder)


@pytest.fixture(scope="module")
def without_averages(
    run_spec: RunSpec, train_in: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the run as it was trained before statistics were averaged."""
    folder = tmp_path_factory.mktemp("runs") / "without"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cifar10, "averaged_metrics", ())
        train_in(run_spec, folder)
    return folder


def test_averages_change_nothing(uninterrupted: Path, without_averages: Path, dataset: Dataset) -> None:
    """The training and its running tests are the same, bit by bit; behind them stands the error with averages."""
    both, old = contents(uninterrupted), contents(without_averages)
    rows, old_rows = (each.pop(run_folder.EVAL_CSV).decode().splitlines() for each in (both, old))
    net = CIFAR10.make(RESNET_8, 0)
    net.load_state_dict(safetensors.torch.load_file(uninterrupted / run_folder.WEIGHTS))
    averaged = evaluate(CIFAR10.averaged(net, dataset, "fp32"), dataset, "fp32")

    assert old == both
    assert "iteration,test_loss,test_error,test_error_top5,images,averaged_test_error" == rows[0]
    assert old_rows == [row.rpartition(",")[0] for row in rows]
    assert averaged.top1_error == float(rows[-1].rpartition(",")[2])


def test_a_run_from_before_keeps_its_columns(
    without_averages: Path, run_spec: RunSpec, train_in: Callable[..., None], tmp_path: Path
) -> None:
    """Begun before statistics were averaged, it goes on as it began: its log has the old columns to the end."""
    folder = tmp_path / "resumed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cifar10, "averaged_metrics", ())
        train_in(run_spec, folder, stop_at=10)
    state = checkpoint.read(folder / run_folder.CHECKPOINT)
    del state.averages  # as in a checkpoint from before
    checkpoint.save(state, folder)
    train_in(run_spec, folder)

    assert contents(without_averages) == contents(folder)


def test_rows_after_the_checkpoint_are_cut(
    uninterrupted: Path, run_spec: RunSpec, train_in: Callable[..., None], tmp_path: Path
) -> None:
    """Rows that a killed run wrote after its last checkpoint, even half a row, do not stand twice."""
    folder = tmp_path / "killed"
    train_in(run_spec, folder, stop_at=10)
    for name in ("train.csv", "eval.csv"):
        with (folder / name).open("a") as stream:
            stream.write("11,0.1,2.3,90\n12,0.")
    train_in(run_spec, folder)

    assert contents(uninterrupted) == contents(folder)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    uninterrupted: Path, run_spec: RunSpec, train_in: Callable[..., None], tmp_path: Path
) -> None:
    """The previous checkpoint is taken, the status says so, and the result is the same."""
    folder = tmp_path / "damaged"
    train_in(run_spec, folder, stop_at=10, checkpoint_seconds=0)
    path = folder / run_folder.CHECKPOINT
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    state, problems = checkpoint.load(folder)

    assert state is not None
    assert 9 == state.iteration
    assert [f"{path}: damaged: its SHA-256 does not match"] == problems

    train_in(run_spec, folder)

    assert contents(uninterrupted) == contents(folder)
    assert "checkpoint.pt: damaged" in run_folder.read_status(folder).message


def test_stopping_between_the_last_update_and_the_results_loses_nothing(
    uninterrupted: Path,
    run_spec: RunSpec,
    train_in: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that dies in its final evaluation or while writing results ends the same when run again."""
    folder = tmp_path / "late"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_results", die)
        with pytest.raises(KeyboardInterrupt):
            train_in(run_spec, folder)
    train_in(run_spec, folder)

    assert contents(uninterrupted) == contents(folder)


@pytest.mark.parametrize("number", [1, 3, 6])
def test_stopped_in_a_test(
    number: int,
    uninterrupted: Path,
    run_spec: RunSpec,
    dataset: Dataset,
    train_in: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal that comes while the net is tested, on the way or at the end, stops the test; it is made anew, once.

    Seen to fail when the checkpoint does not say whether its update was tested.
    """
    tests = 0
    real = Cifar10.test

    def counted(*arguments: Any, **others: Any) -> Any:
        nonlocal tests
        tests += 1
        return real(*arguments, **others)

    folder = tmp_path / "run"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Cifar10, "test", counted)
        with pytest.raises(StoppedError):
            train(run_spec, folder, dataset, report=lambda _: None, should_stop=lambda: tests == number)
    status, rows = run_folder.read_status(folder), pd.read_csv(folder / "eval.csv")
    train_in(run_spec, folder)

    evaluation = -(-number // 2)  # each has a test with running statistics and one with averaged ones
    assert ("interrupted", 4 * evaluation) == (status.state, status.iteration)
    assert evaluation - 1 == len(rows)
    assert contents(uninterrupted) == contents(folder)


def test_a_long_test_tells_that_it_lives(
    run_spec: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a test that takes minutes the status is written anew, so that the run does not pass for dead."""
    monkeypatch.setattr(loop, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 1e9)
    told: list[tuple[str, int]] = []
    train(
        run_spec,
        tmp_path,
        dataset,
        report=lambda status: told.append((status.state, status.iteration)),
        should_stop=lambda: False,
    )

    assert [("running", 4 * number) for number in range(7)] + [("done", 24)] == list(dict.fromkeys(told))


def test_a_long_run_is_tested_less_often(run_spec: RunSpec, train_in: Callable[..., None], tmp_path: Path) -> None:
    """Of 24 epochs whose test takes as many images as an epoch, each seventh ends with a test, and so does the run.

    Each third test, and the last, is made with averaged statistics too; the others leave their column empty.
    """
    protocol = run_spec.protocol.model_copy(update={"iterations": 96})
    train_in(run_spec.model_copy(update={"protocol": protocol}), tmp_path / "run")

    tests = pd.read_csv(tmp_path / "run" / "eval.csv")

    assert [28, 56, 84, 96] == tests.iteration.tolist()
    assert [False, False, True, True] == tests.averaged_test_error.notna().tolist()


def test_the_first_update_is_no_part_of_the_speed(
    run_spec: RunSpec, train_in: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In it a step may be compiled, which takes as long as hundreds of updates and says nothing of the others."""
    real = loop.EagerStep.update

    def slow_at_first(self: loop.EagerStep, stream: TrainStream, iteration: int, rate: float) -> object:
        if iteration == 1:
            time.sleep(30)
        return real(self, stream, iteration, rate)

    slept: list[float] = []
    clock = time.monotonic
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(slept))
    monkeypatch.setattr(loop.EagerStep, "update", slow_at_first)
    train_in(run_spec, tmp_path / "run")

    status = run_folder.read_status(tmp_path / "run")

    assert [30] == slept
    assert status.train_seconds > 30
    assert status.images_per_second is not None
    assert status.images_per_second > 23 * 16 / 30


def test_nan_stops_the_run_before_it_is_saved(
    run_spec: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is not finite raises, its row is not logged, and the checkpoint from before stays."""
    real = loop.EagerStep.__call__
    calls = 0

    def poisoned(self: loop.EagerStep, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 11:
            with torch.no_grad():
                self.net.fc.weight[0, 0] = float("nan")
        return real(self, *batch)

    monkeypatch.setattr(loop.EagerStep, "__call__", poisoned)
    with pytest.raises(DivergedError, match="nan at iteration 11"):
        train(
            run_spec,
            tmp_path,
            dataset,
            report=lambda status: None,  # noqa: ARG005
            should_stop=lambda: False,
            checkpoint_seconds=0,
        )

    assert list(range(1, 11)) == pd.read_csv(tmp_path / "train.csv").iteration.tolist()
    assert 10 == checkpoint.read(tmp_path / run_folder.CHECKPOINT).iteration


def test_a_last_update_that_breaks_the_net_is_divergence(run_spec: RunSpec, dataset: Dataset, tmp_path: Path) -> None:
    """A finite loss whose update makes the weights infinite ends as diverged, not with an error of 100%."""
    protocol = run_spec.protocol.model_copy(
        update={"iterations": 1, "learning_rate": 3e38, "weight_decay": 1e3, "warmup": None}
    )
    run = run_spec.model_copy(update={"protocol": protocol})
    with pytest.raises(DivergedError, match="weights are not finite after the last update"):
        train(run, tmp_path, dataset, report=lambda status: None, should_stop=lambda: False)  # noqa: ARG005

    assert not (tmp_path / run_folder.WEIGHTS).exists()


def test_progress_is_reported_and_written(
    run_spec: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every report is also in status.json, and the last one says done."""
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    seen: list[Status] = []

    def report(status: Status) -> None:
        written = json.loads((tmp_path / run_folder.STATUS).read_text())
        assert status.iteration == written["iteration"]
        seen.append(status)

    train(run_spec, tmp_path, dataset, report=report, should_stop=lambda: False)

    assert list(range(25)) == sorted({status.iteration for status in seen})
    assert "running" == seen[0].state
    assert "done" == seen[-1].state
    assert seen[-1].images_per_second is not None
    assert seen[-1].test_error == pd.read_csv(tmp_path / "eval.csv").test_error.iloc[-1]


def test_stop_is_obeyed_after_the_update_in_hand(run_spec: RunSpec, dataset: Dataset, tmp_path: Path) -> None:
    """Asked to stop, a training makes no further update, and its checkpoint is of that update."""
    with pytest.raises(StoppedError):
        train(run_spec, tmp_path, dataset, report=lambda status: None, should_stop=lambda: True)  # noqa: ARG005

    assert 1 == checkpoint.read(tmp_path / run_folder.CHECKPOINT).iteration

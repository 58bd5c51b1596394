"""kill -9 at random moments: what was promised is there afterwards, to the bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
import torch

from resnet_cli import run_folder
from resnet_cli.runs.execute import Settings, execute
from resnet_cli.runs.store import Store
from resnet_cli.spec import Net, Protocol, RunSpec, Variant, Warmup
from resnet_cli.train import checkpoint

UPDATES = 24
RUN = RunSpec(
    net=Net.model_validate("resnet-8"),
    variant=Variant(dataset="synthetic", tiny=True),
    protocol=Protocol(
        batch_size=16,
        milestones=(12, 18),
        iterations=UPDATES,
        warmup=Warmup(from_depth=8, window=5, until_train_error=99.9),
    ),
    seed=0,
)
FILES = (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS)


class Silent:
    """Watches nothing."""

    def progressed(self, *_: object) -> None:
        """A run has moved on."""

    def ended(self, *_: object) -> None:
        """A run is over."""


def train_to_the_end(root: Path) -> None:
    """Executes the run with a checkpoint after every update; the body of a process that will be killed."""
    torch.set_num_threads(1)
    execute([RUN], Store(root), Settings("cpu", Path("nowhere"), checkpoint_seconds=0), Silent())


def result(root: Path) -> list[bytes]:
    """The run's logs, weights and predictions."""
    return [(Store(root).folder(RUN) / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("kills", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_killed_at_random_moments_ends_the_same(kills: int, tmp_path: Path) -> None:
    """A run killed by SIGKILL again and again, and run again, ends with the bytes of one that never was.

    Seen to fail when the checkpoint is written in place, and when the CSVs are not cut back on resume.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resnet_cli.runs.execute", "torch._dynamo"])
    train_to_the_end(tmp_path / "uninterrupted")
    expected = result(tmp_path / "uninterrupted")
    moments = random.Random(2015)  # noqa: S311  moments to kill at, not secrets
    reached = set()
    killed = finished = 0
    while killed < kills:
        root = tmp_path / f"run-{finished}"
        process = context.Process(target=train_to_the_end, args=(root,))
        process.start()
        process.join(moments.uniform(0.05, 1.2))
        if process.exitcode is None:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
            state, _ = checkpoint.load(Store(root).folder(RUN))
            reached.add(state.iteration if state else 0)
            continue
        assert 0 == process.exitcode
        assert expected == result(root)
        finished += 1
    train_to_the_end(root)

    assert expected == result(root)
    assert len(reached) > 5  # the kills came while it trained, not only before and after

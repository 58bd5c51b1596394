"""A run small enough to be made hundreds of times, and what must not depend on how often it was interrupted."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from processes import wait_for

from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.execute import execute
from resnet_cli.runs.settings import Settings
from resnet_cli.spec import Net, Protocol, Warmup
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store
from resnet_cli.train import loop

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from resnet_cli.runs.settings import Ending

FILES = (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS, run_folder.SUMS)


def small_run(updates: int, net: str = "resnet-8", seed: int = 0) -> RunSpec:
    """A run of a net on 64 drawn images, an epoch each four updates; it warms up for the five that its window needs."""
    protocol = Protocol(
        batch_size=16,
        milestones=(max(1, updates // 2), max(1, updates * 3 // 4)),
        iterations=updates,
        warmup=Warmup(from_depth=8, window=5, until_train_error=99.9),
    )
    variant = Variant(dataset="synthetic", tiny=True)
    return RunSpec(net=Net.model_validate(net), variant=variant, protocol=protocol, seed=seed)


class Endings:
    """Watches for how runs end."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def progressed(self, *_: object) -> None:
        """A run has moved on."""

    def noticed(self, *_: object) -> None:
        """A run is busy with something else."""

    def ended(self, _run: RunSpec, _ending: Ending, message: str) -> None:
        """A run is over."""
        self.messages.append(message)


def train_here(
    run: RunSpec, root: Path, dataset_root: Path | None = None, checkpoint_seconds: float = 0
) -> tuple[Ending, str]:
    """Executes a run in a results folder, with a checkpoint every so many seconds; how it ended, and what was said."""
    settings = Settings("cpu", root.parent / "data", checkpoint_seconds=checkpoint_seconds, dataset_root=dataset_root)
    watcher = Endings()
    report = execute([run], Store(root), settings, watcher)
    return report.endings[run.run_id], watcher.messages[-1]


def result(run: RunSpec, root: Path) -> list[bytes]:
    """The run's logs, weights, predictions and checksums."""
    return [(Store(root).folder(run) / name).read_bytes() for name in FILES]


def leftovers(run: RunSpec, root: Path) -> list[str]:
    """The temporary files in the run's folder."""
    return sorted(path.name for path in Store(root).folder(run).glob(".*.tmp"))


def note_updates(path: Path) -> None:
    """In a process of its own: from now on writes down when each update begins."""
    update = loop._Training.update
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noted(training: loop._Training) -> None:
        os.write(descriptor, f"{time.monotonic()}\n".encode())
        update(training)

    loop._Training.update = noted  # type: ignore[method-assign]


def wait_for_updates(path: Path, count: int, process: BaseProcess) -> None:
    """Waits until a process that notes its updates has begun so many, or has ended.

    Counted in updates and not in seconds, moments are as far on a slow machine as on a fast one.
    """

    def is_so() -> bool:
        return process.exitcode is not None or (path.exists() and path.read_bytes().count(b"\n") >= count)

    wait_for(is_so, f"no {count} updates")

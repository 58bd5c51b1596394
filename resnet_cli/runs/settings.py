"""How to train runs, and how their progress is reported. Imports no torch on loading."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from resnet_cli.device.ranks import ALONE, Ranks
from resnet_cli.errors import BadInputError
from resnet_cli.storage.run_folder import Status
from resnet_cli.tasks import obstacle

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import torch

    from resnet_cli.identity import EnsembleSpec, RunSpec

Ending = Literal["done", "failed", "bad input", "diverged", "interrupted", "locked"]
FAILED: tuple[Ending, ...] = ("failed", "bad input")


@dataclass(frozen=True)
class Settings:
    """How to train; no setting may change a result beyond the last bits.

    Attributes:
        device: cuda, mps, cpu or auto.
        data_dir: The folder of datasets.
        dataset_root: A folder of classes in place of the paper's photographs, or their own folder.
        workers: Threads of each run that read photographs.
        decode: What decodes JPEGs for training; CUDA's decoder differs from the CPU's in the last bits of a pixel.
        jobs: Runs side by side, each in its own process, distributed over the GPUs in turn. CPU threads are divided by
            this number even if fewer runs are left: a resumed run must have as many threads as it began with, to end
            with the same bits.
        checkpoint_seconds: Time between checkpoints.
        after: The experiment's test or analysis of each trained net; None for the test of every net only.
        ensembles: Those that are tested once all their nets are trained.
        compiled: Whether to use the compiled step, else the plain one; None decides by the length of the run.
        weights: The file that each net starts from, by the net's name, if `Variant.weights` is set.
        ranks: This process among those that train one net together.
    """

    device: str
    data_dir: Path
    jobs: int = 1
    checkpoint_seconds: float = 30.0
    dataset_root: Path | None = None
    workers: int = 2
    decode: Literal["cpu", "cuda"] = "cpu"
    compiled: bool | None = None
    after: str | None = None
    ranks: Ranks = ALONE
    ensembles: tuple[EnsembleSpec, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def place(self) -> torch.device:
        """The device that was found here; processes that are started with these settings use it too.

        Raises:
            BadInputError: It is not available, or torch is too old.
        """
        from resnet_cli.device.torch_device import choose_device

        return choose_device(self.device)

    def check_data(self, runs: Iterable[RunSpec]) -> None:
        """Checks that the data of these runs is here.

        Raises:
            BadInputError: It is missing or damaged.
        """
        for variant in {run.variant for run in runs}:
            in_the_way = obstacle(variant, self.data_dir, self.dataset_root)
            if in_the_way:
                raise BadInputError(in_the_way)


@dataclass(frozen=True)
class Notice:
    """A message about a run besides its status: a pass over its data, or a test, and its progress."""

    text: str


class Monitor(Protocol):
    """An observer of runs. Its methods are called in the main process, in the order of events."""

    def progressed(self, run: RunSpec, status: Status) -> None:
        """A run has started or made progress."""

    def noticed(self, run: RunSpec, notice: Notice) -> None:
        """A run is busy with something other than its updates."""

    def ended(self, run: RunSpec, ending: Ending, message: str) -> None:
        """A run has ended; if it is not done, `message` says why, in one line."""


@dataclass(frozen=True)
class Report:
    """How the runs ended, and the signal that stopped them, if one did. Runs never started are in no list."""

    endings: dict[str, Ending]
    stopped_by: signal.Signals | None

    def count(self, ending: Ending) -> int:
        """The number of runs with this ending."""
        return sum(each == ending for each in self.endings.values())


def pass_on(monitor: Monitor, run: RunSpec, news: Status | Notice) -> None:
    """Tells a monitor a run's progress, or what it is busy with."""
    if isinstance(news, Status):
        monitor.progressed(run, news)
    else:
        monitor.noticed(run, news)

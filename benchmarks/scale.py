"""How long every table takes on 8 and on 64 GPUs, and what crosses the network: the estimate of docs/scale.md.

    python benchmarks/scale.py [--images-per-second 2470] [--layer-ms 0.022] ...

Nothing is measured: the options are what a GPU does in a second, to be replaced by what yours does (`resnet bench` and
benchmarks/imagenet.py say); work, gradients and files are counted from the experiments themselves.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_cli.experiment import experiment_names, load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.estimate import bytes_needed, duration
from resnet_cli.runs.plan import plan
from resnet_cli.tasks import task_of

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST = 8  # GPUs of a host, which train one ImageNet net together
IMAGENET_IMAGES, VALIDATION_IMAGES = 1_281_167, 50_000
VIEWS = {"10-crop": 10.0, "dense": 2 * sum(side**2 for side in (224, 256, 384, 480, 640)) / 224**2}
TEST_COST = 1 / 3  # of what a training image costs
CIFAR_TESTS = 0.05  # of a run, at most


@dataclass(frozen=True)
class Assumptions:
    """What a GPU and its host do in a second.

    Attributes:
        images_per_second: ResNet-50's training images on one GPU, bf16. NVIDIA's published figure for one A100.
        layer_ms: Milliseconds of a CIFAR net's update for each layer, where launches and not arithmetic limit it.
            Calculated: nine kernels of 2.5 microseconds.
        decoded_per_core: Photographs that a core decodes and augments in a second; measured, see docs/imagenet.md.
        cores: For each GPU.
        link: Bytes a second that a GPU sends another of its host.
        file_bytes: Of a photograph; ImageNet's mean.
    """

    images_per_second: float = 2_470.0
    layer_ms: float = 0.022
    decoded_per_core: float = 189.0
    cores: int = 16
    link: float = 100e9
    file_bytes: int = 110_000

    @property
    def speed(self) -> float:
        """Forward multiply-adds a second of a training."""
        return self.images_per_second * task_of("imagenet").multiply_adds(task_of("imagenet").net("resnet-50"))

    def update_seconds(self, run: RunSpec) -> float:
        """Of an update: on a GPU for CIFAR-10, on a host for ImageNet, whose GPUs send gradients after computing."""
        if run.task.name == "cifar10":
            return max(self.layer_ms / 1e3 * run.net.depth, run.protocol.batch_size * macs_of(run) / self.speed)
        return max(self.arithmetic_seconds(run), self.decoding_seconds(run)) + gradient_bytes(run) / self.link

    def arithmetic_seconds(self, run: RunSpec) -> float:
        """Of an update on a host."""
        return run.protocol.batch_size * macs_of(run) / (HOST * self.speed)

    def decoding_seconds(self, run: RunSpec) -> float:
        """Of an update's photographs on a host."""
        return run.protocol.batch_size / (HOST * self.cores * self.decoded_per_core)

    def seconds(self, run: RunSpec, views: str) -> float:
        """Of a run with its tests."""
        training = run.protocol.iterations * self.update_seconds(run)
        if run.task.name == "cifar10":
            return training * (1 + CIFAR_TESTS)
        a_test = VALIDATION_IMAGES * macs_of(run) * TEST_COST / self.speed
        # Tests on the way are shared out; the one over several views is the first process's.
        return training + epochs(run) * a_test / HOST + VIEWS.get(views, 0) * a_test


def macs_of(run: RunSpec) -> int:
    """Multiply-adds of an image's forward pass."""
    return run.task.multiply_adds(run.net)


def epochs(run: RunSpec) -> float:
    """Of an ImageNet run."""
    return run.protocol.iterations * run.protocol.batch_size / IMAGENET_IMAGES


def gradient_bytes(run: RunSpec) -> float:
    """What each of a host's GPUs sends in an update: a ring's share of the gradients in float32."""
    return 2 * (HOST - 1) / HOST * 4 * run.task.parameters(run.net)


def makespan(seconds: Iterable[float], places: int) -> float:
    """Until all are done, the longest begun first."""
    ends = [0.0] * places
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def times(assumed: Assumptions) -> str:
    """A row for each experiment and one for all, whose common runs are made once: GPU-hours, hours on 8 and on 64."""
    rows = ["| experiment | nets on | runs | GPU-hours | on 8 GPUs | on 64 |", "|---|---|---|---|---|---|"]
    everything: dict[str, tuple[RunSpec, float]] = {}
    for name in experiment_names():
        question = load_experiment(name)
        if question.dataset != question.task.dataset:  # on an embedded set; minutes anywhere
            continue
        if question.task.name not in ("cifar10", "imagenet"):  # of other nets no speed is assumed
            continue
        variant = Variant(dataset=question.dataset)
        runs = {run.run_id: (run, assumed.seconds(run, question.after_training)) for run in plan(question, variant)}
        # A run that another experiment tests otherwise is trained once; its longest test counts.
        for key, (run, seconds) in runs.items():
            everything[key] = run, max(seconds, everything.get(key, (run, 0.0))[1])
        if runs:
            rows.append(f"| `{name}` | {question.task.title} | {_row(runs)}")
    rows.append(f"| all, each run once | | {_row(everything)}")
    return "\n".join(rows)


def _row(runs: dict[str, tuple[RunSpec, float]]) -> str:
    small = [seconds for run, seconds in runs.values() if run.task.name == "cifar10"]
    large = [seconds for run, seconds in runs.values() if run.task.name == "imagenet"]
    both = [makespan(small, gpus) + makespan(large, gpus // HOST) for gpus in (8, 64)]
    gpu_hours = (sum(small) + HOST * sum(large)) / 3600
    return f"{len(runs)} | {gpu_hours:,.1f} | {' | '.join(map(duration, both))} |"


def traffic(assumed: Assumptions) -> str:
    """A row for each of ImageNet's nets on a host of 8 GPUs: speed, gradients, what is read, what is written."""
    columns = [
        "net",
        "images/s",
        "limited by",
        "a run",
        "gradients sent: MB an update",
        "GB/s",
        "read: GB/s",
        "kept: GB",
    ]
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    variant = Variant(dataset="imagenet")
    runs = {run.net.name: run for name in ("table2", "table3") for run in plan(load_experiment(name), variant)}
    for name, run in sorted(runs.items(), key=lambda item: macs_of(item[1])):
        update, batch = assumed.update_seconds(run), run.protocol.batch_size
        decodes = assumed.decoding_seconds(run) > assumed.arithmetic_seconds(run)
        rows.append(
            f"| {name} | {batch / update:,.0f} | {'decoding' if decodes else 'arithmetic'} "
            f"| {duration(assumed.seconds(run, '1-crop'))} | {gradient_bytes(run) / 1e6:,.0f} "
            f"| {gradient_bytes(run) / update / 1e9:.1f} | {batch / update * assumed.file_bytes / 1e9:.2f} "
            f"| {bytes_needed([run]) / 1e9:.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = Assumptions()
    for name, value in vars(given).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    assumed = Assumptions(**vars(parser.parse_args()))
    print(times(assumed), traffic(assumed), sep="\n\n")


if __name__ == "__main__":
    main()

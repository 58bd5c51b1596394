"""Estimates how long runs take here, from the runs that were made here. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_cli.train.schedule import epochs_between_averages, epochs_between_tests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.spec import Net
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks.task import Task

# Below both, start-up dominates the measured speed; an update of a large net may take seconds.
FEWEST_UPDATES = 50
FEWEST_SECONDS = 30.0
AVERAGED_TEST = 1.7  # time of a test with averaged statistics, in tests: 1.67 for plain-20 in bf16 on a CPU


@dataclass(frozen=True)
class Speed:
    """How fast a net is trained and tested here, in seconds.

    Attributes:
        update: An update, making its batch included.
        test: A test over the dataset's test set.
        first: The first update, compiling included.
        again: The first update of a later run of the same net, for which less is compiled anew.
        is_compiled: Whether by the compiled step, else by the plain one.
    """

    net: Net
    update: float
    test: float
    first: float = 0.0
    again: float = 0.0
    is_compiled: bool = False


@dataclass(frozen=True)
class PastSpeed:
    """How fast runs were made here.

    Attributes:
        speed: Multiply-adds of forward passes per second, evaluation included.
        basis: What was measured, and on which machine, in words.
    """

    speed: float
    basis: str


def measured_speed(store: Store, variant: Variant) -> PastSpeed | None:
    """The speed of the store's longest run of this precision and this task's nets; None without one.

    Smoke runs do not count: their images are few or small.
    """
    best: tuple[int, float, RunSpec] | None = None
    for run in store.runs():
        status = store.status(run)
        seconds = status.train_seconds + status.evaluate_seconds
        too_short = status.iteration < FEWEST_UPDATES and seconds < FEWEST_SECONDS
        alike = (run.variant.precision, run.task) == (variant.precision, variant.task)
        shared = "ranks" in store.environment(run)  # the speed of several processes says nothing about one
        if not alike or shared or run.variant.tiny or too_short or not seconds or not status.iteration:
            continue
        done = run.task.work(run) * status.iteration // run.protocol.iterations
        if best is None or done > best[0]:
            best = done, done / seconds, run
    if best is None:
        return None
    _, speed, run = best
    updates, machine = store.status(run).iteration, store.environment(run).get("device_name", "this machine")
    return PastSpeed(speed, f"{updates:,} updates of {run.net.name} on {machine}, {run.variant.precision}")


def speed_of(task: Task, net: Net, speeds: Sequence[Speed]) -> tuple[Speed, float]:
    """The speed of the measured net that is nearest in size, of the same family if there is one.

    Returns:
        That net's speed, and the ratio of this net's multiply-adds to that net's.
    """

    def ratio(other: Net) -> float:
        return task.multiply_adds(net) / task.multiply_adds(other)

    def distance(speed: Speed) -> tuple[float, bool]:
        return max(ratio(speed.net), 1 / ratio(speed.net)), speed.net.family != net.family

    nearest = min(speeds, key=distance)
    return nearest, ratio(nearest.net)


def training_seconds(run: RunSpec, speeds: Sequence[Speed], train_images: int, test_images: int) -> float:
    """Seconds of all updates and tests of a run, estimated from the nets that were measured (`speed_of`)."""
    speed, times = speed_of(run.task, run.net, speeds)
    epochs = run.protocol.iterations * run.protocol.batch_size / train_images
    tests = epochs // epochs_between_tests(epochs, train_images, test_images) + 1
    if run.task.averaged_metrics:
        tests += AVERAGED_TEST * (epochs // epochs_between_averages(epochs, train_images, test_images) + 1)
    return times * (run.protocol.iterations * speed.update + tests * speed.test)


def seconds_left(runs: Iterable[RunSpec], store: Store, speed: float) -> float:
    """Seconds that the missing part of these runs takes at this speed."""
    missing = 0.0
    for run in runs:
        status = store.status(run)
        if status.state != "done":
            missing += run.task.work(run) * (1 - status.iteration / run.protocol.iterations)
    return missing / speed


def bytes_needed(runs: Iterable[RunSpec], jobs: int = 1) -> int:
    """Bytes on disk that these runs leave behind, and need while `jobs` of them train; slightly overestimated.

    A run leaves weights, what its test keeps, and log rows of some 60 bytes. While it trains, there are two
    checkpoints of weights and momentum, and a third is being written.
    """
    left, checkpoints = 0, [0]
    for run in runs:
        weights = 4 * run.task.parameters(run.net)
        left += weights + run.task.test_bytes + 60 * run.protocol.iterations
        checkpoints.append(3 * 2 * weights)
    return left + sum(sorted(checkpoints)[-jobs:])


def duration(seconds: float) -> str:
    """A duration in a readable unit: 40 s, 12 min, 3.5 h, 2.1 days, 3.5 years."""
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h"
    if seconds < 730 * 86400:
        return f"{seconds / 86400:.1f} days"
    return f"{seconds / 86400 / 365.25:.1f} years"

"""The longest schedule with which an experiment fits into a time. Pure: it measures nothing. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resnet_cli.analyses import analysis_of
from resnet_cli.runs.estimate import Speed, speed_of, training_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from resnet_cli.identity import RunSpec
    from resnet_cli.spec import Net
    from resnet_cli.tasks.task import Task

LADDER = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
# The estimate is multiplied by this, since other programs may use the machine for a part of the time.
MARGIN = 1.3
# Seconds for what is not measured: loading torch, compiling a small function, the table and the figure.
BESIDE_SECONDS = 15.0
FARTHEST = 4.0  # times the multiply-adds of a family's smallest net; larger nets are estimated in proportion
# At most so many times as fast as the plain step is the compiled one; a guess that decides only if it is measured.
MOST_GAIN = {"cpu": 2.0, "cuda": 10.0}
# Analyses compute in fp32 by the plain step, which is assumed to take so many times as long.
FP32 = 2.0


@dataclass(frozen=True)
class Due:
    """What remains to be done for a run.

    Attributes:
        left: The share of its updates that is left, 0 to 1.
        is_compiled: Whether it uses the compiled step.
        after: The test or analysis of its trained net; 1-crop is part of the training.
    """

    run: RunSpec
    left: float
    is_compiled: bool
    after: str


@dataclass(frozen=True)
class Measured:
    """What was measured here, by one process or the slowest of several.

    Attributes:
        speeds: Speeds of each net, by one step or by both.
        start: Seconds until a process has loaded torch and its data.
        train_images: In an epoch.
        test_images: In a test.
    """

    speeds: tuple[Speed, ...]
    start: float
    train_images: int
    test_images: int

    def of_step(self, *, is_compiled: bool) -> tuple[Speed, ...]:
        """The speeds of this step; the plain step's if the compiled one was not measured, or cannot be compiled."""
        return tuple(each for each in self.speeds if each.is_compiled == is_compiled) or self.speeds

    def at_best(self, gain: float) -> Measured:
        """The same with an assumed compiled step, `gain` times as fast as the plain one and compiled in no time."""
        plain = self.of_step(is_compiled=False)
        best = (Speed(each.net, each.update / gain, each.test / gain, is_compiled=True) for each in plain)
        return replace(self, speeds=(*plain, *best))


def nets_to_measure(task: Task, nets: Iterable[Net]) -> tuple[Net, ...]:
    """Of each family, the smallest net and the largest one within `FARTHEST` times its size, smallest first."""
    chosen, nets = [], tuple(nets)
    for family in ("plain", "resnet"):
        sizes = {task.multiply_adds(net): net for net in nets if net.family == family}
        near = [size for size in sorted(sizes) if size <= FARTHEST * min(sizes)]
        chosen += [sizes[size] for size in dict.fromkeys((*near[:1], *near[-1:]))]
    return tuple(chosen)


def seconds_needed(due: Sequence[Due], measured: Measured, jobs: int) -> float:
    """Seconds until all of this is done, `jobs` runs at a time, each as soon as there is room; 0 if none is due."""
    if not due:
        return 0.0
    # Side by side each run has a process of its own; one after the other they share one.
    each_start, one_start = (measured.start, 0.0) if jobs > 1 else (0.0, measured.start)
    lanes = [0.0] * jobs
    begun: set[Net] = set()
    for each in due:
        lane = lanes.index(min(lanes))
        lanes[lane] += each_start + _seconds(each, measured, is_first=each.run.net not in begun)
        begun.add(each.run.net)
    return max(lanes) + one_start + BESIDE_SECONDS


def _seconds(due: Due, measured: Measured, *, is_first: bool) -> float:
    run, speeds = due.run, measured.of_step(is_compiled=due.is_compiled)
    speed, times = speed_of(run.task, run.net, speeds)
    seconds = due.left * training_seconds(run, speeds, measured.train_images, measured.test_images)
    if due.left:
        is_known = any(each.net == run.net for each in speeds)  # what was measured is compiled by now
        seconds += (speed.first if is_first and not is_known else speed.again) * max(1.0, times)
    test = times * speed.test * FP32
    if due.after in run.task.views:
        return seconds
    epoch_tests = measured.train_images / measured.test_images
    return seconds + analysis_of(due.after).seconds(run, test, times * speed.update * FP32, epoch_tests)


def choose(seconds: Mapping[float, float], limit: float) -> float | None:
    """The longest schedule that fits into `limit` seconds with a margin, given each one's time; None if none does."""
    return max((schedule for schedule, needed in seconds.items() if needed * MARGIN <= limit), default=None)


def next_longer(schedule: float) -> float | None:
    """The next longer schedule of the ladder; None for the paper's own."""
    return min((each for each in LADDER if each > schedule), default=None)

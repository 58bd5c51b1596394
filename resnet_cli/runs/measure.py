"""Measures how fast nets train here, in as many processes side by side as runs will train side by side."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_cli.data import Dataset
from resnet_cli.runs import timing
from resnet_cli.runs.fit import Measured
from resnet_cli.runs.one_run import open_run_dataset
from resnet_cli.runs.processes import in_processes
from resnet_cli.runs.workers import take_place
from resnet_cli.train import graph_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.identity import RunSpec
    from resnet_cli.runs.estimate import Speed
    from resnet_cli.runs.settings import Settings
    from resnet_cli.spec import Net

ROUND = {"cuda": 20}  # updates between two waits for the device; other devices are waited for after each update anyway


def measure(nets: Sequence[Net], like: RunSpec, settings: Settings, *, is_compiled: bool) -> Measured:
    """Measures these nets in processes of their own, all of `settings.jobs` at once; the slowest counts.

    A step that cannot be compiled here has no speeds.

    Args:
        nets: Nets of the run's task.
        like: A run whose data, precision and protocol are used.
        settings: Device, data and number of jobs.
        is_compiled: Whether to measure the compiled step, else the plain one.

    Raises:
        BadInputError: A process ended, for example for lack of memory, or its device or data cannot be used.
    """
    launched = time.time()
    each = [(place, tuple(nets), like, settings, is_compiled, launched) for place in range(settings.jobs)]
    answers = in_processes(
        _found, each, "--minutes: a process that measures", "give --schedule instead, or lower --jobs"
    )
    speeds = (_slowest(together) for together in zip(*(answer.speeds for answer in answers), strict=True))
    return replace(answers[0], speeds=tuple(speeds), start=max(answer.start for answer in answers))


def _slowest(together: Sequence[Speed]) -> Speed:
    names = ("update", "test", "first", "again")
    return replace(together[0], **{name: max(getattr(each, name) for each in together) for name in names})


def _found(
    place: int,
    nets: tuple[Net, ...],
    like: RunSpec,
    settings: Settings,
    is_compiled: bool,
    launched: float,
) -> Measured:
    """What one process measures; `launched` is when it was started, in Unix time."""
    take_place(place, settings)
    dataset = open_run_dataset(like, settings, lambda _news: None, lambda: False)
    assert isinstance(dataset, Dataset)
    start = time.time() - launched
    plan = timing.Plan(
        dataset,
        like.variant.precision,
        is_fast=is_compiled,
        against_eager=False,
        rounds=0,
        updates=ROUND.get(dataset.device.type, 1),
        task=like.task,
        protocol=like.protocol,
        parts=like.variant.accumulate or 1,
    )
    is_possible = not is_compiled or graph_step.obstacle(dataset.device) is None
    speeds = tuple(timing.speed(net, plan) for net in nets) if is_possible else ()
    return Measured(speeds, start, len(dataset.train_labels), len(dataset.test_labels))

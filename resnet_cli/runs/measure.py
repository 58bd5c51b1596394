"""Measures how fast nets are trained here, by as many processes side by side as runs are to be."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_cli.data import Dataset
from resnet_cli.errors import BadInputError
from resnet_cli.runs import timing
from resnet_cli.runs.one_run import open_run_dataset
from resnet_cli.runs.workers import take_place
from resnet_cli.train import graph_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from resnet_cli.identity import RunSpec
    from resnet_cli.runs.settings import Settings
    from resnet_cli.runs.timing import Speed
    from resnet_cli.spec import Net

ROUND = {"cuda": 20}  # updates before one waits for the device; elsewhere each is waited for anyway


@dataclass(frozen=True)
class Found:
    """What one process found, or the slowest of several.

    Attributes:
        speeds: Of each net.
        start: Seconds until torch was loaded and the data opened.
        train_images: In an epoch.
        test_images: In a test.
        obstacle: Why the step cannot be compiled; then there are no speeds.
    """

    speeds: tuple[Speed, ...]
    start: float
    train_images: int
    test_images: int
    obstacle: str | None


def measure(nets: Sequence[Net], like: RunSpec, settings: Settings, *, is_compiled: bool) -> Found:
    """Measures these nets in processes of their own, all of `settings.jobs` at once; the slowest counts.

    Args:
        nets: Of the run's task.
        like: A run whose data, precision and protocol are taken.
        settings: Device, data and number of jobs.
        is_compiled: The compiled step, or the plain one.

    Raises:
        BadInputError: A process ended, for want of memory say, or its device or data cannot be used.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for place in range(settings.jobs):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (tuple(nets), like, place, settings, is_compiled, time.time(), theirs)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        answers = [_answer(pipe, process) for pipe, process in zip(pipes, processes, strict=True)]
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return _slowest(answers)


def _answer(pipe: Connection, process: multiprocessing.process.BaseProcess) -> Found:
    try:
        answer: Found | BadInputError = pipe.recv()
    except EOFError:
        process.join()
        raise BadInputError(
            f"--minutes: a process that measures ended with exit code {process.exitcode}, -9 if for want of memory; "
            "say --schedule instead, or lower --jobs"
        ) from None
    if isinstance(answer, BadInputError):
        raise answer
    return answer


def _slowest(answers: Sequence[Found]) -> Found:
    speeds = []
    for together in zip(*(answer.speeds for answer in answers), strict=True):
        update, test, first, again = (
            max(getattr(each, name) for each in together) for name in ("update", "test", "first", "again")
        )
        speeds.append(timing.Speed(together[0].net, update, test, first, again))
    first_answer = answers[0]
    return Found(
        tuple(speeds),
        max(answer.start for answer in answers),
        first_answer.train_images,
        first_answer.test_images,
        next((answer.obstacle for answer in answers if answer.obstacle), None),
    )


def _work(
    nets: tuple[Net, ...],
    like: RunSpec,
    place: int,
    settings: Settings,
    is_compiled: bool,
    launched: float,
    pipe: Connection,
) -> None:
    """The body of such a process; `launched` is when it was started, in Unix time."""
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):  # the launcher was stopped
        try:
            pipe.send(_found(nets, like, place, settings, launched, is_compiled=is_compiled))
        except BadInputError as error:
            pipe.send(error)


def _found(
    nets: tuple[Net, ...], like: RunSpec, place: int, settings: Settings, launched: float, *, is_compiled: bool
) -> Found:
    take_place(place, settings)
    dataset = open_run_dataset(like, settings, lambda _news: None, lambda: False)
    assert isinstance(dataset, Dataset)
    start = time.time() - launched
    in_the_way = graph_step.obstacle(dataset.device) if is_compiled else None
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
    speeds = () if in_the_way else tuple(timing.speed(net, plan) for net in nets)
    return Found(speeds, start, len(dataset.train_labels), len(dataset.test_labels), in_the_way)

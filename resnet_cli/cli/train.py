"""Trains runs here, by several processes or on a cluster. The exit code says how that ended."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import typer

from resnet_cli.cli.answer import say
from resnet_cli.device.ranks import LOST, LostRankError, explained, is_loss
from resnet_cli.errors import EXIT_BAD_INPUT, EXIT_CTRL_C, EXIT_LOCKED, EXIT_SOME_FAILED, EXIT_STOPPED, BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import RunSpec
    from resnet_cli.runs.settings import Report, Settings
    from resnet_cli.storage.store import Store


def train_missing(
    experiment: Experiment, runs: Sequence[RunSpec], store: Store, console: Console, settings: Settings
) -> int:
    """Trains and tests the runs that are not done yet; returns the exit code.

    Raises:
        typer.Exit: A signal stopped it.
    """
    from resnet_cli.cli.screen import Screen
    from resnet_cli.runs.advice import about_precision
    from resnet_cli.runs.execute import execute
    from resnet_cli.runs.plan import plan_ensembles
    from resnet_cli.runs.settings import FAILED

    if settings.ranks.count == 1:  # the others would wait for the first, which tests alone
        settings = replace(settings, ensembles=plan_ensembles(experiment, runs))
    missing = _missing(runs, store, settings)
    if not missing and settings.ranks.count == 1:  # other ranks wait to be told that there is nothing to do
        return 0
    if missing and (advice := about_precision(missing, settings.place, store)):
        say(console, advice)
    with Screen(experiment.name, missing, console) as screen:
        try:
            report = execute(missing, store, settings, screen)
        except LostRankError as error:
            say(console, str(error))
            report = None
    if report is None or (settings.ranks.count > 1 and any(report.count(ending) for ending in FAILED)):
        # Before anything else: when a rank is lost, torchrun sends the others the same signal as to stop them.
        _leave(_exit_code(report) if report else EXIT_SOME_FAILED)
    return _ended(report, console, "Stopped. The same command continues from here.")


def follow_first(settings: Settings) -> None:
    """Trains together with the first rank; reports an error of this rank in one line."""
    from resnet_cli.runs.execute import follow
    from resnet_cli.runs.one_run import where

    ranks = settings.ranks
    try:
        ranks.check(settings.place)
    except BadInputError as error:
        if ranks.local == 0:  # it concerns all ranks on this host
            _tell(f"error: {error}")
        _leave(EXIT_BAD_INPUT)
    try:
        follow(settings)
    except Exception as error:  # noqa: BLE001  whatever it is, it must not leave the other ranks waiting
        if is_loss(error):
            reason = explained(error)
        else:
            reason = str(error) if isinstance(error, BadInputError) else where(error)
        if reason != LOST:  # the first rank reports that
            _tell(f"error: process {ranks.rank} of {ranks.count}: {reason}")
        _leave(EXIT_SOME_FAILED)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201  of several processes, one at a time


def _leave(code: int) -> NoReturn:
    """Ends this process although other ranks are in the middle of something: torch would wait for them at its exit."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed
            stream.flush()
    os._exit(code)


def train_on_cluster(
    experiment: Experiment,
    runs: Sequence[RunSpec],
    store: Store,
    console: Console,
    settings: Settings,
    cluster: dict[str, str | bool],
    workers: int | None,
) -> int:
    """Has a cluster train the runs that are not done yet, and waits; returns the exit code.

    Raises:
        typer.Exit: A signal ended the waiting.
    """
    from resnet_cli.cli.screen import Screen, in_a_log
    from resnet_cli.runs.plan import plan_ensembles
    from resnet_cli.runs.slurm import launch
    from resnet_cli.runs.slurm_task import make_task

    settings = replace(settings, ensembles=plan_ensembles(experiment, runs))
    missing = _missing(runs, store, settings)
    if not missing:
        return 0
    task = make_task(experiment.name, store, settings, in_a_log, workers)
    with Screen(experiment.name, missing, console) as screen:
        report = launch(missing, store, task, cluster, screen, partial(say, console))
    still = "The jobs continue. 'resnet status' shows them, the same command joins them again, 'scancel' ends them."
    return _ended(report, console, still)


def _missing(runs: Sequence[RunSpec], store: Store, settings: Settings) -> list[RunSpec]:
    """The runs with something left to do; for an ensemble that lacks nothing but its test, one of its members."""
    testers = {ensemble.members[-1] for ensemble in settings.ensembles if store.is_due(ensemble)}
    return [run for run in runs if run in testers or not store.is_complete(run, settings.after)]


def _ended(report: Report, console: Console, stopped: str) -> int:
    """The exit code; if a signal stopped the runs, prints this line and exits."""
    if report.stopped_by:
        say(console, stopped)
        raise typer.Exit(EXIT_CTRL_C if report.stopped_by is signal.SIGINT else EXIT_STOPPED)
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    if report.count("failed") or report.count("diverged"):
        return EXIT_SOME_FAILED
    if report.count("interrupted"):  # a job that was cancelled, say, though nobody stopped the launcher
        return EXIT_STOPPED
    if report.count("bad input"):  # a photograph that cannot be read, say, found in the middle of a run
        return EXIT_BAD_INPUT
    return EXIT_LOCKED if report.count("locked") else 0

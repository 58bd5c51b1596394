"""`resnet status`: the state and progress of each run, also from a second terminal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import say, say_commands
from resnet_cli.cli.paths import leading_to
from resnet_cli.shell import command

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from resnet_cli.storage.store import Store

SQUEUE_SECONDS = 5.0  # the longest wait for SLURM, before the states in the files are shown without it


def status(
    experiment: Annotated[str | None, typer.Argument(help="Only the runs of this experiment (default: all).")] = None,
    *,
    depths: options.Depths = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Show the state, progress and remaining time of every run in the results folder."""
    from rich.console import Console

    from resnet_cli.cli.screen import seconds_left
    from resnet_cli.experiment import load_experiment
    from resnet_cli.report.terminal import Grid
    from resnet_cli.runs.estimate import duration
    from resnet_cli.runs.plan import plan
    from resnet_cli.runs.squeue import NoAnswerError, queued
    from resnet_cli.storage.store import Store

    store = Store.open(results_dir)
    runs = store.runs()
    if experiment is not None:
        asked = load_experiment(experiment, options.parse_depths(depths))
        wanted = {
            planned.model_copy(update={"seed": 0}).run_id
            for variant in {run.variant for run in runs if asked.suits(run.variant)}
            for planned in plan(asked, variant, seeds=1)
        }
        runs = [run for run in runs if run.model_copy(update={"seed": 0}).run_id in wanted]
    console = Console()
    if not runs:
        of = "" if experiment is None else f" of {experiment}"
        next_step = command("run", experiment or "table6", "--tiny", *leading_to(results_dir))
        say_commands(console, f"No runs{of} in {store.root} yet. Next: {next_step}")
        _say_left_out(store, results_dir, console)
        return
    rows = []
    states = [store.status(run) for run in runs]
    jobs = {}
    with contextlib.suppress(NoAnswerError):  # without SLURM, the files still give the state
        jobs = queued(
            [run for run, state in zip(runs, states, strict=True) if state.state != "done"], store, SQUEUE_SECONDS
        )
    for run, state in zip(runs, states, strict=True):
        left = seconds_left(run, state) if state.state == "running" and not state.is_stale else None
        row = [
            f"{run.net.name} s{run.seed}",
            str(jobs.get(run.run_id) or ("stopped?" if state.is_stale else state.state)),
            f"{state.iteration:,}/{run.protocol.iterations:,}",
            "" if state.train_error is None else f"{state.train_error:.1f}",
            "" if state.test_error is None else f"{state.test_error:.2f}",
            "" if state.images_per_second is None else f"{state.images_per_second:,.0f}",
            "" if left is None else duration(left),
            run.variant.slug.removeprefix("-") or "paper",
        ]
        rows.append(row)
    headers = ["run", "state", "updates", "train %", "test %", "images/s", "left", "scale"]
    console.print(Grid(headers, rows, left=(0, 1, 7), prose=(1,), spare=(5, 3)))  # the state says why a job waits
    if any(state.state == "interrupted" for state in states):
        say(console, "To continue an interrupted run, repeat the command that began it.")
    _say_left_out(store, results_dir, console)
    for run, state in zip(runs, states, strict=True):
        if state.message:
            say(console, f"{run.run_id}: {state.message}")


def _say_left_out(store: Store, results_dir: Path | None, console: Console) -> None:
    """Prints how many folders are in no table, and the command that says more."""
    from resnet_cli.runs.left_out import left_out

    count = len(left_out(store))
    if count:
        tells_more = command("doctor", *leading_to(results_dir))
        say_commands(
            console, f"Folders among the runs that are in no table: {count}. What to do with them: {tells_more}"
        )

"""`resnet status`: where each run stands, also from a second terminal."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from resnet_cli.cli import options

SQUEUE_SECONDS = 5.0  # more, and who waits for the files' word is kept from it


def status(
    experiment: Annotated[str | None, typer.Argument(help="Only this experiment's runs (default: all).")] = None,
    *,
    depths: options.Depths = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Show progress and remaining time of every run in the results folder."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from resnet_cli.cli.screen import seconds_left
    from resnet_cli.experiment import load_experiment
    from resnet_cli.runs.estimate import duration
    from resnet_cli.runs.plan import plan
    from resnet_cli.runs.squeue import NoAnswerError, queued
    from resnet_cli.storage.store import Store

    store = Store.open(results_dir)
    runs = store.runs()
    if experiment is not None:
        question = load_experiment(experiment, options.parse_depths(depths))
        wanted = {
            planned.model_copy(update={"seed": 0}).run_id
            for variant in {run.variant for run in runs if question.suits(run.variant)}
            for planned in plan(question, variant, seeds=1)
        }
        runs = [run for run in runs if run.model_copy(update={"seed": 0}).run_id in wanted]
    console = Console()
    if not runs:
        of = "" if experiment is None else f" of {experiment}"
        next_step = f"resnet run {experiment or 'table6'} --tiny"
        console.print(f"No runs{of} in {store.root} yet. Next: {next_step}", markup=False, highlight=False)
        return
    table = Table("run", "state", "updates", "train %", "test %", "images/s", "left", "scale", box=SIMPLE_HEAD)
    states = [store.status(run) for run in runs]
    jobs = {}
    with contextlib.suppress(NoAnswerError):  # the files say what they say where there is no SLURM too
        jobs = queued(
            [run for run, state in zip(runs, states, strict=True) if state.state != "done"], store, SQUEUE_SECONDS
        )
    for run, state in zip(runs, states, strict=True):
        left = seconds_left(run, state) if state.state == "running" and not state.is_stale else None
        table.add_row(
            f"{run.net.name} s{run.seed}",
            str(jobs.get(run.run_id) or ("stopped?" if state.is_stale else state.state)),
            f"{state.iteration:,}/{run.protocol.iterations:,}",
            "" if state.train_error is None else f"{state.train_error:.1f}",
            "" if state.test_error is None else f"{state.test_error:.2f}",
            "" if state.images_per_second is None else f"{state.images_per_second:,.0f}",
            "" if left is None else duration(left),
            run.variant.slug.removeprefix("-") or "paper",
        )
    for column in table.columns[2:7]:
        column.justify = "right"
    table.columns[1].overflow = "fold"  # why a job waits
    console.print(table)
    for run, state in zip(runs, states, strict=True):
        if state.message:
            console.print(f"{run.run_id}: {state.message}", markup=False, highlight=False, soft_wrap=True)

"""`resnet run`: trains what is missing, then answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.errors import BadInputError
from resnet_cli.runs.plan import plan
from resnet_cli.runs.store import Store
from resnet_cli.spec import load_experiment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from resnet_cli.runs.execute import Report
    from resnet_cli.spec import DatasetName, RunSpec

EXIT_SOME_FAILED, EXIT_LOCKED, EXIT_STOPPED, EXIT_CTRL_C = 3, 4, 75, 130

DeviceName = Literal["auto", "cuda", "mps", "cpu"]


def run(
    experiment: options.ExperimentName,
    *,
    only: Annotated[str | None, typer.Option("--only", help="Only the nets that match: '*-20', 'resnet-*'.")] = None,
    seeds: options.Seeds = None,
    depths: options.Depths = None,
    schedule: options.Schedule = None,
    tiny: options.Tiny = False,
    dataset: Annotated[
        Literal["cifar10", "synthetic", "auto"] | None,
        typer.Option(
            "--dataset",
            help="In place of the experiment's. auto: CIFAR-10 if it is there or can be downloaded, else synthetic.",
        ),
    ] = None,
    split: options.SplitOption = None,
    precision: options.PrecisionOption = None,
    device: Annotated[DeviceName, typer.Option("--device", help="Where to train.")] = "auto",
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Runs side by side, a process each.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs it would make; train nothing.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0, help="Time between checkpoints.")
    ] = 30.0,
    data_dir: options.DataDir = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Train what an experiment still misses, then print its table and verdicts.

    Finished runs are never made again; a stopped one goes on from its checkpoint.
    """
    from rich.console import Console

    from resnet_cli.cli.answer import present

    progress = Console(stderr=True)
    question = load_experiment(experiment)
    swept = options.parse_depths(depths)
    folder = options.data_folder(data_dir)
    chosen = _auto_dataset(folder, progress) if dataset == "auto" else dataset
    variant = options.wanted_variant(
        question, schedule=schedule, tiny=tiny, dataset=chosen, split=split, precision=precision
    )
    store = Store.open(results_dir)
    runs = plan(question, variant, only=only, seeds=seeds, depths=swept)
    if dry_run:
        _print_plan(runs, store)
        return
    missing = [each for each in runs if not store.is_done(each)]
    code = 0
    if missing:
        report = _train(f"{question.name}", missing, store, progress, device, folder, jobs, checkpoint_seconds)
        code = _exit_code(report)
        if report.stopped_by:
            progress.print("Stopped. The same command goes on from here.", highlight=False)
            raise typer.Exit(code)
    written = present(store, question, variant, depths=swept, console=Console())
    _say_next(progress, store, question.name, written)
    raise typer.Exit(code)


def _auto_dataset(data_dir: Path, console: Console) -> DatasetName:
    from resnet_cli.cli.data import fetch_cifar10
    from resnet_cli.data import cifar10

    try:
        if not cifar10.is_there(data_dir):
            fetch_cifar10(data_dir, console)
    except BadInputError as error:
        console.print(f"CIFAR-10 is not to be had: {error}", markup=False, highlight=False, soft_wrap=True)
        console.print("Using the embedded synthetic set instead; nothing it shows is about CIFAR-10.")
        return "synthetic"
    console.print(f"Using CIFAR-10 in {data_dir}.", markup=False, highlight=False, soft_wrap=True)
    return "cifar10"


def _train(
    title: str,
    runs: Sequence[RunSpec],
    store: Store,
    console: Console,
    device: DeviceName,
    data_dir: Path,
    jobs: int,
    checkpoint_seconds: float,
) -> Report:
    from resnet_cli.cli.screen import Screen
    from resnet_cli.runs.execute import Settings, execute

    settings = Settings(device=device, data_dir=data_dir, jobs=jobs, checkpoint_seconds=checkpoint_seconds)
    with Screen(title, runs, console) as screen:
        return execute(runs, store, settings, screen)


def _exit_code(report: Report) -> int:
    import signal

    if report.stopped_by:
        return EXIT_CTRL_C if report.stopped_by is signal.SIGINT else EXIT_STOPPED
    if report.count("failed") or report.count("diverged"):
        return EXIT_SOME_FAILED
    return EXIT_LOCKED if report.count("locked") else 0


def _print_plan(runs: Sequence[RunSpec], store: Store) -> None:
    from rich.console import Console
    from rich.table import Table

    from resnet_cli.runs.estimate import duration, measured_speed, seconds_left

    table = Table("run", "updates", "state", title=f"{len(runs)} runs; {runs[0].variant.label}")
    for each in runs:
        table.add_row(each.run_id, f"{each.protocol.iterations:,}", store.status(each).state)
    console = Console()
    console.print(table)
    speed = measured_speed(store, runs[0].variant.precision)
    missing = sum(not store.is_done(each) for each in runs)
    time = f"about {duration(seconds_left(runs, store, speed))} here" if speed else "time unknown: nothing has run here"
    console.print(f"{missing} to train, {time}.", highlight=False)


def _say_next(console: Console, store: Store, name: str, written: Sequence[Path]) -> None:
    for path in [*written, store.root / "runs"]:
        console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"Next: resnet plot {name} --format pdf, resnet table {name} --format latex, resnet check {name}, "
        "resnet report",
        highlight=False,
        soft_wrap=True,
    )

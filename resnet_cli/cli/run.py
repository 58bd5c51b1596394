"""`resnet run`: trains what is missing, then answers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.errors import EXIT_BAD_INPUT, EXIT_CTRL_C, EXIT_LOCKED, EXIT_SOME_FAILED, EXIT_STOPPED, BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.runs.plan import plan
from resnet_cli.runs.store import Store
from resnet_cli.spec import DatasetName, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from resnet_cli.experiment import Experiment
    from resnet_cli.runs.execute import Report, Settings
    from resnet_cli.spec import Benchmark, RunSpec


def run(
    experiment: options.ExperimentName,
    *,
    only: Annotated[str | None, typer.Option("--only", help="Only the nets that match: '*-20', 'resnet-*'.")] = None,
    seeds: options.Seeds = None,
    depths: options.Depths = None,
    schedule: options.Schedule = None,
    tiny: options.Tiny = False,
    dataset: Annotated[
        Literal["cifar10", "synthetic", "imagenet", "synthetic-photos", "auto"] | None,
        typer.Option(
            "--dataset",
            help="In place of the experiment's. auto: the experiment's, if it is there or can be had, else synthetic.",
        ),
    ] = None,
    split: options.SplitOption = None,
    precision: options.PrecisionOption = None,
    dataset_root: options.DatasetRoot = None,
    deviation: options.Deviations = None,
    accumulate: options.Accumulate = None,
    device: options.Device = "auto",
    jobs: options.Jobs = 1,
    launcher: options.Launcher = "local",
    slurm: options.Slurm = None,
    workers: options.Workers = None,
    decode: Annotated[
        Literal["cpu", "cuda"], typer.Option("--decode", help="What decodes JPEGs for training.")
    ] = "cpu",
    compiled: options.Compile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs it would make; train nothing.")] = False,
    checkpoint_seconds: options.CheckpointSeconds = 30.0,
    data_dir: options.DataDir = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Train what an experiment still misses, then print its table and verdicts.

    Finished runs are never made again; a stopped one goes on from its checkpoint.
    """
    from rich.console import Console

    from resnet_cli.cli.answer import present

    progress = Console(stderr=True)
    cluster = _cluster(launcher, slurm, jobs)
    question = load_experiment(experiment, options.parse_depths(depths))
    folder = options.data_folder(data_dir)
    asked = options.Asked(
        schedule, tiny, None if dataset == "auto" else dataset, dataset_root, split, precision, deviation, accumulate
    )
    variant = options.wanted_variant(question, asked if question.runs else options.Asked())
    if dataset == "auto" and question.runs and not tiny and dataset_root is None:
        found = _auto_dataset(question.benchmark, folder, progress, may_download=not dry_run)
        variant = variant.model_copy(update={"dataset": found})
    runs = plan(question, variant, only=only, seeds=seeds)
    store = Store.open(results_dir)
    if dry_run:
        _print_plan(runs, store, question.scale(variant))
        return
    code = 0
    if runs:
        from resnet_cli.runs.execute import Settings

        settings = Settings(
            device,
            folder,
            jobs,
            checkpoint_seconds,
            dataset_root,
            workers=options.worker_count(workers),
            decode=decode,
            compiled=compiled,
        )
        if cluster is None:
            code = train_missing(question, runs, store, progress, settings)
        else:
            code = _train_on_cluster(question, runs, store, progress, settings, cluster, workers)
    written = present(store, question, variant, console=Console())
    for path in [*written, store.root / "runs"]:
        progress.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
    where = "" if results_dir is None else f" --results-dir {results_dir}"
    swept = "" if depths is None else f" --depths {depths}"
    same = f"{swept}{variant.flags(question.dataset)}{where}".replace(
        "--dataset-root DIR", f"--dataset-root {dataset_root}"
    )
    draw = f"resnet plot {experiment}{same} --format pdf, " if question.figure else ""
    next_steps = f"Next: {draw}resnet table {experiment}{same} --format latex, resnet report{swept}{where}"
    progress.print(next_steps, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def train_missing(
    question: Experiment, runs: Sequence[RunSpec], store: Store, console: Console, settings: Settings
) -> int:
    """Trains and tests those of these runs that are not done yet; returns the exit code.

    Raises:
        typer.Exit: A signal stopped it.
    """
    from resnet_cli.cli.screen import Screen
    from resnet_cli.runs.execute import execute

    missing = [each for each in runs if not store.is_complete(each, question.after_training)]
    if not missing:
        return 0
    with Screen(question.name, missing, console) as screen:
        report = execute(missing, store, settings, screen, question.after_training)
    if report.stopped_by:
        console.print("Stopped. The same command goes on from here.", highlight=False)
        raise typer.Exit(EXIT_CTRL_C if report.stopped_by is signal.SIGINT else EXIT_STOPPED)
    return _exit_code(report)


def _cluster(launcher: str, slurm: list[str] | None, jobs: int) -> dict[str, str | bool] | None:
    """What sbatch is to be told where a cluster is to train; None where this machine is.

    Raises:
        BadInputError: The options contradict one another, or jobs cannot be submitted from here.
    """
    if launcher == "local":
        if slurm:
            raise BadInputError("--slurm: takes --launcher slurm")
        return None
    from resnet_cli.runs.slurm import check_installed, parse_options

    if jobs != 1:
        raise BadInputError(f"--jobs {jobs}: of --launcher local; SLURM decides how many jobs run side by side")
    parsed = parse_options(slurm or [])
    check_installed()
    return parsed


def _train_on_cluster(
    question: Experiment,
    runs: Sequence[RunSpec],
    store: Store,
    console: Console,
    settings: Settings,
    cluster: dict[str, str | bool],
    workers: int | None,
) -> int:
    """Has a cluster train those of these runs that are not done yet, and waits; returns the exit code.

    Raises:
        typer.Exit: A signal ended the waiting.
    """
    from resnet_cli.cli.screen import Screen, in_a_log
    from resnet_cli.runs.slurm import launch
    from resnet_cli.runs.slurm_task import make_task

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    missing = [each for each in runs if not store.is_complete(each, question.after_training)]
    if not missing:
        return 0
    task = make_task(question.name, store, settings, question.after_training, in_a_log, workers)
    with Screen(question.name, missing, console) as screen:
        report = launch(missing, store, task, cluster, screen, tell)
    if report.stopped_by:
        tell("The jobs go on. 'resnet status' shows them, the same command joins them again, 'scancel' ends them.")
        raise typer.Exit(EXIT_CTRL_C if report.stopped_by is signal.SIGINT else EXIT_STOPPED)
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    if report.count("failed") or report.count("diverged"):
        return EXIT_SOME_FAILED
    if report.count("interrupted"):  # a job that was cancelled
        return EXIT_STOPPED
    if report.count("bad input"):  # a photograph that cannot be read, say, found in the middle of a run
        return EXIT_BAD_INPUT
    return EXIT_LOCKED if report.count("locked") else 0


def _auto_dataset(benchmark: Benchmark, data_dir: Path, console: Console, *, may_download: bool) -> DatasetName:
    from resnet_cli.cli.data import fetch_cifar10
    from resnet_cli.data import cifar10, obstacle

    if benchmark == "imagenet":
        in_the_way = obstacle(Variant(dataset="imagenet"), data_dir)
        if in_the_way is None:
            return "imagenet"
        console.print(f"ImageNet is not to be had: {in_the_way}", markup=False, highlight=False, soft_wrap=True)
        console.print("Using the embedded synthetic photographs instead; nothing they show is about ImageNet.")
        return "synthetic-photos"
    is_there = cifar10.is_there(data_dir)
    if not is_there and may_download:
        try:
            fetch_cifar10(data_dir, console)
        except BadInputError as error:
            console.print(f"CIFAR-10 is not to be had: {error}", markup=False, highlight=False, soft_wrap=True)
        else:
            is_there = True
    if is_there:
        console.print(f"Using CIFAR-10 in {data_dir}.", markup=False, highlight=False, soft_wrap=True)
        return "cifar10"
    console.print("Using the embedded synthetic set instead; nothing it shows is about CIFAR-10.")
    return "synthetic"


def _print_plan(runs: Sequence[RunSpec], store: Store, scale: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from resnet_cli.runs.estimate import duration, measured_speed, seconds_left

    console = Console()
    if not runs:
        console.print("Nothing to train: it describes nets.", highlight=False)
        return
    table = Table("run", "updates", "state", box=SIMPLE_HEAD, title=f"{len(runs)} runs; {scale}")
    for each in runs:
        table.add_row(each.run_id, f"{each.protocol.iterations:,}", store.status(each).state)
    console.print(table)
    measured = measured_speed(store, runs[0].variant)
    missing = sum(not store.is_done(each) for each in runs)
    time = (
        f"about {duration(seconds_left(runs, store, measured.speed))} here"
        if measured
        else "time unknown: nothing has run here"
    )
    console.print(f"{missing} to train, {time}.", highlight=False)

"""`resnet run`: trains the missing runs, then prints the table and the verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import say, say_commands
from resnet_cli.cli.examples import DATA, HARDWARE, SCALE, WHAT
from resnet_cli.cli.minutes import Forecast, check_measured
from resnet_cli.cli.paths import leading_to
from resnet_cli.cli.scale import Asked, over_ranks, scale_options, wanted_variant
from resnet_cli.cli.start_weights import Given, StartConvention, Weights, given_weights
from resnet_cli.cli.train import follow_first, train_missing, train_on_cluster
from resnet_cli.device.ranks import Ranks
from resnet_cli.errors import BadInputError
from resnet_cli.names import TrainedDataset
from resnet_cli.shell import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks.task import Task


@scale_options("at", "dataset")
def run(
    name: options.ExperimentName,
    *,
    only: Annotated[
        str | None,
        typer.Option("--only", rich_help_panel=WHAT, help="Only the nets that match a pattern, such as 'resnet-*'."),
    ] = None,
    seeds: options.Seeds = None,
    depths: options.Depths = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            rich_help_panel=SCALE,
            help="Measure the speed here and use the longest schedule with which all runs finish in this time. The "
            "same command uses the same schedule again.",
        ),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", rich_help_panel=SCALE, help="Measure the speed first and print the expected time."),
    ] = False,
    dataset: Annotated[
        TrainedDataset | None,
        typer.Option(
            "--dataset",
            rich_help_panel=DATA,
            help="A dataset in place of the experiment's. auto: the experiment's if it is there or can be downloaded, "
            "else embedded synthetic images.",
        ),
    ] = None,
    asked: Asked,
    weights: Weights = None,
    convention: StartConvention = "torchvision",
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    launcher: options.Launcher = "local",
    slurm: options.Slurm = None,
    workers: options.Workers = None,
    decode: Annotated[
        Literal["cpu", "cuda"],
        typer.Option("--decode", rich_help_panel=HARDWARE, help="Device that decodes the training photographs."),
    ] = "cpu",
    compiled: options.Compile = None,
    sync_bn: options.SyncBN = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=WHAT, help="Show the runs without training anything.")
    ] = False,
    checkpoint_seconds: options.CheckpointSeconds = 30.0,
    data_dir: options.DataDir = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Train the missing runs of an experiment, then print its table and verdicts.

    Finished runs are not trained again. An interrupted run continues from its checkpoint.
    """
    from rich.console import Console

    from resnet_cli.cli.answer import present
    from resnet_cli.experiment import load_experiment
    from resnet_cli.report.commands import flags
    from resnet_cli.runs.plan import plan
    from resnet_cli.runs.settings import Settings
    from resnet_cli.storage.store import Store

    progress, ranks, folder, given = Console(stderr=True), Ranks.here(), options.data_folder(data_dir), Given()

    def settings(after: str | None = None) -> Settings:
        from resnet_cli.device.torch_device import default_jobs

        several = launcher == "local" and ranks.count == 1  # else each process, or job, has one run
        side_by_side = (jobs or default_jobs(device)) if several else 1
        return Settings(
            device,
            folder,
            side_by_side,
            checkpoint_seconds,
            asked.dataset_root,
            workers=options.worker_count(workers, side_by_side * ranks.local_count),
            decode=decode,
            compiled=compiled,
            ranks=ranks,
            after=after,
            weights=given.files,
        )

    if not ranks.is_first:  # only the first rank decides what is trained, and prints
        if not dry_run:
            follow_first(settings())
        return
    check_measured(minutes, asked.schedule, launcher, ranks.count, tiny=asked.tiny, estimate=estimate)
    experiment = load_experiment(name, options.parse_depths(depths))
    given = given_weights(experiment, weights, convention, launcher)
    cluster = options.cluster(launcher, slurm, jobs, ranks.count, asked.precision)
    asked = replace(asked, dataset=None if dataset == "auto" else dataset)
    variant = wanted_variant(experiment, asked if experiment.runs else Asked(), device, progress)
    if dataset == "auto" and experiment.runs and not asked.tiny and asked.dataset_root is None:
        found = _auto_dataset(experiment.task, folder, progress, may_download=not dry_run)
        variant = variant.model_copy(update={"dataset": found})
    variant = over_ranks(experiment, given.variant(variant), ranks.count, sync_bn=sync_bn)
    store = Store.open(results_dir)
    forecast = Forecast(experiment, variant, only, seeds, minutes, estimate, store, settings, progress)
    variant = forecast.variant_to_train(keep=not dry_run)
    runs = plan(experiment, variant, only=only, seeds=seeds)
    if dry_run:
        _print_plan(runs, store, experiment.scale(variant))
        return
    if ranks.count > 1 and not runs:
        raise BadInputError(f"torchrun: {name} trains no net")
    code = 0
    if cluster is not None:
        training = settings(experiment.after_training)
        code = train_on_cluster(experiment, runs, store, progress, training, cluster, workers)
    elif runs:
        code = train_missing(experiment, runs, store, progress, settings(experiment.after_training))
    written = present(store, experiment, variant, console=Console())
    for path in [*written, store.root / "runs"]:
        say_commands(progress, f"  {path}")
    where = leading_to(results_dir)
    swept = [] if depths is None else ["--depths", depths]
    same = [name, *swept, *flags(variant, experiment.dataset, str(asked.dataset_root)), *where]
    draw = [command("plot", *same, "--format", "pdf")] if experiment.figure else []
    steps = [*draw, command("table", *same, "--format", "latex"), command("report", *swept, *where)]
    say_commands(progress, f"Next: {', '.join(steps)}")
    raise typer.Exit(code)


def _auto_dataset(task: Task, data_dir: Path, console: Console, *, may_download: bool) -> str:
    """The task's own dataset, if it is there or can be downloaded; else the embedded one. Prints which, and why."""
    from resnet_cli.cli.data import fetch
    from resnet_cli.identity import Variant

    in_the_way = None
    if task.is_downloadable:
        is_there = all(task.expected(data_dir).values())
        if not is_there and may_download:
            try:
                fetch(task, data_dir, console)
            except BadInputError as error:
                in_the_way = str(error)
            else:
                is_there = True
    else:
        in_the_way = task.obstacle(Variant(dataset=task.dataset), data_dir)
        is_there = in_the_way is None
    if is_there:
        if place := task.place(data_dir):
            say(console, f"Using {task.title} in {place}.")
        return task.dataset
    if in_the_way:
        say(console, f"{task.title} is not available: {in_the_way}")
    console.print(f"Using the {task.datasets[task.embedded]} instead; its results say nothing about {task.title}.")
    return task.embedded


def _print_plan(runs: Sequence[RunSpec], store: Store, scale: str) -> None:
    from rich.console import Console

    from resnet_cli.report.terminal import Grid
    from resnet_cli.runs.estimate import duration, measured_speed, seconds_left

    console = Console()
    if not runs:
        console.print("Nothing to train: this experiment only describes nets.", highlight=False)
        return
    rows = [[each.run_id, f"{each.protocol.iterations:,}", store.status(each).state] for each in runs]
    console.print(Grid(["run", "updates", "state"], rows, (0, 2), title=f"{len(runs)} runs; {scale}"))
    measured = measured_speed(store, runs[0].variant)
    missing = sum(not store.is_done(each) for each in runs)
    time = (
        f"about {duration(seconds_left(runs, store, measured.speed))} here"
        if measured
        else "time unknown: nothing has run here"
    )
    console.print(f"{missing} to train, {time}.", highlight=False)

"""`resnet run`: trains what is missing, then answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import say, say_commands
from resnet_cli.cli.labels import ValLabels
from resnet_cli.cli.minutes import Question, check_measured, measured_variant
from resnet_cli.cli.paths import leading_to
from resnet_cli.cli.train import follow_first, train_missing, train_on_cluster
from resnet_cli.device.ranks import Ranks
from resnet_cli.errors import BadInputError
from resnet_cli.shell import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from resnet_cli.identity import RunSpec
    from resnet_cli.names import DatasetName
    from resnet_cli.storage.store import Store


def run(
    experiment: options.ExperimentName,
    *,
    only: Annotated[str | None, typer.Option("--only", help="Only the nets that match: '*-20', 'resnet-*'.")] = None,
    seeds: options.Seeds = None,
    depths: options.Depths = None,
    schedule: options.Schedule = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="Take the longest schedule by which all of it fits into this time, as measured here; kept for later.",
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Measure the updates here and say first how long it will take.")
    ] = False,
    tiny: options.Tiny = False,
    dataset: Annotated[
        Literal["cifar10", "synthetic", "shapes-16", "imagenet", "synthetic-photos", "auto"] | None,
        typer.Option(
            "--dataset",
            help="In place of the experiment's. auto: the experiment's, if it is there or can be had, else synthetic.",
        ),
    ] = None,
    split: options.SplitOption = None,
    precision: options.PrecisionOption = None,
    dataset_root: options.DatasetRoot = None,
    _val_labels: ValLabels = None,
    deviation: options.Deviations = None,
    accumulate: options.Accumulate = None,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    launcher: options.Launcher = "local",
    slurm: options.Slurm = None,
    workers: options.Workers = None,
    decode: Annotated[
        Literal["cpu", "cuda"], typer.Option("--decode", help="What decodes JPEGs for training.")
    ] = "cpu",
    compiled: options.Compile = None,
    sync_bn: options.SyncBN = False,
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
    from resnet_cli.experiment import load_experiment
    from resnet_cli.report.commands import flags
    from resnet_cli.runs.plan import plan
    from resnet_cli.runs.settings import Settings
    from resnet_cli.storage.store import Store

    progress, ranks, folder = Console(stderr=True), Ranks.here(), options.data_folder(data_dir)

    def settings() -> Settings:
        from resnet_cli.device.torch_device import default_jobs

        several = launcher == "local" and ranks.count == 1  # else each process, or job, has one run
        side_by_side = (jobs or default_jobs(device)) if several else 1
        return Settings(
            device,
            folder,
            side_by_side,
            checkpoint_seconds,
            dataset_root,
            workers=options.worker_count(workers, side_by_side * ranks.local_count),
            decode=decode,
            compiled=compiled,
            ranks=ranks,
            after=question.after_training,
        )

    if not ranks.is_first:  # what is trained is the first's to say, as all that is printed
        if not dry_run:
            follow_first(settings())
        return
    check_measured(minutes, schedule, launcher, ranks.count, tiny=tiny, estimate=estimate)
    cluster = options.cluster(launcher, slurm, jobs, ranks.count, precision)
    question = load_experiment(experiment, options.parse_depths(depths))
    asked = options.Asked(
        schedule,
        tiny,
        None if dataset == "auto" else dataset,
        dataset_root,
        split,
        options.chosen_precision(precision, device, progress),
        deviation,
        accumulate,
    )
    variant = options.wanted_variant(question, asked if question.runs else options.Asked())
    if dataset == "auto" and question.runs and not tiny and dataset_root is None:
        found = _auto_dataset(question.task.name, folder, progress, may_download=not dry_run)
        variant = variant.model_copy(update={"dataset": found})
    variant = options.over_ranks(question, variant, ranks.count, sync_bn=sync_bn)
    store = Store.open(results_dir)
    asked_here = Question(question, variant, only, seeds, minutes, estimate)
    variant = measured_variant(asked_here, store, settings, progress, keep=not dry_run)
    runs = plan(question, variant, only=only, seeds=seeds)
    if dry_run:
        _print_plan(runs, store, question.scale(variant))
        return
    if ranks.count > 1 and not runs:
        raise BadInputError(f"torchrun: {experiment} trains no net")
    code = 0
    if cluster is not None:
        code = train_on_cluster(question, runs, store, progress, settings(), cluster, workers)
    elif runs:
        code = train_missing(question, runs, store, progress, settings())
    written = present(store, question, variant, console=Console())
    for path in [*written, store.root / "runs"]:
        say_commands(progress, f"  {path}")
    where = leading_to(results_dir)
    swept = [] if depths is None else ["--depths", depths]
    same = [experiment, *swept, *flags(variant, question.dataset, str(dataset_root)), *where]
    draw = [command("plot", *same, "--format", "pdf")] if question.figure else []
    steps = [*draw, command("table", *same, "--format", "latex"), command("report", *swept, *where)]
    say_commands(progress, f"Next: {', '.join(steps)}")
    raise typer.Exit(code)


def _auto_dataset(benchmark: str, data_dir: Path, console: Console, *, may_download: bool) -> DatasetName:
    from resnet_cli.cli.data import fetch_cifar10
    from resnet_cli.identity import Variant
    from resnet_cli.tasks import obstacle
    from resnet_cli.tasks.cifar10 import files as cifar10

    if benchmark == "imagenet":
        in_the_way = obstacle(Variant(dataset="imagenet"), data_dir)
        if in_the_way is None:
            return "imagenet"
        say(console, f"ImageNet is not to be had: {in_the_way}")
        console.print("Using the embedded synthetic photographs instead; nothing they show is about ImageNet.")
        return "synthetic-photos"
    is_there = cifar10.is_there(data_dir)
    if not is_there and may_download:
        try:
            fetch_cifar10(data_dir, console)
        except BadInputError as error:
            say(console, f"CIFAR-10 is not to be had: {error}")
        else:
            is_there = True
    if is_there:
        say(console, f"Using CIFAR-10 in {data_dir}.")
        return "cifar10"
    console.print("Using the embedded synthetic set instead; nothing it shows is about CIFAR-10.")
    return "synthetic"


def _print_plan(runs: Sequence[RunSpec], store: Store, scale: str) -> None:
    from rich.console import Console

    from resnet_cli.report.terminal import Grid
    from resnet_cli.runs.estimate import duration, measured_speed, seconds_left

    console = Console()
    if not runs:
        console.print("Nothing to train: it describes nets.", highlight=False)
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

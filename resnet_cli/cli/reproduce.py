"""`resnet reproduce`: every experiment whose data is there."""

from __future__ import annotations

from functools import cache

import typer

from resnet_cli.cli import options
from resnet_cli.cli.report import report
from resnet_cli.cli.scale import Asked, wanted_variant
from resnet_cli.cli.train import train_missing
from resnet_cli.device.ranks import Ranks
from resnet_cli.errors import EXIT_SOME_FAILED, BadInputError


def reproduce(
    *,
    seeds: options.Seeds = None,
    schedule: options.Schedule = None,
    tiny: options.Tiny = False,
    precision: options.PrecisionOption = None,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    compiled: options.Compile = None,
    checkpoint_seconds: options.CheckpointSeconds = 30.0,
    data_dir: options.DataDir = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Run every experiment whose data is available, print which were left out and why, and write the report."""
    from rich.console import Console

    from resnet_cli.cli.answer import present, say
    from resnet_cli.device.torch_device import default_jobs
    from resnet_cli.experiment import experiment_names, load_experiment
    from resnet_cli.runs.plan import plan
    from resnet_cli.runs.settings import Settings
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks import obstacle

    if Ranks.here().count > 1:
        raise BadInputError("torchrun: only 'resnet run' trains one net with several processes")
    store, folder, progress = Store.open(results_dir), options.data_folder(data_dir), Console(stderr=True)
    code, left_out = 0, []
    chosen = options.chosen_precision(precision, device, progress)
    look = cache(obstacle)  # all experiments on one dataset share its answer, since it reads every byte
    for name in experiment_names():
        experiment = load_experiment(name)
        asked = Asked(schedule=schedule, tiny=tiny, precision=chosen)
        variant = wanted_variant(experiment, asked if experiment.runs else Asked())
        in_the_way = look(variant, folder) if experiment.runs else None
        if in_the_way:
            left_out.append(f"{name}: left out: {in_the_way}")
            continue
        runs = plan(experiment, variant, seeds=seeds)
        side_by_side = jobs or default_jobs(device)
        settings = Settings(
            device,
            folder,
            side_by_side,
            checkpoint_seconds,
            workers=options.worker_count(None, side_by_side),
            compiled=compiled,
            after=experiment.after_training,
        )
        ending = train_missing(experiment, runs, store, progress, settings)
        code = ending if ending == EXIT_SOME_FAILED else code or ending
        present(store, experiment, variant, console=Console())
    for line in left_out:
        say(progress, line)
    if len(left_out) < len(experiment_names()):
        report(results_dir=results_dir)
    raise typer.Exit(code)

"""Options that several commands share, and what they mean together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli.answer import say
from resnet_cli.cli.examples import DATA, HARDWARE, OUTPUT, SCALE, WHAT
from resnet_cli.cli.paths import path_given
from resnet_cli.errors import BadInputError
from resnet_cli.names import DATASET_ROOT_HELP, Precision
from resnet_cli.shell import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_cli.experiment import Experiment


ExperimentName = Annotated[
    str, typer.Argument(metavar="experiment", help="An experiment (see 'resnet list') or your own .toml file.")
]
ResultsDir = Annotated[
    Path | None,
    typer.Option(
        "--results-dir",
        parser=path_given,
        metavar="<path>",
        rich_help_panel=OUTPUT,
        help="Folder of results (default: RESNET_RESULTS, else results/).",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=path_given,
        metavar="<path>",
        rich_help_panel=DATA,
        help="Folder of datasets, in torchvision's layout (default: RESNET_DATA, else data/).",
    ),
]
Schedule = Annotated[
    float | None,
    typer.Option(
        "--schedule", rich_help_panel=SCALE, help="Length of the schedule, relative to the paper's: 0.1 is a tenth."
    ),
]
DatasetRoot = Annotated[
    Path | None,
    typer.Option(
        "--dataset-root",
        parser=path_given,
        metavar="<path>",
        rich_help_panel=DATA,
        help=DATASET_ROOT_HELP,
    ),
]
Launcher = Annotated[
    Literal["local", "slurm"],
    typer.Option(
        "--launcher",
        rich_help_panel=HARDWARE,
        help="local: train on this machine. slurm: submit a job array, one task per run.",
    ),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE,...",
        rich_help_panel=HARDWARE,
        help="Options for sbatch with --launcher slurm: partition=gpu,gres=gpu:1,time=02:00:00. KEY= is an option "
        "without a value. May be given several times. The default time is one hour; a run that reaches it is requeued "
        "and continues.",
    ),
]
SyncBN = Annotated[
    bool,
    typer.Option(
        "--sync-bn",
        rich_help_panel=HARDWARE,
        help="With torchrun: batch normalisation uses the whole batch, not each process's share.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        max=256,
        rich_help_panel=HARDWARE,
        help="Threads per run that read photographs (default: the run's share of the cores).",
    ),
]
Tiny = Annotated[
    bool,
    typer.Option(
        "--tiny",
        rich_help_panel=SCALE,
        help="A smoke run: embedded data, eight updates, seconds. Its numbers mean nothing.",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        max=1000,
        rich_help_panel=WHAT,
        help="Runs of each net, each with its own seed (default: as the experiment's file says).",
    ),
]
Depths = Annotated[
    str | None,
    typer.Option(
        "--depths", rich_help_panel=WHAT, help="Depths for an experiment that compares depths: 8,14,20 (each 6n+2)."
    ),
]
Device = Annotated[
    Literal["auto", "cuda", "mps", "cpu"],
    typer.Option("--device", rich_help_panel=HARDWARE, help="Device to train on. auto: a GPU if there is one."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=64,
        rich_help_panel=HARDWARE,
        help="Runs trained at the same time, one process each (default: one, or one per GPU).",
    ),
]
CheckpointSeconds = Annotated[
    float,
    typer.Option("--checkpoint-seconds", min=0, rich_help_panel=OUTPUT, help="Seconds between two checkpoints."),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        rich_help_panel=HARDWARE,
        help="Use the compiled training step, or the plain one (default: compiled for runs of 1,000 updates or more, "
        "on CUDA 2,000).",
    ),
]
PrecisionChoice = Literal["auto", "fp32", "tf32", "bf16"]
PrecisionOption = Annotated[
    PrecisionChoice | None,
    typer.Option(
        "--precision",
        rich_help_panel=SCALE,
        help="Precision of the training step (default: fp32). auto: bf16 if the device has instructions for it, else "
        "fp32.",
    ),
]


def data_folder(data_dir: Path | None) -> Path:
    """The folder of datasets: `--data-dir`, else RESNET_DATA, else `data/` here."""
    return data_dir or Path(expanded(os.environ.get("RESNET_DATA") or "data"))


def parse_depths(text: str | None) -> tuple[int, ...] | None:
    """`8,14,20` as numbers.

    Raises:
        BadInputError: Not a comma-separated list of whole numbers.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadInputError(f"--depths '{text}': write whole numbers with commas: 8,14,20") from None


def chosen_precision(
    precision: PrecisionChoice | None, device: str = "auto", console: Console | None = None
) -> Precision | None:
    """The precision that is asked for; `auto` is the one that fits this device. Prints what it means on this device.

    Raises:
        BadInputError: There is no such device here.
    """
    if precision != "auto" and (precision != "bf16" or console is None):
        return precision
    from resnet_cli.device.torch_device import bf16_slowdown, choose_device, fitting_precision, has_bf16

    place = choose_device(device)
    chosen = fitting_precision(place) if precision == "auto" else precision
    if precision == "auto":
        has = "multiplies it natively" if chosen == "bf16" else "has no instructions for bf16"
        line = f"--precision auto: {chosen}; this {place.type} {has}."
    elif not has_bf16(place):
        line = (
            f"--precision bf16: this {place.type} has no instructions for it, so it is emulated: a convolution takes "
            f"{bf16_slowdown(place):.1f} times as long as in fp32. --precision auto takes fp32 here."
        )
    else:
        return chosen
    if console:
        say(console, line)
    return chosen


def every_experiment(depths: tuple[int, ...] | None) -> list[Experiment]:
    """The experiments that come with the program; those that sweep depths sweep these, if any are given."""
    from resnet_cli.experiment import experiment_names, load_experiment

    experiments = [load_experiment(name) for name in experiment_names()]
    return [load_experiment(each.name, depths) if depths and each.depths else each for each in experiments]


def worker_count(workers: int | None, sharing: int = 1) -> int:
    """The threads of each training that read photographs: the number given, else its share of the cores."""
    return max(1, (os.cpu_count() or 1) // sharing) if workers is None else workers


def cluster(
    launcher: str, slurm: list[str] | None, jobs: int | None, ranks: int, precision: PrecisionChoice | None
) -> dict[str, str | bool] | None:
    """The options for sbatch if a cluster is to train; None if this machine is.

    Raises:
        BadInputError: The options contradict one another or torchrun, or jobs cannot be submitted from here.
    """
    if jobs not in (None, 1) and ranks > 1:
        raise BadInputError(f"--jobs {jobs}: torchrun trains one net at a time")
    if launcher == "local":
        if slurm:
            raise BadInputError("--slurm: needs --launcher slurm")
        return None
    if jobs not in (None, 1):
        raise BadInputError(
            f"--jobs {jobs}: applies to --launcher local; SLURM decides how many jobs run at the same time"
        )
    if ranks > 1:
        raise BadInputError("--launcher slurm: each job trains its own net; torchrun's processes train one together")
    if precision == "auto":
        raise BadInputError("--precision auto: checks this machine, not the cluster's; give fp32, tf32 or bf16")
    from resnet_cli.runs.slurm import check_installed, parse_options

    parsed = parse_options(slurm or [])
    check_installed()
    return parsed

"""Options that several commands share, and what they mean together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from resnet_cli.cli.answer import say
from resnet_cli.cli.paths import path_given
from resnet_cli.errors import BadInputError
from resnet_cli.names import DatasetName, Deviation, Precision, Split
from resnet_cli.shell import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import Variant
    from resnet_cli.storage.store import Store


ExperimentName = Annotated[str, typer.Argument(help="An experiment ('resnet list') or a .toml file of your own.")]
ResultsDir = Annotated[
    Path | None,
    typer.Option(
        "--results-dir",
        parser=path_given,
        metavar="<path>",
        help="Where results are kept (default: RESNET_RESULTS, else results/).",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=path_given,
        metavar="<path>",
        help="Where datasets are, in torchvision's layout (default: RESNET_DATA, else data/).",
    ),
]
Schedule = Annotated[
    float | None,
    typer.Option("--schedule", help="The paper's schedule, this many times as long: 0.1 is a tenth."),
]
DatasetRoot = Annotated[
    Path | None,
    typer.Option(
        "--dataset-root",
        parser=path_given,
        metavar="<path>",
        help="A folder with train/<class>/ and val/<class>/ in place of <data-dir>/imagenet/.",
    ),
]
Deviations = Annotated[
    list[str] | None,
    typer.Option(
        "--deviation", help=f"From ImageNet's protocol: {', '.join(get_args(Deviation))}; may be given several times."
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option("--accumulate", min=2, max=256, help="Take each batch in so many parts; BN sees a part at a time."),
]
Launcher = Annotated[
    Literal["local", "slurm"], typer.Option("--launcher", help="slurm: as jobs of a cluster, a task a run.")
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE,...",
        help="sbatch's options for --launcher slurm: partition=gpu,gres=gpu:1,time=02:00:00; KEY= for one without a "
        "value; may be given several times. time is an hour unless given; a run that meets it is requeued and goes on.",
    ),
]
SyncBN = Annotated[
    bool,
    typer.Option(
        "--sync-bn", help="Under torchrun: batch normalisation sees the whole batch, not each process's share."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, max=256, help="Threads of each run that read photographs (default: its share of the cores)."
    ),
]
Tiny = Annotated[bool, typer.Option("--tiny", help="A smoke run: embedded data, eight updates, seconds.")]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, max=1000, help="Runs of each net (default: the file's).")]
Depths = Annotated[str | None, typer.Option("--depths", help="Depths of a sweep: 8,14,20 (each 6n+2).")]
DatasetOption = Annotated[DatasetName | None, typer.Option("--dataset", help="In place of the experiment's dataset.")]
SplitOption = Annotated[
    Split | None, typer.Option("--split", help="45k-5k holds 5,000 training images out and tests on them.")
]
Device = Annotated[Literal["auto", "cuda", "mps", "cpu"], typer.Option("--device", help="Where to train.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, max=64, help="Runs side by side, a process each (default: one, or one a GPU)."),
]
CheckpointSeconds = Annotated[float, typer.Option("--checkpoint-seconds", min=0, help="Time between checkpoints.")]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Take the compiled step, or the plain one (default: compiled from 1,000 updates, on CUDA 2,000).",
    ),
]
PrecisionChoice = Literal["auto", "fp32", "tf32", "bf16"]
PrecisionOption = Annotated[
    PrecisionChoice | None,
    typer.Option(
        "--precision",
        help="Arithmetic of the training step (default: fp32). auto: bf16 where the device multiplies it, else fp32.",
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
    """The precision that is asked for; `auto` is the one that fits this device. The console is told what it means here.

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


@dataclass(frozen=True)
class Asked:
    """What a command line says of the variant; None where it says nothing."""

    schedule: float | None = None
    tiny: bool = False
    dataset: DatasetName | None = None
    dataset_root: Path | None = None
    split: Split | None = None
    precision: Precision | None = None
    deviations: list[str] | None = None
    accumulate: int | None = None


def wanted_variant(experiment: Experiment, asked: Asked) -> Variant:
    """The variant that these options ask for; what is not said is the paper's. A smoke run uses embedded data.

    Raises:
        BadInputError: The options contradict one another or the experiment, or a value is out of range.
    """
    from pydantic import ValidationError

    from resnet_cli.identity import Variant
    from resnet_cli.spec import first_problem
    from resnet_cli.tasks import TASKS

    own_data = asked.dataset in [task.dataset for task in TASKS] or asked.dataset_root is not None
    if asked.tiny and (asked.schedule is not None or own_data):
        raise BadInputError(
            "--tiny: has a schedule and data of its own; leave out --schedule, --dataset, --dataset-root"
        )
    if asked.schedule is not None and not 0 < asked.schedule <= 100:  # noqa: PLR2004  Variant's own bounds
        raise BadInputError(f"--schedule {asked.schedule:g}: must be above 0 and at most 100")
    dataset, source = asked.dataset or experiment.dataset, None
    if asked.tiny:
        dataset = experiment.task.embedded
    elif asked.dataset_root is not None:
        dataset, source = _folder_of_classes(experiment, asked)
    elif dataset == experiment.task.folder:
        raise BadInputError("--dataset folder: say by --dataset-root where it is")
    if dataset not in experiment.task.datasets:
        own = f"{experiment.dataset} or {experiment.task.embedded}"
        raise BadInputError(f"--dataset {dataset}: {experiment.name} is about other nets; it takes {own}")
    try:
        variant = Variant(
            dataset=dataset,
            split=asked.split or "full",
            schedule=1.0 if asked.schedule is None else asked.schedule,
            tiny=asked.tiny,
            precision=asked.precision or "fp32",
            source=source,
            deviations=_deviations(asked.deviations or []),
            accumulate=asked.accumulate,
        )
    except ValidationError as error:
        option = "--deviation" if set(asked.deviations or ()) - set(experiment.task.deviations) else "--split"
        raise BadInputError(f"{option} {first_problem(error)}") from error
    if not experiment.suits(variant):
        batch = experiment.batch_size(variant)
        raise BadInputError(f"--accumulate {variant.accumulate}: does not divide the batch of {batch}")
    return variant


def fits(experiment: Experiment, asked: Asked) -> bool:
    """Whether these options can be asked of an experiment."""
    try:
        wanted_variant(experiment, asked)
    except BadInputError:
        return False
    return True


def _deviations(names: list[str]) -> tuple[Deviation, ...] | None:
    """The named deviations, sorted, each once; None if there are none.

    Raises:
        BadInputError: There is none of this name.
    """
    known: tuple[Deviation, ...] = get_args(Deviation)
    for name in names:
        if name not in known:
            raise BadInputError(f"--deviation {name}: there are {', '.join(known)}")
    return tuple(each for each in known if each in names) or None


def _folder_of_classes(experiment: Experiment, asked: Asked) -> tuple[DatasetName, str | None]:
    """The dataset that lies at --dataset-root, and its name: ImageNet itself, or a folder of other classes."""
    from resnet_cli.tasks.imagenet import folder

    assert asked.dataset_root is not None
    if experiment.task.folder is None:
        raise BadInputError(f"--dataset-root: in place of ImageNet; {experiment.name} is on {experiment.task.title}")
    if asked.dataset not in (None, "imagenet", "folder"):
        raise BadInputError(f"--dataset-root: names the data, and so does --dataset {asked.dataset}; leave one out")
    source = folder.source_of(asked.dataset_root)
    return ("imagenet", None) if source is None else ("folder", source)


def over_ranks(experiment: Experiment, variant: Variant, ranks: int, *, sync_bn: bool) -> Variant:
    """The variant that several processes train together: what batch normalisation sees is part of a run's identity.

    Each process takes its share of a batch as parts: one, or with `--accumulate` several. Synchronised, batch
    normalisation sees the whole batch, and the run is the one that a single process trains without parts.

    Raises:
        BadInputError: The batch, or its parts, cannot be shared out among so many; the options contradict each other.
    """
    if ranks == 1:
        if sync_bn:
            raise BadInputError(
                "--sync-bn: is for several processes that train one net: torchrun -m resnet_cli run ..."
            )
        return variant
    batch, parts = experiment.batch_size(variant), variant.accumulate
    if batch % ranks:
        raise BadInputError(
            f"torchrun: {ranks} processes cannot share a batch of {batch} equally; it stays the paper's"
        )
    if parts and (sync_bn or parts % ranks):
        what = "and --sync-bn contradict each other" if sync_bn else f"cannot be shared by {ranks} processes equally"
        raise BadInputError(f"--accumulate {parts}: {what}")
    return variant.model_copy(update={"accumulate": None if sync_bn else parts or ranks})


def shown_variant(store: Store, experiment: Experiment, asked: Asked) -> Variant:
    """The variant to present: the one asked for, or, when nothing is said, the one with the most to show."""
    from resnet_cli.report.shown import variant_to_show

    return variant_to_show(store, experiment) if asked == Asked() else wanted_variant(experiment, asked)


def worker_count(workers: int | None, sharing: int = 1) -> int:
    """The threads of each training that read photographs: as asked, else its share of the cores."""
    return max(1, (os.cpu_count() or 1) // sharing) if workers is None else workers


def cluster(
    launcher: str, slurm: list[str] | None, jobs: int | None, ranks: int, precision: PrecisionChoice | None
) -> dict[str, str | bool] | None:
    """What sbatch is to be told where a cluster is to train; None where this machine is.

    Raises:
        BadInputError: The options contradict one another or torchrun, or jobs cannot be submitted from here.
    """
    if jobs not in (None, 1) and ranks > 1:
        raise BadInputError(f"--jobs {jobs}: torchrun trains one net at a time")
    if launcher == "local":
        if slurm:
            raise BadInputError("--slurm: takes --launcher slurm")
        return None
    if jobs not in (None, 1):
        raise BadInputError(f"--jobs {jobs}: of --launcher local; SLURM decides how many jobs run side by side")
    if ranks > 1:
        raise BadInputError("--launcher slurm: each job trains a net of its own; torchrun's processes train one")
    if precision == "auto":
        raise BadInputError("--precision auto: looks at this machine, not at the cluster's; say fp32, tf32 or bf16")
    from resnet_cli.runs.slurm import check_installed, parse_options

    parsed = parse_options(slurm or [])
    check_installed()
    return parsed

"""Options that several commands share, and what they mean together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from resnet_cli.errors import BadInputError
from resnet_cli.experiment import Experiment, experiment_names, load_experiment
from resnet_cli.runs.store import Store
from resnet_cli.spec import DatasetName, Precision, Split, Variant

ExperimentName = Annotated[str, typer.Argument(help="An experiment ('resnet list') or a .toml file of your own.")]
ResultsDir = Annotated[
    Path | None,
    typer.Option("--results-dir", help="Where results are kept (default: RESNET_RESULTS, else results/)."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where datasets are, in torchvision's layout (default: RESNET_DATA, else data/)."),
]
Schedule = Annotated[
    float | None,
    typer.Option("--schedule", help="The paper's schedule, this many times as long: 0.1 is a tenth."),
]
Tiny = Annotated[bool, typer.Option("--tiny", help="A smoke run: embedded data, eight updates, seconds.")]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, max=1000, help="Runs of each net (default: the file's).")]
Depths = Annotated[str | None, typer.Option("--depths", help="Depths of a sweep: 8,14,20 (each 6n+2).")]
DatasetOption = Annotated[DatasetName | None, typer.Option("--dataset", help="In place of the experiment's dataset.")]
SplitOption = Annotated[
    Split | None, typer.Option("--split", help="45k-5k holds 5,000 training images out and tests on them.")
]
Device = Annotated[Literal["auto", "cuda", "mps", "cpu"], typer.Option("--device", help="Where to train.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=64, help="Runs side by side, a process each.")]
CheckpointSeconds = Annotated[float, typer.Option("--checkpoint-seconds", min=0, help="Time between checkpoints.")]
PrecisionOption = Annotated[Precision | None, typer.Option("--precision", help="Arithmetic of the training step.")]


def data_folder(data_dir: Path | None) -> Path:
    """The folder of datasets: `--data-dir`, else RESNET_DATA, else `data/` here."""
    return data_dir or Path(os.environ.get("RESNET_DATA") or "data")


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


def every_experiment(depths: tuple[int, ...] | None) -> list[Experiment]:
    """The experiments that come with the program; those that sweep depths sweep these, if any are given."""
    experiments = [load_experiment(name) for name in experiment_names()]
    return [load_experiment(each.name, depths) if depths and each.depths else each for each in experiments]


def wanted_variant(
    experiment: Experiment,
    *,
    schedule: float | None = None,
    tiny: bool = False,
    dataset: DatasetName | None = None,
    split: Split | None = None,
    precision: Precision | None = None,
) -> Variant:
    """The variant that these options ask for; what is not said is the paper's. A smoke run uses embedded data.

    Raises:
        BadInputError: The options contradict one another, or a schedule is out of range.
    """
    if tiny and (schedule is not None or dataset == "cifar10"):
        raise BadInputError("--tiny: has a schedule and data of its own; leave out --schedule and --dataset")
    if schedule is not None and not 0 < schedule <= 100:  # noqa: PLR2004  Variant's own bounds
        raise BadInputError(f"--schedule {schedule:g}: must be above 0 and at most 100")
    return Variant(
        dataset="synthetic" if tiny else dataset or experiment.dataset,
        split=split or "full",
        schedule=1.0 if schedule is None else schedule,
        tiny=tiny,
        precision=precision or "fp32",
    )


def shown_variant(
    store: Store,
    experiment: Experiment,
    *,
    schedule: float | None = None,
    tiny: bool = False,
    dataset: DatasetName | None = None,
    split: Split | None = None,
    precision: Precision | None = None,
) -> Variant:
    """The variant to present: the one asked for, or, when nothing is said, the one with the most to show."""
    if schedule is None and not tiny and dataset is None and split is None and precision is None:
        return store.variant_to_show(experiment)
    return wanted_variant(experiment, schedule=schedule, tiny=tiny, dataset=dataset, split=split, precision=precision)

"""What `resnet eval` tests: checks its options together, and fills in the defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import MOST_PIXELS, Net, first_problem
from resnet_cli.storage import run_folder
from resnet_cli.tasks import task_of, titles, with_folder
from resnet_cli.weights.convention import CONVENTIONS, find_convention, net_under

if TYPE_CHECKING:
    from resnet_cli.data.dataset import Constants
    from resnet_cli.names import ConventionName, GivenDataset, Precision
    from resnet_cli.spec import Net, Photos
    from resnet_cli.tasks.task import Task

TORCHVISION = "torchvision"  # the value of --weights that asks for torchvision's own


@dataclass(frozen=True)
class Request:
    """What to test, with all defaults filled in.

    Attributes:
        run: The run that the weights are from, if they are from one of ours.
        constants: Mean and standard deviation of each channel, if they were given in place of the convention's.
        sides: Shorter sides of the fully convolutional test, if they were given.
    """

    net: Net
    weights: str
    run: RunSpec | None
    variant: Variant
    convention: ConventionName
    constants: Constants | None
    views: str
    photos: Photos | None
    sides: tuple[int, ...] | None


def run_of(weights: str) -> RunSpec | None:
    """The run whose folder the weights are in; None if they are in no run's folder."""
    if weights == TORCHVISION:
        return None
    path = Path(weights) / run_folder.SPEC
    if not path.is_file():
        return None
    try:
        return RunSpec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInputError(f"{path}: not the spec of a run; give the weights file itself") from error


def ask(
    name: str,
    weights: str,
    dataset: GivenDataset | None,
    dataset_root: Path | None,
    convention: ConventionName | None,
    crops: Literal["1", "10"] | None,
    scales: str | None,
    precision: Precision | None,
    mean: str | None = None,
    std: str | None = None,
) -> Request:
    """Combines the options, and fills in the defaults.

    Raises:
        BadInputError: They contradict one another.
    """
    if dataset_root and dataset not in (None, with_folder().dataset):
        place = f"{with_folder().title}"
        raise BadInputError(f"--dataset-root: a folder of classes replaces {place}; leave out --dataset {dataset}")
    run = run_of(weights)
    convention = convention or ("torchvision" if weights == TORCHVISION else "paper")
    if dataset_root:
        task = with_folder()
    else:
        task = task_of(dataset) if dataset else run.task if run else _task(name, convention)
    if run and not any(run.task.name in its for its in CONVENTIONS.values()):
        raise BadInputError(f"{weights}: a run of {run.task.title}'s nets; eval tests nets that classify images")
    try:
        net = net_under(find_convention(convention, task), task, name)
    except ValueError as error:
        raise BadInputError(first_problem(error)) from error
    if run and run.net != net:
        raise BadInputError(f"{weights}: a run of {run.net.full_name}, not of {net.full_name}")
    if dataset_root:
        found, source = task.found_at(dataset_root)
        variant = Variant(dataset=found, source=source)
    elif run and dataset in (None, run.variant.dataset):
        variant = run.variant
        if variant.source:
            raise BadInputError(f"--dataset-root: give the folder of the run's data, {variant.source}")
    else:
        variant = Variant(dataset=dataset or task.dataset)
    photos = (run and run.protocol.photos) or task.protocol.photos
    return Request(
        net=net,
        weights=weights,
        run=run,
        variant=variant.model_copy(update={"precision": precision or (run.variant.precision if run else "fp32")}),
        convention=convention,
        constants=_constants(mean, std),
        views=_views(task, photos, crops, scales),
        photos=photos,
        sides=_sides(scales, photos) if scales is not None and photos else None,
    )


def _task(name: str, convention: ConventionName) -> Task:
    """The task that has a net of this name, and weights of this convention.

    Raises:
        BadInputError: No task has them, or several have.
    """
    there: list[Task] = []
    problems = []
    for task in map(task_of, CONVENTIONS[convention]):
        try:
            task.net(name)
        except ValueError as error:
            problems.append(first_problem(error))
        else:
            there.append(task)
    if not there:
        raise BadInputError("; ".join(dict.fromkeys(problems)))
    if len(there) > 1:
        raise BadInputError(
            f"{name}: {' has a net of this depth and '.join(task.title for task in there)} too; "
            f"add --dataset {' or '.join(task.dataset for task in there)}"
        )
    return there[0]


def _views(task: Task, photos: Photos | None, crops: str | None, scales: str | None) -> str:
    if crops and scales is not None:
        raise BadInputError("--scales: a different test from --crops; leave one of them out")
    if photos is None and (scales is not None or crops == "10"):
        given = "--crops 10" if scales is None else "--scales"
        others = titles(lambda other: "10-crop" in other.views)
        single = f"{task.title}'s are tested on the single view (section {task.section})"
        raise BadInputError(f"{given}: only for {others}'s nets; {single}")
    if scales is not None:
        return "dense"
    return "10-crop" if crops == "10" else "1-crop"


def _sides(scales: str, photos: Photos) -> tuple[int, ...]:
    try:
        sides = tuple(int(part) for part in scales.split(","))
    except ValueError:
        raise BadInputError(f"--scales '{scales}': write whole numbers with commas: 224,256,384,480,640") from None
    if min(sides) < photos.crop:
        raise BadInputError(f"--scales {min(sides)}: no side may be below the crop, {photos.crop}")
    if max(sides) > MOST_PIXELS:
        raise BadInputError(f"--scales {max(sides)}: no side may be above {MOST_PIXELS:,}")
    return sides


def _constants(mean: str | None, std: str | None) -> Constants | None:
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise BadInputError(f"--{'std' if mean is None else 'mean'}: needs --{'mean' if mean is None else 'std'}")
    means, stds = _three("mean", mean), _three("std", std)
    if max(*means, *stds) > 1:
        raise BadInputError("--mean, --std: for pixels on the scale 0 to 1; divide values on the scale 0 to 255 by 255")
    if min(stds) <= 0:
        raise BadInputError(f"--std {std}: must be above 0")
    return means, stds


def _three(option: str, text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.strip("()[] ").replace(",", " ").split())
    except ValueError:
        red = green = blue = math.nan
    if not math.isfinite(red + green + blue):
        raise BadInputError(f"--{option} '{text}': write three numbers with commas, red, green, blue: 0.49,0.48,0.45")
    return red, green, blue

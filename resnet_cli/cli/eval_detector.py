"""`resnet eval` of detectors: a run of ours, a file of weights of one of our nets, or torchvision's R-CNNs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_cli.cli.answer import counted
from resnet_cli.cli.eval_answer import is_papers
from resnet_cli.cli.given import TORCHVISION, run_of
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import first_problem
from resnet_cli.storage import run_folder
from resnet_cli.tasks import TASKS, task_of
from resnet_cli.tasks.detection.detection import PIXELS, Detection
from resnet_cli.tasks.task import number_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from torch import Tensor

    from resnet_cli.names import Precision
    from resnet_cli.spec import Net
    from resnet_cli.tasks.detection.objects import DetectionData

OURS, THEIRS = re.compile("faster-rcnn-.*"), re.compile("(fasterrcnn|maskrcnn)_.*")


@dataclass(frozen=True)
class DetectorRequest:
    """What to test.

    Attributes:
        net: One of our nets; None for torchvision's net of this name.
        run: The run that the weights are from, if they are from one of ours.
        variant: Names the dataset to test on, the precision, and what the weights assume.
    """

    name: str
    net: Net | None
    weights: str
    run: RunSpec | None
    task: Detection
    variant: Variant


def is_of_detector(name: str, weights: str, dataset: str | None) -> bool:
    """Whether what is to be tested is a detector: by its run, its name, or the dataset."""
    if run := _run_of(weights):
        return isinstance(run.task, Detection)
    is_named = OURS.fullmatch(name) or THEIRS.fullmatch(name)
    return is_named is not None or (dataset is not None and isinstance(task_of(dataset), Detection))


def ask_detector(
    name: str, weights: str, dataset: str | None, convention: str | None, precision: Precision | None
) -> DetectorRequest:
    """Combines the options, and fills in the defaults.

    Raises:
        BadInputError: They contradict one another.
    """
    run, is_theirs = _run_of(weights), THEIRS.fullmatch(name) is not None
    if dataset is None and run is None:
        known = ", ".join(each for task in TASKS if isinstance(task, Detection) for each in task.datasets)
        raise BadInputError(f"--dataset: name the test set for {name}; choose from {known}")
    variant = run.variant if run else Variant(dataset=str(dataset))
    variant = variant.model_copy(
        update={"dataset": dataset or variant.dataset, "precision": precision or variant.precision}
    )
    task = variant.task
    if not isinstance(task, Detection):
        raise BadInputError(f"--dataset {dataset}: not a dataset for detection, but {name} is a detector")
    if convention and (run or is_theirs):
        whose = f"the run in {weights}" if run else f"{name}"
        raise BadInputError(f"--convention {convention}: {whose} determines what its weights assume; leave it out")
    if convention and convention not in PIXELS:
        raise BadInputError(f"--convention {convention}: for a detector choose {', '.join(PIXELS)}")
    if is_theirs and variant.precision == "bf16":
        raise BadInputError(f"--precision bf16: too coarse for {name}'s boxes, which torchvision computes; choose fp32")
    if is_theirs:
        return DetectorRequest(name, None, weights, None, task, variant)
    net = _net(task, name)
    if run and run.net != net:
        raise BadInputError(f"{weights}: a run of {run.net.name}, not of {name}")
    if run is None and "thin" in net.family:
        raise BadInputError(f"{name}: the settings of its test are in its run's folder; give that to --weights")
    if convention in ("torchvision", "caffe"):
        # The part behind the convention's name tells runs apart; nothing is trained here.
        variant = variant.model_copy(update={"weights": f"{convention}-00000000"})
    return DetectorRequest(name, net, weights, run, task, variant)


def test_detector(
    request: DetectorRequest,
    key: str | None,
    folder: Path,
    workers: int,
    device: str,
    console: Console,
    *,
    with_results: bool,
) -> tuple[dict[str, Any], bytes]:
    """Tests a detector; returns what to print, and what it found in COCO's JSON.

    Args:
        request: What to test.
        key: Which state dict to take, if the file holds several.
        folder: The folder that holds the dataset.
        workers: Threads that read images.
        device: As `--device` names it.
        console: For progress.
        with_results: Whether to make the JSON, which may be large; else it is empty.

    Raises:
        BadInputError: The weights do not fit, or the data cannot be used.
    """
    from resnet_cli.device.torch_device import choose_device, prepare
    from resnet_cli.weights.read import torchvision_file
    from resnet_cli.weights.weight_files import read_copy

    task, variant, weights = request.task, request.variant, request.weights
    chosen = choose_device(device)
    if request.net is None or weights == TORCHVISION:
        _check_theirs(request.name)  # before the data are read
    data = task.open_test(variant, folder, workers)
    path = torchvision_file(_their_url(request)) if weights == TORCHVISION else Path(weights)
    state, taken = read_copy(path, key)
    net = _theirs(request, state, path, data) if request.net is None else _ours(request, state, data)
    prepare(chosen, variant.precision)
    with counted(console, "testing") as tell:
        scores = task.test(
            net.to(chosen), data.to(chosen), variant.precision, progress=lambda done: tell(done, len(data.test))
        )
    others, assumed = task.datasets[variant.dataset], (variant.weights or "paper").partition("-")[0]
    answer = {
        "net": request.name,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "weights": weights,
        "matched": "by name" + (f"; {taken}" if taken else ""),
        "convention": "torchvision's own" if request.net is None else assumed,
        "data": f"{others}, not {task.title}" if others else task.title,
        "precision": variant.precision,
        "shorter_side": net.shorter_side,
        "images": scores.images,
        "metrics": {each: number_or_none(value) for each, value in scores.metrics.items()},
        "by_class": {
            each: dict(zip(data.classes, map(number_or_none, values.tolist()), strict=True))
            for each, values in scores.by_class.items()
        },
        "paper": _papers(request),
    }
    return answer, task.results(scores.kept, lambda: data) if with_results else b""


def _run_of(weights: str) -> RunSpec | None:
    """The run that the weights are from, given by its folder or by the file in it; None if from no run."""
    path = Path(weights)
    return run_of(str(path.parent)) if path.name == run_folder.WEIGHTS else run_of(weights)


def _net(task: Detection, name: str) -> Net:
    try:
        return task.net(name)
    except ValueError as error:
        raise BadInputError(first_problem(error)) from error


def _classes(state: Mapping[str, Tensor], weights: object, task: Detection, data: DetectionData, *also: int) -> int:
    """The number of a detector's classes.

    Raises:
        BadInputError: The weights are not an R-CNN's, or the number is neither the data's nor in `also`.
    """
    try:
        classes = task.classes_of(state)
    except KeyError as error:
        raise BadInputError(f"{weights}: there is no {error.args[0]}; these are not the weights of an R-CNN") from error
    if classes not in (len(data.classes), *also):
        raise BadInputError(f"{weights}: this detector has {classes:,} classes, {data.name} has {len(data.classes):,}")
    return classes


def _ours(request: DetectorRequest, state: Mapping[str, Tensor], data: DetectionData) -> Any:
    """One of our nets with these weights."""
    from resnet_cli.weights.read import load_by_name

    task, run, net = request.task, request.run, request.net
    assert net is not None
    classes = _classes(state, request.weights, task, data)
    built = task.build_for(run or RunSpec.of(net, request.variant, task.protocol, 0), classes)
    load_by_name(state, built, request.weights)
    if run is None and (request.variant.weights or "").startswith("caffe"):
        first = next(tensor for tensor in built.parameters() if tensor.ndim == 4)  # noqa: PLR2004  a convolution
        first.data = first.data.flip(1)  # blue, green, red
    return built


def _theirs(request: DetectorRequest, state: Mapping[str, Tensor], path: Path, data: DetectionData) -> Any:
    """One of torchvision's detectors; if it has 90 classes, its labels are COCO's ids."""
    from resnet_cli.nets import torchvision_rcnn
    from resnet_cli.weights.read import load_by_name

    has_ids = data.category_ids[-1] == torchvision_rcnn.COCO_IDS
    also = (torchvision_rcnn.COCO_IDS,) if has_ids else ()
    classes = _classes(state, path, request.task, data, *also)
    ids: Sequence[int] = data.category_ids if classes in also else range(1, classes + 1)
    net = torchvision_rcnn.Theirs(request.name, classes + 1, ids, torchvision_rcnn.epsilon_of(path))
    load_by_name(state, net.net, path)
    net.leave_outlines()
    return net


def _their_url(request: DetectorRequest) -> str:
    """The address of the first weights (COCO_V1) that torchvision has for one of its detectors."""
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    return str(next(iter(get_model_weights(request.name))).url)


def _check_theirs(name: str) -> None:
    """Checks that torchvision has a detector of this name.

    Raises:
        BadInputError: It has none.
    """
    from resnet_cli.nets import torchvision_rcnn

    if name not in torchvision_rcnn.names():
        raise BadInputError(f"{name}: torchvision has {', '.join(torchvision_rcnn.names())}")


def _papers(request: DetectorRequest) -> dict[str, Any] | None:
    """The paper's numbers for this net on the paper's test set, and whether ours are comparable."""
    from resnet_cli.experiment import experiment_names, load_experiment

    task, run, dataset = request.task, request.run, request.variant.dataset
    if dataset not in (task.dataset, task.embedded):
        return None
    is_at_home = run is None or run.variant.dataset == task.dataset  # others have the same test set
    for experiment in map(load_experiment, experiment_names()):
        if experiment.analysis or experiment.dataset != task.dataset:
            continue
        for row in experiment.rows:
            numbers = {metric.key: row.paper(metric) for metric in task.metrics}
            if row.net and row.net == request.net and None not in numbers.values():
                return {
                    "table": f"Table {experiment.name.removeprefix('table')}",
                    "metrics": numbers,
                    "comparable": dataset == task.dataset and is_at_home and is_papers(run),
                }
    return None

"""`resnet eval`: tests given weights, ours or others', and ensembles of saved scores."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import check_writable, counted, say, write_file
from resnet_cli.cli.eval_answer import data_in_words, errors, papers, print_answer
from resnet_cli.cli.eval_ensemble import test_ensemble
from resnet_cli.cli.examples import DATA, HARDWARE, OUTPUT, WEIGHTS
from resnet_cli.cli.labels import ValLabels
from resnet_cli.cli.paths import path_given, weights_given
from resnet_cli.errors import BadInputError
from resnet_cli.names import ClassOrder, GivenDataset, Precision, TestedConvention, TestedDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from torch import nn

    from resnet_cli.cli.given import Request
    from resnet_cli.data.dataset import Constants
    from resnet_cli.evaluate.evaluate import Evaluation
    from resnet_cli.nets.resnet import ResNet


def evaluate_weights(
    name: Annotated[
        str | None, typer.Argument(metavar="NET", help="plain-20, resnet-56, resnet-34-B, faster-rcnn-resnet-101 ...")
    ] = None,
    *,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            callback=weights_given,
            rich_help_panel=WEIGHTS,
            help="A file (safetensors, or written by torch.save), a run's folder, or 'torchvision'.",
        ),
    ] = None,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(
            "--ensemble",
            parser=path_given,
            metavar="<path>",
            rich_help_panel=WEIGHTS,
            help="Members of an ensemble, in place of NET: a file of scores or a run's folder, two or more times.",
        ),
    ] = None,
    dataset: Annotated[
        TestedDataset | None,
        typer.Option(
            "--dataset",
            rich_help_panel=DATA,
            help="Dataset to test on (default: the run's, or the one that has nets of this depth).",
        ),
    ] = None,
    dataset_root: options.DatasetRoot = None,
    _val_labels: ValLabels = None,
    convention: Annotated[
        TestedConvention | None,
        typer.Option(
            "--convention",
            rich_help_panel=WEIGHTS,
            help="What the weights assume about the net and the pixels (default: paper).",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean",
            rich_help_panel=WEIGHTS,
            help="Mean of the pixels on the scale 0 to 1, in place of the convention's: 0.4914,0.4822,0.4465.",
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option("--std", rich_help_panel=WEIGHTS, help="Standard deviations, with --mean: 0.2023,0.1994,0.2010."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            rich_help_panel=WEIGHTS,
            help="One of several state dicts in the weights' file: model_ema, state_dict_ema ...",
        ),
    ] = None,
    class_order: Annotated[
        ClassOrder | None,
        typer.Option(
            "--class-order",
            rich_help_panel=DATA,
            help="Order of classes whose folders are named by numbers (default: number; for our own runs: text).",
        ),
    ] = None,
    crops: Annotated[
        Literal["1", "10"] | None,
        typer.Option("--crops", rich_help_panel=WEIGHTS, help="Crops of each photograph (default: 1)."),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            "--scales",
            rich_help_panel=WEIGHTS,
            help="Test fully convolutionally with these shorter sides: 224,256,384,480,640.",
        ),
    ] = None,
    bn_statistics: Annotated[
        Literal["running", "averaged"],
        typer.Option(
            "--bn-statistics",
            rich_help_panel=WEIGHTS,
            help="Statistics of batch normalisation: those in the weights' file, or averaged over training images.",
        ),
    ] = "running",
    data_dir: options.DataDir = None,
    device: Annotated[
        Literal["auto", "cuda", "mps", "cpu"],
        typer.Option("--device", rich_help_panel=HARDWARE, help="Device to test on. auto: a GPU if there is one."),
    ] = "auto",
    precision: Annotated[
        Precision | None,
        typer.Option(
            "--precision", rich_help_panel=HARDWARE, help="Precision of the test (default: the run's, else fp32)."
        ),
    ] = None,
    workers: options.Workers = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            parser=path_given,
            metavar="<path>",
            rich_help_panel=OUTPUT,
            help="Write the scores to this npz file, for an ensemble; for a detector, its detections in COCO's JSON.",
        ),
    ] = None,
    form: Annotated[
        Literal["rich", "json"], typer.Option("--format", rich_help_panel=OUTPUT, help="Format of the answer.")
    ] = "rich",
) -> None:
    """Test weights, ours or others', or an ensemble. Print top-1 and top-5 error; for a detector, average precision."""
    from resnet_cli.cli.eval_detector import ask_detector, is_of_detector, test_detector
    from resnet_cli.cli.given import ask

    if output:
        check_writable(output)  # before a test that may take hours
    if ensemble:
        if name is not None or weights is not None:
            raise BadInputError("--ensemble: tests saved scores; leave out NET and --weights")
        answer, content = test_ensemble(ensemble)
    elif name is None or weights is None:
        raise BadInputError("give a net and its --weights, or two --ensemble files; 'resnet eval --help' shows how")
    elif is_of_detector(name, weights, dataset):
        from rich.console import Console

        of_classifiers = {
            "--mean": mean,
            "--std": std,
            "--crops": crops,
            "--scales": scales,
            "--class-order": class_order,
            "--bn-statistics": None if bn_statistics == "running" else bn_statistics,
        }
        if given := [option for option, value in of_classifiers.items() if value is not None]:
            raise BadInputError(f"{given[0]}: is for nets that classify images; {name} is a detector")
        wanted = ask_detector(name, weights, dataset, convention, precision)
        place = dataset_root or options.data_folder(data_dir)
        threads, console = options.worker_count(workers), Console(stderr=True)
        answer, content = test_detector(wanted, key, place, threads, device, console, with_results=output is not None)
    else:
        if convention == "caffe":
            raise BadInputError("--convention caffe: is for detectors; choose another for nets that classify images")
        of_images = cast("GivenDataset | None", dataset)
        request = ask(name, weights, of_images, dataset_root, convention, crops, scales, precision, mean, std)
        folder, threads = options.data_folder(data_dir), options.worker_count(workers)
        averages = bn_statistics == "averaged"
        answer, content = _test(request, folder, dataset_root, device, threads, key, class_order, averages=averages)
    if form == "json":
        import json

        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
    else:
        print_answer(answer)
    if output:
        typer.echo(write_file(output, content), err=True)


def _test(
    request: Request,
    data_dir: Path,
    dataset_root: Path | None,
    device: str,
    workers: int,
    key: str | None,
    class_order: ClassOrder | None,
    *,
    averages: bool,
) -> tuple[dict[str, Any], bytes]:
    """Tests a net; returns what to print, and the content of a file of its scores."""
    from rich.console import Console

    from resnet_cli.cli.given import TORCHVISION
    from resnet_cli.device.torch_device import choose_device, prepare
    from resnet_cli.evaluate.evaluate import AVERAGED_IMAGES, evaluate
    from resnet_cli.tasks import open_dataset
    from resnet_cli.tasks.classification import Classification
    from resnet_cli.weights.convention import find_convention
    from resnet_cli.weights.foreign import better_convention, foreign_net, is_suspicious
    from resnet_cli.weights.read import match, torchvision_weights
    from resnet_cli.weights.trained import scores_content
    from resnet_cli.weights.weight_files import is_ours, read_copy

    progress = Console(stderr=True)
    net, variant, task = request.net, request.variant, request.variant.task
    assert isinstance(task, Classification)
    convention = find_convention(request.convention, task)
    if request.run and request.run.variant.stride_3x3:
        convention = dataclasses.replace(convention, stride_3x3=True)
    if request.constants:
        convention = dataclasses.replace(convention, constants=request.constants)
    chosen = choose_device(device)
    prepare(chosen, variant.precision)
    theirs = request.weights == TORCHVISION
    ours = request.run is not None or (not theirs and is_ours(Path(request.weights)))
    state, taken = (torchvision_weights(net), "") if theirs else read_copy(Path(request.weights), key)
    data = open_dataset(
        variant,
        data_dir,
        protocol=task.protocol.model_copy(update={"photos": request.photos}),
        dataset_root=dataset_root,
        workers=workers,
        report=partial(say, progress),
    )
    data, order = _in_order(data, class_order or ("text" if ours else "number"))
    classes = len(data.classes)
    built = foreign_net(net, task, classes, convention)
    matched = match(state, built, request.weights)
    data = _prepared(data, convention.constants, request.sides).to(chosen)
    tested_net: nn.Module = built.to(chosen)
    if averages:
        with counted(progress, "averaging") as tell:
            images = min(AVERAGED_IMAGES, len(data.train_labels))
            tested_net = task.averaged(tested_net, data, variant.precision, progress=lambda done: tell(done, images))
    evaluation = _with_progress(
        lambda done: evaluate(tested_net, data, variant.precision, request.views, progress=done),
        len(data.test_labels) * _views_of_each(request),
        progress,
    )
    hint = None
    if not ours and is_suspicious(evaluation.top1_error, classes):

        def tested(other: ResNet, part: Any) -> Evaluation:
            return _with_progress(
                lambda done: evaluate(other, part, variant.precision, progress=done), len(part.test_labels), progress
            )

        asked = request.convention, convention
        hint = better_convention(state, net, task, data, asked, evaluation.logits, tested)
    labels = data.test_labels.cpu().numpy()
    content, _ = scores_content(evaluation.logits.log_softmax(dim=1), labels)
    answer = {
        "net": task.short_name(net),
        "parameters": sum(parameter.numel() for parameter in built.parameters()),
        "weights": request.weights,
        "matched": matched + (f"; {taken}" if taken else ""),
        "convention": f"{request.convention} ({convention.meaning(task)})",
        "data": data_in_words(variant, data.name, classes),
        "precision": variant.precision,
        "bn_statistics": "averaged" if averages else "running",
        "views": request.views + (f" at {', '.join(map(str, request.sides))}" if request.sides else ""),
        **errors(evaluation.top1_error, evaluation.top5_error, evaluation.images),
        "paper": papers(request),
        **({"classes": order} if order else {}),
        **({"hint": hint} if hint else {}),
    }
    return answer, content


def _in_order(data: Any, order: ClassOrder) -> tuple[Any, str | None]:
    """The dataset with numbered classes in this order, and a line that says so; None if there is no choice."""
    from resnet_cli.data import PhotoDataset
    from resnet_cli.weights.foreign import by_number, renumbered

    numbers = by_number(data.classes)
    if numbers is None or not isinstance(data, PhotoDataset):
        return data, None
    other = "text" if order == "number" else "number"
    kinds = {"number": "by number", "text": "as text"}
    said = f"folders named by numbers, sorted {kinds[order]}; --class-order {other} sorts them {kinds[other]}"
    return (renumbered(data, numbers) if order == "number" else data), said


def _prepared(data: Any, constants: Constants | None, sides: tuple[int, ...] | None) -> Any:
    """The dataset with the pixels that the weights assume, and the sides of the dense test."""
    from resnet_cli.data import PhotoDataset

    if constants:
        data = dataclasses.replace(data, constants=constants)
    if sides and isinstance(data, PhotoDataset):
        data = dataclasses.replace(data, sides=sides)
    return data


def _views_of_each(request: Request) -> int:
    """Inputs made of each image; the dense test takes its mirror too."""
    return {"1-crop": 1, "10-crop": 10, "dense": 2 * len(request.sides or ())}[request.views]


def _with_progress(test: Callable[[Callable[[int], None]], Evaluation], total: int, console: Console) -> Evaluation:
    with counted(console, "testing") as tell:
        return test(lambda done: tell(done, total))

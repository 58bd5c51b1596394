"""`resnet export`: a finished run's weights, or what it found, as a file for other programs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import check_writable, write_file
from resnet_cli.cli.examples import OUTPUT, WEIGHTS
from resnet_cli.cli.labels import ValLabels
from resnet_cli.cli.paths import path_given
from resnet_cli.cli.scale import check_takes_folder
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store

Target = Literal["safetensors", "torchvision", "onnx", "results"]
SUFFIXES: dict[Target, str] = {
    "safetensors": ".safetensors",
    "torchvision": ".pth",
    "onnx": ".onnx",
    "results": ".json",
}


def export(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A finished run's folder, or its name in <results>/runs.")],
    *,
    target: Annotated[
        Target,
        typer.Option(
            "--to",
            rich_help_panel=WEIGHTS,
            help="safetensors: the weights with their description. torchvision: a file that "
            "torchvision.models.resnetN() loads. onnx: a net that takes pixels. results: what a detector found in the "
            "test images, in COCO's JSON.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            parser=path_given,
            metavar="<path>",
            rich_help_panel=OUTPUT,
            help="File to write (default: <results>/exports/<run>.<suffix>).",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    dataset_root: options.DatasetRoot = None,
    _val_labels: ValLabels = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Write the weights of a finished run, or what it found, for other programs, and print the file's path."""
    from resnet_cli.storage import run_folder
    from resnet_cli.storage.store import Store

    store = Store.open(results_dir)
    folder = _folder(name, store)

    from resnet_cli.nets.resnet import ResNet
    from resnet_cli.weights import export as exporting
    from resnet_cli.weights.trained import trained_net

    run = exporting.read_finished(folder)
    if folder.parent == store.root / "runs" and folder.name != run.run_id:
        raise BadInputError(f"{folder / run_folder.SPEC}: describes {run.run_id}, not this folder's run; restore it")
    if dataset_root:
        check_takes_folder(run.task, run.run_id)
    _check(run, target)
    path = output or store.root / "exports" / f"{run.run_id}{SUFFIXES[target]}"
    if (path.parent / run_folder.SPEC).is_file():
        raise BadInputError(f"{path}: in a run's own folder, where only the run writes; choose another place")
    check_writable(path)  # before a pass over the data
    if target == "results":
        typer.echo(write_file(path, _results(run, folder, options.data_folder(data_dir), dataset_root)))
        return
    net = trained_net(run, folder).eval()
    assert isinstance(net, ResNet)
    match target:
        case "safetensors":
            asked = data_dir is not None or dataset_root is not None
            content = exporting.as_safetensors(net, run, _dataset(run, data_dir, dataset_root, needed=asked))
        case "torchvision":
            content = exporting.as_torchvision(net)
            classes = "" if net.fc.out_features == 1000 else f"num_classes={net.fc.out_features}"  # noqa: PLR2004
            _say(
                f"for torchvision.models.resnet{run.net.depth}({classes}); its inputs are pixels / 255 minus the mean "
                "of the training images, not torchvision's own normalisation"
            )
        case "onnx":
            data = _dataset(run, data_dir, dataset_root, needed=True)
            assert data is not None
            content = exporting.as_onnx(net, run, data)
    typer.echo(write_file(path, content))


def _check(run: RunSpec, target: Target) -> None:
    """Checks that the run can be exported to this target.

    Raises:
        BadInputError: It cannot be.
    """
    from resnet_cli.weights import export as exporting

    if target == "results":
        return
    exporting.classification(run)
    obstacle = None
    if target == "torchvision":
        obstacle = exporting.obstacle_to_torchvision(run)
    elif target == "onnx":
        obstacle = exporting.obstacle_to_onnx()
    if obstacle:
        raise BadInputError(f"{run.run_id}: --to {target}: {obstacle}")


def _results(run: RunSpec, folder: Path, data_dir: Path, dataset_root: Path | None) -> bytes:
    """The detections that the run kept from its test, in the format of others' evaluators."""
    from resnet_cli.storage import run_folder
    from resnet_cli.tasks import open_dataset

    kept = run_folder.read_arrays(folder / run_folder.PREDICTIONS)
    opened = partial(open_dataset, run.variant, data_dir, protocol=run.protocol, dataset_root=dataset_root)
    content = run.task.results(kept, opened)
    if content is None:
        raise BadInputError(f"{run.run_id}: --to results: only for detectors; see its {run_folder.PREDICTIONS}")
    return content


def _folder(name: str, store: Store) -> Path:
    """The folder of the run, given by its folder or its name."""
    from resnet_cli.storage import run_folder

    path = path_given(name)
    for folder in (store.root / "runs" / name, path):
        if (folder / run_folder.SPEC).is_file():
            return folder
    raise BadInputError(f"'{name}': neither a run's folder nor the name of a run in {store.root / 'runs'}")


def _dataset(run: RunSpec, data_dir: Path | None, dataset_root: Path | None, *, needed: bool) -> Any:
    """The data that the run was trained on, whose mean it subtracts; None, with a printed line, if they are missing.

    Raises:
        BadInputError: They are needed, but missing.
    """
    from resnet_cli.tasks import open_dataset

    try:
        return open_dataset(
            run.variant,
            options.data_folder(data_dir),
            protocol=run.protocol,
            dataset_root=dataset_root,
            workers=options.worker_count(None),
            report=_say,
        )
    except BadInputError as error:
        if needed:
            raise BadInputError(
                f"the training images' mean is computed from the images, which are needed once: {error}"
            ) from error
        _say(f"exported without the training images' mean: {error}")
        return None


def _say(line: str) -> None:
    typer.echo(line, err=True)

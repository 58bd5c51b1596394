"""`resnet data`: where datasets are, whether they are whole, and how to get them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.cli.labels import ValLabels
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from resnet_cli.tasks.imagenet.folder import Folder

data_app = typer.Typer(help="Datasets: where they are, whether they are whole, how to get them.", no_args_is_help=True)


@data_app.command()
def download(*, data_dir: options.DataDir = None) -> None:
    """Download CIFAR-10 (163 MiB) from its official source, check it, unpack it; an archive that is there is taken."""
    from rich.console import Console

    from resnet_cli.tasks.cifar10 import files as cifar10

    console = Console(stderr=True)
    folder = options.data_folder(data_dir)
    fetch_cifar10(folder, console)
    typer.echo(f"CIFAR-10 is whole in {cifar10.folder_of(folder).parent}")


@data_app.command()
def verify(
    dataset: Annotated[Literal["cifar10", "imagenet"], typer.Argument(help="Which one.")] = "cifar10",
    *,
    data_dir: options.DataDir = None,
    dataset_root: options.DatasetRoot = None,
    _val_labels: ValLabels = None,
    workers: options.Workers = None,
) -> None:
    """Check CIFAR-10's files by their official MD5; of ImageNet, or a folder of classes, decode every photograph.

    Decoding goes on where it was interrupted.
    """
    from resnet_cli.identity import Variant
    from resnet_cli.tasks import obstacle, task_of
    from resnet_cli.tasks.imagenet.folder import scan, source_of

    folder = options.data_folder(data_dir)
    source = None
    if dataset_root:
        dataset, source = "imagenet", source_of(dataset_root)
    in_the_way = obstacle(Variant(dataset="folder" if source else dataset, source=source), folder, dataset_root)
    if in_the_way:
        raise BadInputError(in_the_way)
    whole = f"{source} can be used" if source else f"{task_of(dataset).title} is whole in {dataset_root or folder}"
    if dataset == "imagenet":
        found = scan(dataset_root or folder / dataset)
        _decode_all(found, folder, options.worker_count(workers))
        images = f"{len(found.train):,} training and {len(found.val):,} validation images"
        whole += f": {len(found.classes):,} classes, {images}, each of them decoded"
    typer.echo(whole)


def _decode_all(found: Folder, data_dir: Path, workers: int) -> None:
    """Decodes every photograph of a folder, with a progress bar.

    Raises:
        BadInputError: Some cannot be decoded.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from resnet_cli.data.verify import decode_all, in_words

    console, total = Console(stderr=True), len(found.train) + len(found.val)
    columns = (TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("decoding", total=total)
        faults = decode_all(found, data_dir / "verified", workers, lambda done: progress.update(task, completed=done))
    if faults:
        raise BadInputError(in_words(found.root, faults, total))


@data_app.command()
def where(*, data_dir: options.DataDir = None) -> None:
    """Show where datasets are looked for, and the layout expected there."""
    from resnet_cli.tasks.cifar10 import files as cifar10

    folder = options.data_folder(data_dir)
    typer.echo(f"{folder.absolute()}  (--data-dir, else RESNET_DATA, else data/)")
    for name in cifar10.FILES:
        there = "there" if (cifar10.folder_of(folder) / name).is_file() else "missing"
        typer.echo(f"  {cifar10.FOLDER}/{name}: {there}")
    for part in ("train", "val"):
        there = "there" if (folder / "imagenet" / part).is_dir() else "missing"
        typer.echo(f"  imagenet/{part}/<wnid>/*.JPEG: {there}")
    typer.echo("Any folder of classes (train/<class>/, val/<class>/) stands in for ImageNet by --dataset-root.")


def fetch_cifar10(data_dir: Path, console: Console) -> None:
    """Downloads CIFAR-10 with a progress bar on the console.

    Raises:
        BadInputError: It cannot be had.
    """
    from rich.progress import Progress

    from resnet_cli.tasks.cifar10 import files as cifar10

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:

        def wrap(stream: BinaryIO, length: int) -> BinaryIO:
            return progress.wrap_file(stream, total=length or None, description="CIFAR-10")

        cifar10.download(data_dir, wrap)

"""`resnet data`: find, check and download datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import counted
from resnet_cli.cli.examples import examples
from resnet_cli.cli.labels import ValLabels
from resnet_cli.errors import BadInputError
from resnet_cli.names import DOWNLOAD_HELP, PAPER_DATASETS, VERIFY_HELP, PaperDataset

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from resnet_cli.tasks.task import Task

data_app = typer.Typer(help="Find, check and download datasets.", no_args_is_help=True, epilog=examples("data"))


@data_app.command(help=DOWNLOAD_HELP, epilog=examples("data download"))
def download(*, data_dir: options.DataDir = None) -> None:
    """Download what can be downloaded."""
    from rich.console import Console

    from resnet_cli.tasks import TASKS

    console, folder = Console(stderr=True), options.data_folder(data_dir)
    for task in TASKS:
        if task.is_downloadable:
            typer.echo(f"{task.title} is complete in {fetch(task, folder, console)}")


@data_app.command(help=VERIFY_HELP, epilog=examples("data verify"))
def verify(
    dataset: Annotated[PaperDataset, typer.Argument(help="Dataset to check.")] = PAPER_DATASETS[0],
    *,
    data_dir: options.DataDir = None,
    dataset_root: options.DatasetRoot = None,
    _val_labels: ValLabels = None,
    workers: options.Workers = None,
) -> None:
    """Check all of a dataset."""
    from rich.console import Console

    from resnet_cli.identity import Variant
    from resnet_cli.tasks import TASKS, obstacle, task_of, with_folder

    folder = options.data_folder(data_dir)
    task = next((each for each in TASKS if each.name == dataset), None) or task_of(dataset)
    name, source = task.dataset if task.name == dataset else dataset, None
    if dataset_root and not task.takes_root:
        task = with_folder()
    if dataset_root and task.folder:
        name, source = task.found_at(dataset_root)
    variant = Variant(dataset=name, source=source)
    in_the_way = obstacle(variant, folder, dataset_root)
    if in_the_way:
        raise BadInputError(in_the_way)
    with counted(Console(stderr=True), "decoding") as tell:
        found = task.verify(variant, folder, dataset_root, options.worker_count(workers), tell)
    whole = f"{source} can be used" if source else f"{task.title} is complete in {dataset_root or folder}"
    typer.echo(f"{whole}: {found}" if found else whole)


@data_app.command(epilog=examples("data where"))
def where(*, data_dir: options.DataDir = None) -> None:
    """Show where datasets are expected, in which layout, and which are there."""
    from resnet_cli.tasks import TASKS, with_folder

    folder = options.data_folder(data_dir)
    typer.echo(f"{folder.absolute()}  (--data-dir, else RESNET_DATA, else data/)")
    for task in TASKS:
        for name, is_there in task.expected(folder).items():
            typer.echo(f"  {name}: {'there' if is_there else 'missing'}")
    replaced = with_folder().title
    typer.echo(f"Any folder of classes (train/<class>/, val/<class>/) can replace {replaced}: --dataset-root.")


def fetch(task: Task, data_dir: Path, console: Console) -> Path:
    """Downloads a task's dataset with a progress bar on the console; returns the folder that has it.

    Raises:
        BadInputError: It cannot be downloaded.
    """
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:

        def wrap(stream: BinaryIO, length: int) -> BinaryIO:
            return progress.wrap_file(stream, total=length or None, description=task.title)

        return task.fetch(data_dir, wrap)

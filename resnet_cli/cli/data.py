"""`resnet data`: where datasets are, whether they are whole, and how to get them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import typer

from resnet_cli.cli import options
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

data_app = typer.Typer(help="Datasets: where they are, whether they are whole, how to get them.", no_args_is_help=True)


@data_app.command()
def download(*, data_dir: options.DataDir = None) -> None:
    """Download CIFAR-10 (163 MiB) from its official source, check it, unpack it."""
    from rich.console import Console

    console = Console(stderr=True)
    folder = options.data_folder(data_dir)
    fetch_cifar10(folder, console)
    typer.echo(f"CIFAR-10 is whole in {folder}")


@data_app.command()
def verify(*, data_dir: options.DataDir = None) -> None:
    """Check every file of CIFAR-10 by its official MD5."""
    from resnet_cli.data import cifar10

    folder = options.data_folder(data_dir)
    problem = cifar10.problem(folder)
    if problem:
        raise BadInputError(problem)
    typer.echo(f"CIFAR-10 is whole in {folder}")


@data_app.command()
def where(*, data_dir: options.DataDir = None) -> None:
    """Show where datasets are looked for, and the layout expected there."""
    from resnet_cli.data import cifar10

    folder = options.data_folder(data_dir)
    typer.echo(f"{folder.resolve()}  (--data-dir, else RESNET_DATA, else data/)")
    for name in cifar10.FILES:
        there = "there" if (folder / cifar10.FOLDER / name).is_file() else "missing"
        typer.echo(f"  {cifar10.FOLDER}/{name}: {there}")


def fetch_cifar10(data_dir: Path, console: Console) -> None:
    """Downloads CIFAR-10 with a progress bar on the console.

    Raises:
        BadInputError: It cannot be had.
    """
    from rich.progress import Progress

    from resnet_cli.data import cifar10

    with Progress(console=console, transient=True) as progress:

        def wrap(stream: BinaryIO, length: int) -> BinaryIO:
            return progress.wrap_file(stream, total=length or None, description="CIFAR-10")

        cifar10.download(data_dir, wrap)

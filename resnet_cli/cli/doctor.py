"""`resnet doctor`: versions, devices, data, disk, and what stands in the way of a run."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from pathlib import Path

import typer

from resnet_cli import __version__
from resnet_cli.cli import options
from resnet_cli.errors import BadInputError
from resnet_cli.runs.store import Store

ENOUGH_DISK = 2_000_000_000  # bytes; two checkpoints of ResNet-1202 and their temporary file take 0.5 GB


def doctor(*, data_dir: options.DataDir = None, results_dir: options.ResultsDir = None) -> None:
    """Show versions, devices, data and disk, and what stands in the way of a run; exit code 2 if anything does."""
    obstacles = []
    typer.echo(f"resnet {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    try:
        torch = importlib.import_module("torch")
        torchvision = importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        obstacles.append(f"torch and torchvision do not load together: {error}; install the pair in constraints.txt")
    else:
        typer.echo(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
        typer.echo(f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads")
        if torch.cuda.is_available():
            typer.echo(f"cuda: {torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB")
        typer.echo(f"cuda: {torch.cuda.is_available()}, mps: {torch.backends.mps.is_available()}")
        obstacles += _data_obstacles(options.data_folder(data_dir))
    obstacles += _disk_obstacles(Store.open(results_dir).root)
    if obstacles:
        raise BadInputError("; ".join(obstacles))
    typer.echo("Nothing stands in the way.")


def _data_obstacles(folder: Path) -> list[str]:
    from resnet_cli.data import cifar10

    problem = cifar10.problem(folder)
    if problem is None:
        typer.echo(f"CIFAR-10: whole, in {folder}")
        return []
    return [problem]


def _disk_obstacles(results: Path) -> list[str]:
    there = next(path for path in [results.absolute(), *results.absolute().parents] if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return [f"{results}: cannot be written; choose another --results-dir"]
    free = shutil.disk_usage(there).free
    typer.echo(f"results: {results}, {free / 1e9:.0f} GB free")
    return [f"{results}: {free:,} bytes free, {ENOUGH_DISK:,} wanted"] if free < ENOUGH_DISK else []

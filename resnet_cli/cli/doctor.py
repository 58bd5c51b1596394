"""`resnet doctor`: versions, devices, data, disk, unfinished runs, and obstacles to a run."""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli import __version__
from resnet_cli.cli import options
from resnet_cli.cli.answer import say
from resnet_cli.cli.examples import WHAT
from resnet_cli.errors import BadInputError
from resnet_cli.streams import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from resnet_cli.storage.store import Store
    from resnet_cli.train.graph_step import StepName

ENOUGH_DISK = 2_000_000_000  # bytes; two checkpoints of ResNet-1202 and their temporary file take 0.5 GB
PROBE = ".resnet-doctor"
PROVEN = "resnet-20"


def doctor(
    *,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            rich_help_panel=WHAT,
            help=f"Also check that the compiled step agrees with the plain one ({PROVEN}).",
        ),
    ] = False,
    data_dir: options.DataDir = None,
    results_dir: options.ResultsDir = None,
) -> None:
    """Check versions, devices, data, disk and unfinished runs; print each obstacle; exit code 2 if there is one."""
    from resnet_cli.device.versions import explanation
    from resnet_cli.storage.store import Store

    obstacles = []
    store = Store.open(results_dir)
    _say(f"resnet {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    try:
        _show_devices(prove=prove)
    except BadInputError as error:
        obstacles.append(str(error))
    except Exception as error:  # an incompatible pair can raise nearly anything
        in_the_way = explanation(error)
        if in_the_way is None:
            raise
        obstacles.append(in_the_way)
    else:
        obstacles += _data_obstacles(options.data_folder(data_dir))
        obstacles += _run_obstacles(store)
    obstacles += _disk_obstacles(store.root)
    if obstacles:
        raise BadInputError("; ".join(obstacles))
    _say("No obstacle to a run.")


def _show_devices(*, prove: bool) -> None:
    """Loads torch and torchvision, and compiles a small function, or a net in each precision."""
    import torch
    import torchvision  # type: ignore[import-untyped]

    from resnet_cli.device.torch_device import choose_device
    from resnet_cli.train import graph_step

    _say(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    _say(f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    device = choose_device("auto")
    if torch.cuda.is_available():
        _say(f"cuda: {torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB")
    _say(f"cuda: {torch.cuda.is_available()}, mps: {torch.backends.mps.is_available()}")
    plain = graph_step.obstacle(device)
    is_graph = graph_step.takes_a_graph(device, is_alone=True)
    instead = "as a CUDA graph" if is_graph else "which is slower"
    _say(f"compiled step: {f'no, the plain one, {instead}: {plain}' if plain else 'yes'}")
    steps: list[StepName] = [] if plain else ["compiled"]
    if is_graph:
        steps.append("captured")
    for precision in ("fp32", "bf16") if prove and steps else ():
        for line in _agreement(device, precision, steps):
            _say(line)


def _agreement(device: torch.device, precision: Literal["fp32", "bf16"], steps: list[StepName]) -> Iterator[str]:
    """Compares a few updates of a net by each of these steps with the plain step's, up to the first that agrees.

    A run does this by itself, with its own net.
    """
    from resnet_cli.data import synthetic
    from resnet_cli.device.torch_device import prepare
    from resnet_cli.tasks import task_of
    from resnet_cli.train.proof import prove_net, summary

    prepare(device, precision)
    images = synthetic.load().to(device)
    for step in steps:
        found = prove_net(task_of(images.name).net(PROVEN), precision, images, step)
        yield f"{PROVEN}, {precision}, {step}: {summary(found)}"
        if found.problem is None:
            return


def _data_obstacles(folder: Path) -> list[str]:
    """Problems with data: what can be downloaded must be there; other data may be missing, but not incomplete."""
    from resnet_cli.identity import Variant
    from resnet_cli.tasks import TASKS

    problems = []
    for task in TASKS:
        place = task.place(folder)
        if place is None:
            continue
        if not task.is_downloadable and not place.is_dir():
            without = "--tiny and --dataset-root" if task.folder else "--tiny"
            _say(f"{task.title}: not in {place}; without it, its experiments run with {without}")
        elif problem := task.obstacle(Variant(dataset=task.dataset), folder):
            problems.append(problem)
        else:
            _say(f"{task.title}: complete, in {place}")
    return problems


def _run_obstacles(store: Store) -> list[str]:
    """Runs that are damaged or cannot continue. A run that another process is training is not checked."""
    from resnet_cli.runs.left_out import left_out
    from resnet_cli.storage import run_folder
    from resnet_cli.train import checkpoint

    obstacles = []
    for found in left_out(store):
        _say(printable(f"{found.path}: in no table: {found.why}; {found.advice}"))
    for run in store.runs():
        folder, status = store.folder(run), store.status(run)
        if status.state == "done":
            obstacles += _damage(folder)
            continue
        if run_folder.is_held(folder):
            _say(f"{run.run_id}: another process is training it")
            continue
        try:
            _, problems = checkpoint.load(folder)
        except BadInputError as error:
            obstacles.append(str(error))
        else:
            for each in problems:
                _say(f"{run.run_id}: continues from the previous checkpoint: {each}")
            if status.iteration and status.state in ("interrupted", "failed", "running"):
                far = f"{status.iteration:,} of {run.protocol.iterations:,} updates"
                _say(f"{run.run_id}: {status.state} after {far}; the command that began it continues it")
    return obstacles


def _damage(folder: Path) -> list[str]:
    """What is wrong with a finished run's files. Only the logs must be there: other files may be kept elsewhere."""
    from resnet_cli.storage import run_folder

    problems = []
    for name in run_folder.RESULTS:
        try:
            run_folder.read_checked(folder / name)
        except FileNotFoundError:
            if name in (run_folder.TRAIN_CSV, run_folder.EVAL_CSV):
                problems.append(f"{folder / name}: missing; restore it, or delete {folder} and run it again")
        except OSError as error:
            problems.append(f"{folder / name}: {error.strerror or error}")
        except BadInputError as error:
            problems.append(str(error))
    return problems


def _disk_obstacles(results: Path) -> list[str]:
    there = next(path for path in [results.absolute(), *results.absolute().parents] if path.exists())
    try:
        _try_out(there)
    except (OSError, NotImplementedError, UserWarning) as error:
        reason = getattr(error, "strerror", None) or error
        return [f"{results}: cannot be written and locked: {reason}; choose another --results-dir"]
    free = shutil.disk_usage(there).free
    _say(f"results: {results}, {free / 1e9:.0f} GB free")
    return [f"{results}: {free:,} bytes free, {ENOUGH_DISK:,} needed"] if free < ENOUGH_DISK else []


def _try_out(folder: Path) -> None:
    """Tries all that a run does with its files: writes, syncs, renames, locks and removes one.

    Raises:
        OSError: One of them fails.
        NotImplementedError: There are no locks; newer versions of filelock raise a UserWarning.
    """
    import filelock

    from resnet_cli.storage import run_folder

    probe, lock = (folder / f"{PROBE}-{os.getpid()}{suffix}" for suffix in ("", ".lock"))
    try:
        run_folder.replace_file(probe, b"a probe")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # without locks, filelock falls back on a file that outlives a kill
            with filelock.FileLock(lock, timeout=0):
                pass
    finally:
        for path in (probe, lock):
            path.unlink(missing_ok=True)


def _say(line: str) -> None:
    from rich.console import Console

    say(Console(), line)

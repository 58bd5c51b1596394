"""The tasks, the only packages that know a dataset by name; the rest of the program asks them. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.tasks.cifar10 import Cifar10
from resnet_cli.tasks.detection import Coco, Voc
from resnet_cli.tasks.detection.crops import Crops
from resnet_cli.tasks.imagenet import ImageNet
from resnet_cli.tasks.localisation import Localisation
from resnet_cli.tasks.speech import Speech

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.identity import Variant
    from resnet_cli.tasks.data import Data
    from resnet_cli.tasks.task import Task

# A new task stands in a file or folder here, and in this list.
TASKS: list[Task] = [Cifar10(), ImageNet(), Voc(), Coco(), Crops(), Localisation(), Speech()]


def task_of(dataset: str) -> Task:
    """The task that has a dataset.

    Raises:
        ValueError: No task has it.
    """
    for task in TASKS:
        if dataset in task.datasets:
            return task
    *known, last = (f"'{name}'" for task in TASKS for name in task.datasets)
    raise ValueError(f"dataset: Input should be {', '.join(known)} or {last}, not '{dataset}'")


def with_folder() -> Task:
    """The task whose dataset may be a folder of the user's own."""
    return next(task for task in TASKS if task.folder)


def titles(has: Callable[[Task], object]) -> str:
    """The titles of the tasks for which this is true, in words."""
    *others, last = [task.title for task in TASKS if has(task)] or ["no task"]
    return f"{', '.join(others)} and {last}" if others else last


def obstacle(variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
    """What keeps a run's dataset from being used, as one line; None if it is whole."""
    return task_of(variant.dataset).obstacle(variant, data_dir, dataset_root)


def open_dataset(variant: Variant, data_dir: Path, **how: Any) -> Data:
    """Opens a run's dataset on the CPU; see `Task.open`."""
    return task_of(variant.dataset).open(variant, data_dir, **how)

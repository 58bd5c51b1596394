"""Datasets, and the order and augmentation in which training sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.data import cifar10, synthetic
from resnet_cli.data.dataset import Dataset

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.spec import Variant

__all__ = ["Dataset", "obstacle", "open_dataset"]


def obstacle(variant: Variant, data_dir: Path) -> str | None:
    """What keeps a run's dataset from being used, as one line; None if it is whole."""
    return cifar10.problem(data_dir) if variant.dataset == "cifar10" else None


def open_dataset(variant: Variant, data_dir: Path) -> Dataset:
    """Loads a run's training and test set into memory.

    Args:
        variant: Names the dataset, its split, and whether it is the smoke run's few images.
        data_dir: The folder of datasets, in torchvision's layouts.

    Raises:
        BadInputError: The dataset is missing or not the official one.
    """
    if variant.dataset == "cifar10":
        dataset = cifar10.load(data_dir)
    elif variant.tiny:
        dataset = synthetic.load(train=64, test=64)
    else:
        dataset = synthetic.load()
    return dataset if variant.split == "full" else dataset.held_out()

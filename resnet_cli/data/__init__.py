"""Datasets, and the order and augmentation in which training sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.data import cifar10, folder, synthetic
from resnet_cli.data.dataset import Dataset
from resnet_cli.data.decode import Photographs
from resnet_cli.data.photo_stream import PhotoStream
from resnet_cli.data.photos import PhotoDataset
from resnet_cli.data.stream import TrainStream
from resnet_cli.errors import BadInputError
from resnet_cli.spec import PAPER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.data.folder import Folder
    from resnet_cli.spec import Photos, Variant

__all__ = ["Dataset", "PhotoDataset", "TrainingStream", "obstacle", "open_dataset"]

IMAGENET = "imagenet"
TrainingStream = TrainStream | PhotoStream


def obstacle(variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> str | None:
    """What keeps a run's dataset from being used, as one line; None if it is whole."""
    if variant.dataset == "cifar10":
        return cifar10.problem(data_dir)
    if variant.dataset in ("imagenet", "folder"):
        try:
            _find_folder(variant, data_dir, dataset_root)
        except BadInputError as error:
            return str(error)
    return None


def open_dataset(
    variant: Variant,
    data_dir: Path,
    *,
    photos: Photos | None = None,
    dataset_root: Path | None = None,
    workers: int = 2,
    report: Callable[[str], None] | None = None,
) -> Dataset | PhotoDataset:
    """Loads a run's training and test set into memory; of photographs on disk, their names.

    Args:
        variant: Names the dataset, its split, and whether it is the smoke run's few images.
        data_dir: The folder of datasets, in torchvision's layouts.
        photos: How photographs become inputs; by default as the paper's, or a smoke run's, do.
        dataset_root: A folder of classes in place of ImageNet, or ImageNet where it is not in `data_dir`.
        workers: Threads that decode photographs.
        report: Told of passes over photographs, one line at a time.

    Raises:
        BadInputError: The dataset is missing or not the one that is asked for.
    """
    if variant.benchmark == "cifar10":
        return _open_resident(variant, data_dir)
    protocol = PAPER["imagenet"].tiny() if variant.tiny else PAPER["imagenet"]
    photos = photos or protocol.photos
    assert photos is not None
    if variant.dataset == "synthetic-photos":
        counts = (64, 16) if variant.tiny else (2_000, 200)
        (train, train_sum), (test, test_sum) = (
            synthetic.draw_photographs(count, key) for key, count in enumerate(counts)
        )
        checksum = f"SHA-256 of the drawings {train_sum}, {test_sum}"
        return PhotoDataset(
            variant.dataset, checksum, synthetic.CLASSES, train, test, photos, workers=workers, report=report
        )
    found = _find_folder(variant, data_dir, dataset_root)
    return PhotoDataset(
        name=variant.source or variant.dataset,
        checksum=f"SHA-256 of names and sizes {found.sha256}",
        classes=found.classes,
        train=Photographs(found.train, found.train_labels, found.root),
        test=Photographs(found.val, found.val_labels, found.root),
        photos=photos,
        workers=workers,
        statistics_path=data_dir / "statistics" / f"{found.source}-{photos.crop}.npz",
        report=report,
    )


def _open_resident(variant: Variant, data_dir: Path) -> Dataset:
    if variant.dataset == "cifar10":
        dataset = cifar10.load(data_dir)
    elif variant.dataset == "shapes-16":
        dataset = synthetic.load_small()
    elif variant.tiny:
        dataset = synthetic.load(train=64, test=64)
    else:
        dataset = synthetic.load()
    return dataset if variant.split == "full" else dataset.held_out()


def _find_folder(variant: Variant, data_dir: Path, dataset_root: Path | None) -> Folder:
    if variant.dataset == "imagenet":
        return folder.imagenet(dataset_root or data_dir / IMAGENET)
    if dataset_root is None:
        raise BadInputError(f"{variant.source}: say by --dataset-root where this folder is")
    found = folder.scan(dataset_root)
    if found.source != variant.source:
        raise BadInputError(
            f"{dataset_root}: is {found.source}, not {variant.source}: another folder, or changed since; "
            "give back its images, or run anew with what it holds"
        )
    return found

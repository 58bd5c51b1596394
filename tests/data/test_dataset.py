from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from paper_tasks import CIFAR10

from resnet_cli.data.dataset import Dataset
from resnet_cli.data.stream import TrainStream
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.tasks import open_dataset

if TYPE_CHECKING:
    from pathlib import Path


def dataset(train: int, test: int = 4, size: int = 2) -> Dataset:
    """Random images of a few pixels; the label is the image's number."""
    generator = torch.Generator().manual_seed(0)
    train_images, test_images = (
        torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator) for count in (train, test)
    )
    return Dataset("own", "sum", ("a", "b"), train_images, torch.arange(train), test_images, torch.arange(test))


@pytest.mark.parametrize("train", [1, 40, 5_003])
def test_mean_is_per_pixel_and_of_the_training_images(train: int) -> None:
    """The mean is NumPy's, of every pixel over the training images alone, on the scale 0 to 1 (section 4.2)."""
    data = dataset(train)
    expected = (data.train_images.numpy().astype(np.float64) / 255).mean(axis=0)

    assert (torch.float32, (3, 2, 2)) == (data.mean.dtype, tuple(data.mean.shape))
    np.testing.assert_allclose(data.mean.numpy(), expected, rtol=1e-6)


def test_normalize() -> None:
    """Normalised images are on the scale 0 to 1, less the training mean; nothing else is done to them."""
    data = dataset(40)
    expected = data.test_images.numpy() / 255 - data.mean.numpy()

    np.testing.assert_allclose(data.normalize(data.test_images).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(data.normalize(data.train_images).mean(dim=0).numpy(), 0, atol=1e-6)


@pytest.mark.parametrize(("train", "kept"), [(50, 45), (64, 58), (50_000, 45_000)])
def test_held_out(train: int, kept: int) -> None:
    """The last tenth of the training images becomes the test set; the real test set is out of sight (section 4.2)."""
    data = dataset(train, size=1)
    split = data.held_out()

    assert torch.equal(data.train_images[:kept], split.train_images)
    assert torch.equal(data.train_images[kept:], split.test_images)
    assert list(range(train)) == split.train_labels.tolist() + split.test_labels.tolist()
    assert (kept, train - kept) == (len(split.train_labels), len(split.test_labels))
    assert (data.name, data.checksum, data.classes) == (split.name, split.checksum, split.classes)


def test_held_out_mean() -> None:
    """Held-out images have no part in the mean."""
    data = dataset(50)
    split = data.held_out()

    assert torch.equal((data.train_images[:45].double().mean(dim=0) / 255).float(), split.mean)
    assert not torch.equal(data.mean, split.mean)


def test_open_dataset(tmp_path: Path) -> None:
    """A smoke run gets 64 embedded images to train on and 64 to test on, or the split of those."""
    full = open_dataset(Variant(dataset="synthetic", tiny=True), tmp_path)
    split = open_dataset(Variant(dataset="synthetic", tiny=True, split="45k-5k"), tmp_path)

    assert (64, 64) == (len(full.train_labels), len(full.test_labels))
    assert (58, 6) == (len(split.train_labels), len(split.test_labels))
    assert torch.equal(full.train_images[58:], split.test_images)


def test_test_views() -> None:
    """Images of 32x32 have one view, normalised, on a CPU in batches of 250 in their order; there is no other."""
    data = dataset(10, test=503)
    parts = list(data.test_views("1-crop"))

    assert [250, 250, 3] == [len(numbers) for numbers, _ in parts]
    assert list(range(503)) == torch.cat([numbers for numbers, _ in parts]).tolist()
    assert torch.equal(data.normalize(data.test_images), torch.cat([inputs for _, inputs in parts]))
    with pytest.raises(ValueError, match="10-crop: images of 32x32 have one view only"):
        next(data.test_views("10-crop"))


def test_constants() -> None:
    """Foreign weights' constants stand in for the training mean."""
    data = replace(dataset(10), constants=((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))
    pixels = data.test_images.numpy() / 255
    expected = (pixels - np.reshape((0.5, 0.4, 0.3), (3, 1, 1))) / np.reshape((0.2, 0.25, 0.3), (3, 1, 1))

    np.testing.assert_allclose(data.normalize(data.test_images).numpy(), expected, atol=1e-6)


def test_train_stream(tmp_path: Path) -> None:
    """A run's stream has its seed and its batches."""
    run = RunSpec.of(CIFAR10.net("resnet-20"), Variant(dataset="synthetic", tiny=True), CIFAR10.protocol, 3)
    data = open_dataset(run.variant, tmp_path)
    images, labels = run.task.stream(data, run).batch(5)
    expected, expected_labels = TrainStream(data, 3, 16).batch(5)

    assert torch.equal(expected, images)
    assert torch.equal(expected_labels, labels)

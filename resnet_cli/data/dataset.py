"""A dataset in memory, on any device: training images, test images, and the training mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


Constants = tuple[tuple[float, float, float], tuple[float, float, float]]

# Images tested at a time: on a CPU as many as have their maps fit into its cache, on a GPU as many as keep it busy.
TEST_BATCH = {"cpu": 250}
TEST_BATCH_ELSEWHERE = 2_500
VALIDATION_PART = 10  # 45k/5k: the last tenth of the training images (section 4.2 does not say which)


@dataclass(frozen=True)
class Dataset:
    """Images as (N, 3, 32, 32) uint8 and labels as (N,) int64, in the source's own order.

    Attributes:
        name: What it is.
        checksum: Identifies its content, for environment.json.
        classes: The classes' names.
        constants: Mean and standard deviation of each channel, on the scale 0 to 1, that foreign weights need in place
            of the training mean.
    """

    name: str
    checksum: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    constants: Constants | None = None

    @property
    def device(self) -> torch.device:
        """Where its images are."""
        return self.train_labels.device

    @cached_property
    def mean(self) -> Tensor:
        """Per-pixel mean of the training images, (3, 32, 32) float32 on the scale 0 to 1 (section 4.2)."""
        total = torch.zeros(self.train_images.shape[1:], dtype=torch.int64, device=self.train_images.device)
        # Whole numbers are summed exactly, so the mean is the same on every device.
        for part in torch.split(self.train_images, 5_000):
            total += part.sum(dim=0, dtype=torch.int64)
        return (total.cpu().double() / (255 * len(self.train_images))).float().to(self.train_images.device)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 images to float32 with the training mean subtracted.

        The scale 1/255 is ours; the batch normalisation behind the first convolution takes it out again.
        """
        if self.constants is None:
            return images.float() / 255 - self.mean
        return standardize(images, self.constants)

    def prepare(self) -> None:
        """Nothing to make: the mean takes no time."""

    def test_views(self, views: str, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers (B,) and inputs (B, 3, 32, 32) of the test images: the single view of section 4.2.

        Args:
            views: The view.
            share: Which batches, from 0, of how many: (1, 3) takes the second of each three.

        Raises:
            ValueError: Another view is asked for; images of 32x32 have no other.
        """
        if views != "1-crop":
            raise ValueError(f"{views}: images of 32x32 have one view only")
        numbers = torch.arange(len(self.test_labels), device=self.device)
        batches = torch.split(numbers, TEST_BATCH.get(self.device.type, TEST_BATCH_ELSEWHERE))
        for part in batches[share[0] :: share[1]]:
            yield part, self.normalize(self.test_images[part])

    def to(self, device: torch.device) -> Dataset:
        """The same dataset, resident on the device."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )

    def held_out(self) -> Dataset:
        """The 45k/5k split of section 4.2: the last tenth of the training images becomes the test set."""
        kept = len(self.train_images) - len(self.train_images) // VALIDATION_PART
        return replace(
            self,
            train_images=self.train_images[:kept],
            train_labels=self.train_labels[:kept],
            test_images=self.train_images[kept:],
            test_labels=self.train_labels[kept:],
        )


def standardize(images: Tensor, constants: Constants) -> Tensor:
    """uint8 images (B, 3, H, W) to float32: on the scale 0 to 1, minus the channels' means, over their deviations."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in constants)
    return (images.float() / 255 - mean) / std

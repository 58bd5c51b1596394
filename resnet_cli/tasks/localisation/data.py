"""Photographs, each of one class, with the boxes of its objects; training crops with the boxes cut to the crop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_cli.data import PhotoDataset, PhotoStream
from resnet_cli.data.crops import CHANCES, chances, corner, cut, is_mirrored, rescaled

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.spec import Photos

MOST_BOXES = 8  # of a training crop; the others count as background
LEAST_PART = 1 / 8  # of the crop: an object whose part in it is less high or wide is left out
_UNIT = 2.0**-53


@dataclass(frozen=True, kw_only=True)
class LocalisationData(PhotoDataset):
    """Photographs, and of each the boxes of all objects of its class.

    Attributes:
        train_boxes: Of each training image, (K, 4) float32, pixels of the whole image: left, top, right, bottom edges.
        test_boxes: Of each test image.
        regions: How many of the best boxes an R-CNN looks at in a test.
    """

    train_boxes: tuple[np.ndarray, ...]
    test_boxes: tuple[np.ndarray, ...]
    regions: int

    @cached_property
    def mean_box(self) -> np.ndarray:
        """The mean box of the training objects, (4,), as fractions of the width and the height of their images.

        It is the mean over the first thousand images, which are read for their sizes.
        """
        numbers = range(min(1_000, len(self.train)))
        parts = [self.train_boxes[number][0] / _sides(self.train.image(number)) for number in numbers]
        mean: np.ndarray = np.mean(parts, axis=0)
        return mean


class BoxStream(PhotoStream):
    """Batches of training crops with labels, boxes, and an update's random numbers; see `PhotoStream`."""

    dataset: LocalisationData

    def batch(self, iteration: int) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Images (B, 3, crop, crop), labels (B,), boxes (B, 8, 4), empty ones after the last; draws (B, D) in [0, 1).

        Raises:
            BadInputError: A photograph cannot be read or decoded.
        """
        images, numbers, drawn = self._augmented(iteration)
        rest = torch.from_numpy(np.stack(drawn)[:, CHANCES:].astype(np.float32)).to(self.dataset.device)
        boxes, draws = rest[:, : 4 * MOST_BOXES].reshape(-1, MOST_BOXES, 4), rest[:, 4 * MOST_BOXES :]
        return images, self.dataset.train_labels[numbers], boxes, draws

    def inputs(self, iteration: int) -> tuple[Tensor, ...]:  # type: ignore[override]
        """The batch itself; see `PhotoStream`."""
        return self.batch(iteration)

    def make(self, *batch: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """The batch."""
        return batch

    def _make(self, epoch: int, image: int) -> tuple[Tensor, np.ndarray]:
        """An image's training crop; and its chances, boxes and draws in a row."""
        dataset, chance = self.dataset, chances(self.seed, epoch, image)
        crop, boxes = training_view(dataset.train.image(image), dataset.train_boxes[image], dataset.photos, chance)
        padded = np.zeros((MOST_BOXES, 4))
        padded[: len(boxes)] = boxes[:MOST_BOXES]
        return crop, np.concatenate([chance, padded.ravel(), self._draws(epoch, image)])

    def _draws(self, epoch: int, image: int) -> np.ndarray:
        """Numbers in [0, 1), enough for nine anchors at each place of a map of stride 16, and one more.

        The counter's third word is 2, where that of the crops' chances is 1.
        """
        count = 9 * (-(-self.dataset.photos.crop // 16)) ** 2 + 1
        counter = np.array([0, image, 2, 0], dtype=np.uint64)
        philox = np.random.Philox(counter=counter, key=np.array([self.seed, epoch], dtype=np.uint64))
        drawn: np.ndarray = (philox.random_raw(count) >> np.uint64(11)) * _UNIT
        return drawn


def training_view(image: Tensor, boxes: np.ndarray, photos: Photos, chance: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Section 3.4's training crop of an image, and the objects' boxes (K, 4) cut to it, without those mostly outside.

    Args:
        image: (3, H, W) uint8.
        boxes: (N, 4) in the image.
        photos: Sizes.
        chance: The random numbers, as for a classifier's crop.
    """
    larger = rescaled(image, photos, chance)
    top, left = corner(larger, photos, chance)
    moved = boxes / _sides(image) * _sides(larger) - (left, top, left, top)
    moved = moved.clip(0, photos.crop)
    crop = cut(larger, photos.crop, top, left)
    if is_mirrored(chance):
        crop, moved = (
            crop.flip(2),
            np.stack([photos.crop - moved[:, 2], moved[:, 1], photos.crop - moved[:, 0], moved[:, 3]], axis=1),
        )
    kept = (moved[:, 2:] - moved[:, :2] >= LEAST_PART * photos.crop).all(axis=1)
    return crop, moved[kept]


def _sides(image: Tensor) -> np.ndarray:
    """Width, height, width, height of an image (3, H, W)."""
    height, width = image.shape[1:]
    return np.array([width, height, width, height], dtype=np.float64)

"""What is marked in an image, what a detector found in it, and sets of such images. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import ArrayLike
    from torch import Tensor


@dataclass(frozen=True)
class Objects:
    """What is marked in one image, N objects.

    Attributes:
        boxes: (N, 4) float32: left, top, right, bottom edges in pixels from 0, so that right - left is the width.
        labels: (N,) int64 from 1; 0 is the background.
        difficult: (N,) bool: VOC's mark. Finding such an object counts neither for nor against a detector.
        crowd: (N,) bool: COCO's mark of a box around many objects. What is found inside it counts neither way.
        areas: (N,) float32, in square pixels: COCO's own, of the object's outline; else the boxes'.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(
        cls,
        boxes: ArrayLike,
        labels: ArrayLike,
        difficult: ArrayLike | None = None,
        crowd: ArrayLike | None = None,
        areas: ArrayLike | None = None,
    ) -> Objects:
        """Objects with these boxes; without marks if none are given, and with the boxes' areas if none are given."""
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        none = np.zeros(len(boxes), bool)
        return cls(
            boxes,
            np.asarray(labels, np.int64).reshape(-1),
            none if difficult is None else np.asarray(difficult, bool).reshape(-1),
            none if crowd is None else np.asarray(crowd, bool).reshape(-1),
            (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) if areas is None else np.asarray(areas, np.float32).reshape(-1),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def to_learn(self) -> Objects:
        """Those that a detector is trained on: neither difficult nor a crowd, and with an area."""
        return self.where(~self.difficult & ~self.crowd & (self.boxes[:, 2:] > self.boxes[:, :2]).all(axis=1))

    def where(self, mask: np.ndarray) -> Objects:
        """Those for which a mask (N,) is true."""
        return Objects(*(each[mask] for each in (self.boxes, self.labels, self.difficult, self.crowd, self.areas)))


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image, N boxes.

    Attributes:
        boxes: (N, 4) float32, as those of `Objects`.
        labels: (N,) int64 from 1.
        scores: (N,) float32; the higher, the more confident.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class Pictures(Protocol):
    """Images with what is marked in them."""

    @property
    def ids(self) -> tuple[int, ...]:
        """COCO's numbers of the images, for results in COCO's JSON; else the numbers from 1."""

    @property
    def names(self) -> tuple[str, ...]:
        """What messages and VOC's result files call the images."""

    def __len__(self) -> int: ...

    def image(self, number: int) -> Tensor:
        """An image, (3, H, W) uint8 RGB on the CPU.

        Raises:
            BadInputError: It cannot be read.
        """

    def objects(self, number: int) -> Objects:
        """What is marked in an image."""


@dataclass(frozen=True)
class Some:
    """Some of the images of a set, in this order."""

    pictures: Pictures
    numbers: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Those of these images."""
        return tuple(self.pictures.ids[number] for number in self.numbers)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of these images."""
        return tuple(self.pictures.names[number] for number in self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def image(self, number: int) -> Tensor:
        """One of them."""
        return self.pictures.image(self.numbers[number])

    def objects(self, number: int) -> Objects:
        """What is marked in it."""
        return self.pictures.objects(self.numbers[number])


def to_learn_from(pictures: Pictures) -> Some:
    """The images of a training set that have an object to learn."""
    return Some(pictures, tuple(number for number, each in enumerate(all_objects(pictures)) if len(each.to_learn)))


def all_objects(pictures: Pictures) -> Iterator[Objects]:
    """What is marked in each image of a set, one after the other."""
    return (pictures.objects(number) for number in range(len(pictures)))


@dataclass(frozen=True)
class DetectionData:
    """A dataset for detection: `tasks.data.Data`.

    Attributes:
        name: What it is.
        checksum: Identifies its content, for environment.json.
        classes: The classes' names, without the background: label 1 is the first.
        category_ids: What COCO's files call the classes, in the same order; else the labels.
        train: Images with an object to learn; see `to_learn_from`.
        test: All test images, those without objects too.
        workers: Threads that read images ahead.
        device: Where the nets are. Images are on the CPU; the code that uses them moves them to the device.
    """

    name: str
    checksum: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    train: Pictures
    test: Pictures
    workers: int = field(default=0, kw_only=True)
    device: torch.device = field(kw_only=True)

    @property
    def train_labels(self) -> Tensor:
        """A number for each training image; it means nothing."""
        return _numbers(self.train)

    @property
    def test_labels(self) -> Tensor:
        """A number for each test image; it means nothing."""
        return _numbers(self.test)

    def to(self, device: torch.device) -> DetectionData:
        """The same dataset for a net on this device."""
        return replace(self, device=device)

    def prepare(self) -> None:
        """Nothing to make before a training."""


def _numbers(pictures: Pictures) -> Tensor:
    import torch

    return torch.arange(len(pictures))

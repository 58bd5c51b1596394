"""A dataset of photographs that are decoded when they are needed: training batches and test views (section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from resnet_cli.data import statistics
from resnet_cli.data.crops import center_crop, resized, ten_crops
from resnet_cli.data.dataset import standardize
from resnet_cli.data.decode import in_order
from resnet_cli.data.verify import look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from resnet_cli.data.dataset import Constants
    from resnet_cli.data.decode import Photographs
    from resnet_cli.data.statistics import Statistics
    from resnet_cli.spec import Photos

TEST_BATCH = 100  # inputs; of crops
DENSE_BATCH_PIXELS = 64 * 224 * 224  # of one batch of whole images, their mirror images not counted
DENSE_WAITING_PIXELS = 16 * DENSE_BATCH_PIXELS  # of images that wait for others of their size


@dataclass(frozen=True)
class PhotoDataset:
    """Photographs of any size, and how they become inputs on a device.

    Attributes:
        name: What it is.
        checksum: Identifies its content, for environment.json.
        classes: The classes' names.
        photos: Sizes, cropping, and what is subtracted and added.
        device: Where inputs go.
        workers: Threads that decode; with 0 the calling thread does.
        decode: What decodes training images: the CPU, or nvJPEG on the device.
        statistics_path: Where the training set's statistics are kept; None keeps them in memory only.
        report: Called with lines about the pass that computes them.
        known_statistics: The training set's statistics, if already computed; else they are computed when needed.
        constants: Mean and standard deviation of each channel, on the scale 0 to 1, that foreign weights need in place
            of the training mean.
        sides: Shorter sides of the fully convolutional test; None for section 3.4's.
    """

    name: str
    checksum: str
    classes: tuple[str, ...]
    train: Photographs
    test: Photographs
    photos: Photos
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = 2
    decode: Literal["cpu", "cuda"] = "cpu"
    statistics_path: Path | None = None
    report: Callable[[str], None] | None = None
    known_statistics: Statistics | None = None
    constants: Constants | None = None
    sides: tuple[int, ...] | None = None

    def to(self, device: torch.device) -> PhotoDataset:
        """The same dataset with its inputs on the device."""
        return replace(self, device=device)

    @cached_property
    def train_labels(self) -> Tensor:
        """Labels of the training images, (N,) int64 on the device."""
        return torch.from_numpy(self.train.labels).to(self.device)

    @cached_property
    def test_labels(self) -> Tensor:
        """Labels of the test images, (N,) int64 on the device."""
        return torch.from_numpy(self.test.labels).to(self.device)

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and colours of the training images, from a pass over them all unless it was made before."""
        if self.known_statistics:
            return self.known_statistics
        report = self.report or (lambda _text: None)
        return statistics.summarize(self.train, self.photos, self.statistics_path, self.workers, report)

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the training images' centre crops per pixel, (3, crop, crop) float32 on the scale 0 to 1."""
        return torch.from_numpy(self.statistics.mean).to(self.device)

    @cached_property
    def channel_mean(self) -> Tensor:
        """The same per channel, (3, 1, 1)."""
        mean = self.statistics.mean.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        return torch.from_numpy(mean.astype(np.float32)).to(self.device)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 images on the device to float32 with the training mean subtracted.

        The mean is per pixel (section 3.4) where images have the crop's size. Where they have not, in the fully
        convolutional test, it is per channel, an assumption: the paper does not say.
        """
        if self.constants is None:
            per_pixel = self.photos.mean == "pixel" and images.shape[2:] == (self.photos.crop, self.photos.crop)
            return images.float() / 255 - (self.mean if per_pixel else self.channel_mean)
        return standardize(images, self.constants)

    def colour_shift(self, normals: np.ndarray) -> Tensor:
        """AlexNet's colour augmentation: what is added to every pixel of each image, (B, 3) on the device.

        The sum of the principal components of the training pixels' colours, each times its eigenvalue times a normal
        number of standard deviation `colour_std`. As in fb.resnet.torch the pixels are on the scale 0 to 1, an
        assumption: AlexNet's paper names no scale, and the square of the colours' scale enters.

        Args:
            normals: (B, 3) of variance 1.
        """
        found = self.statistics
        shift = (normals * self.photos.colour_std * found.eigenvalues) @ found.eigenvectors.T
        return torch.from_numpy(shift.astype(np.float32)).to(self.device)

    def prepare(self) -> Statistics:
        """Checks the test photographs, and computes the training set's statistics, a pass that may take an hour."""
        return self._prepared

    @cached_property
    def _prepared(self) -> Statistics:
        if self.known_statistics is None:  # else the first rank has checked them
            look_at(self.test, self.workers, self.report or (lambda _text: None))
        return self.statistics

    def test_views(self, views: str, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers of the test images (B,), and as many inputs (B, 3, H, W).

        `1-crop` is the centre of the image at shorter side 256 (for crops of 224), `10-crop` AlexNet's ten of it,
        `dense` the whole image and its mirror image at each of the dense test's sizes.

        Args:
            views: One of these three.
            share: Which batches of `1-crop` or `10-crop`, from 0, of how many: (1, 3) takes the second of each three.

        Raises:
            BadInputError: A photograph cannot be read or decoded.
        """
        batches = self._whole_images() if views == "dense" else self._crops(1 if views == "1-crop" else 10, share)
        for numbers, images in batches:
            yield torch.tensor(numbers, device=self.device), self.normalize(images.to(self.device))

    def _crops(self, views: Literal[1, 10], share: tuple[int, int]) -> Iterator[tuple[list[int], Tensor]]:
        crop, batch = self.photos.crop, -(-TEST_BATCH // views)
        wanted = [number for number in range(len(self.test)) if number // batch % share[1] == share[0]]

        def make(number: int) -> Tensor:
            image = resized(self.test.image(number), self.photos.test_side)
            return center_crop(image, crop)[None] if views == 1 else ten_crops(image, crop)

        waiting: list[tuple[int, Tensor]] = []
        for number, crops in zip(wanted, in_order(make, wanted, self.workers), strict=True):
            waiting.append((number, crops))
            if len(waiting) == batch or number == wanted[-1]:
                numbers, inputs = zip(*waiting, strict=True)
                yield [image for image in numbers for _ in range(views)], torch.cat(inputs)
                waiting.clear()

    def _whole_images(self) -> Iterator[tuple[list[int], Tensor]]:
        """Whole images and their mirror images, together with others of their size."""

        def make(number: int) -> list[Tensor]:
            image = self.test.image(number)
            return [resized(image, side) for side in self.sides or self.photos.dense_sides]

        waiting: dict[torch.Size, list[tuple[int, Tensor]]] = {}
        pixels = 0

        def together(size: torch.Size) -> tuple[list[int], Tensor]:
            nonlocal pixels
            images = waiting.pop(size)
            pixels -= len(images) * size.numel()
            return _mirrored(images)

        for number, images in enumerate(in_order(make, range(len(self.test)), self.workers)):
            for image in images:
                size = image.shape[1:]
                waiting.setdefault(size, []).append((number, image))
                pixels += size.numel()
                if (len(waiting[size]) + 1) * size.numel() > DENSE_BATCH_PIXELS:
                    yield together(size)
            # Photographs of rare sizes must not fill the memory while they wait for others of theirs.
            while pixels > DENSE_WAITING_PIXELS:
                yield together(max(waiting, key=lambda size: len(waiting[size]) * size.numel()))
        while waiting:
            yield together(next(iter(waiting)))


def _mirrored(images: list[tuple[int, Tensor]]) -> tuple[list[int], Tensor]:
    numbers = [number for number, _ in images]
    stacked = torch.stack([image for _, image in images])
    return numbers + numbers, torch.cat([stacked, stacked.flip(3)])

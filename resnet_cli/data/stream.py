"""The order and augmentation in which training sees its images: a pure function of seed, epoch and position.

Epochs are laid end to end and cut into full batches, as Caffe's reader did: every image is seen once an epoch,
and no short batch arises, so none need be kept or dropped. Update 64,000 then ends epoch 163.84.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from resnet_cli.data.dataset import Dataset

PADDING = 4  # section 4.2: 4 pixels on each side
OFFSETS = 2 * PADDING + 1


@dataclass(frozen=True)
class Epochs:
    """Epochs of so many images laid end to end, cut into full batches; updates are counted from 1.

    Attributes:
        images: In an epoch.
        batch_size: Of an update, over all shares.
        share: Which part of every batch is wanted, from 0, and in how many equal parts batches are cut.
    """

    images: int
    batch_size: int
    share: tuple[int, int] = (0, 1)

    def parts(self, iteration: int) -> Iterator[tuple[int, slice]]:
        """Where an update's batch, or this share of it, lies: epochs, from 0, and the positions it takes of each."""
        number, shares = self.share
        size = self.batch_size // shares
        start = (iteration - 1) * self.batch_size + number * size
        end = start + size
        while start < end:
            epoch, position = divmod(start, self.images)
            stop = min(self.images, position + end - start)
            yield epoch, slice(position, stop)
            start += stop - position

    def seen(self, iteration: int) -> int:
        """Epochs that are complete after this many updates."""
        return iteration * self.batch_size // self.images


def epoch_order(seed: int, epoch: int, images: int) -> np.ndarray:
    """In which order an epoch shows the images, (images,) int64. Epochs are counted from 0."""
    return np.argsort(_philox(seed, epoch).random_raw(images), kind="stable")


def _philox(seed: int, epoch: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64))


@dataclass(frozen=True)
class EpochPlan:
    """For each position of an epoch: which image, its crop's offset in the padded image, whether it is mirrored.

    Each is (images,) int64; `flip` is bool; offsets are 0 to 8.
    """

    image: np.ndarray
    dy: np.ndarray
    dx: np.ndarray
    flip: np.ndarray


def epoch_plan(seed: int, epoch: int, images: int) -> EpochPlan:
    """The plan of one epoch. Drawn from raw Philox words, which no version of NumPy will change.

    Args:
        seed: The run's seed.
        epoch: Counted from 0.
        images: Training images.
    """
    # The first words make the order. Offsets take 16 bits each: 65,536 is no multiple of 9, which favours an offset by
    # at most 1 in 7,000.
    augmentation = _philox(seed, epoch).random_raw(2 * images)[images:]
    return EpochPlan(
        image=epoch_order(seed, epoch, images),
        dy=((augmentation & 0xFFFF) * OFFSETS >> 16).astype(np.int64),
        dx=((augmentation >> 16 & 0xFFFF) * OFFSETS >> 16).astype(np.int64),
        flip=(augmentation >> 32 & 1).astype(bool),
    )


class Stream(Protocol):
    """Training batches by iteration number, counted from 1; holds no state that a resumed run would have to restore."""

    def inputs(self, iteration: int) -> tuple[Tensor, ...]:
        """The inputs of `make`, on the device; always of the same shapes."""

    def make(self, *inputs: Any) -> tuple[Tensor, ...]:
        """The batch of these inputs, without synchronisation with the device."""

    def batch(self, iteration: int) -> tuple[Tensor, ...]:
        """The batch, on the device: each tensor with the examples first."""

    def epochs_seen(self, iteration: int) -> int:
        """Epochs that are complete after this many iterations."""

    def close(self) -> None:
        """Releases what makes the batches."""


class TrainStream:
    """Augmented training batches by iteration number; holds no state that a resumed run would have to restore."""

    def __init__(self, dataset: Dataset, seed: int, batch_size: int, share: tuple[int, int] = (0, 1)) -> None:
        self.dataset = dataset
        self.epochs = Epochs(len(dataset.train_labels), batch_size, share)
        self._plan = lru_cache(maxsize=2)(lambda epoch: epoch_plan(seed, epoch, self.epochs.images))
        self._rows = lru_cache(maxsize=2)(self._plan_on_device)

    def plan(self, iteration: int) -> EpochPlan:
        """What the batch of an iteration (counted from 1) holds; it may reach into the next epoch."""
        parts = []
        for epoch, part in self.epochs.parts(iteration):
            plan = self._plan(epoch)
            parts.append((plan.image[part], plan.dy[part], plan.dx[part], plan.flip[part]))
        return EpochPlan(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _plan_on_device(self, epoch: int) -> Tensor:
        plan = self._plan(epoch)
        rows = torch.from_numpy(np.stack([plan.image, plan.dy, plan.dx, plan.flip], axis=1))
        device = self.dataset.device
        if device.type == "cuda":  # from other memory the copy would wait until all updates before it are made
            return rows.pin_memory().to(device, non_blocking=True)
        return rows.to(device)

    def inputs(self, iteration: int) -> tuple[Tensor]:
        """The input of `make`, on the device: (B, 4) int64, the plan's image, dy, dx, flip."""
        parts = [self._rows(epoch)[part] for epoch, part in self.epochs.parts(iteration)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts),)

    def make(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these rows of the plan; see `batch`. Does not synchronise with the device."""
        image, dy, dx, flip = rows.unbind(1)
        images = self.dataset.normalize(self.dataset.train_images[image])
        return crop_and_mirror(images, dy, dx, flip.bool()), self.dataset.train_labels[image]

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, 32, 32) float32, mean subtracted, cropped and mirrored, and labels (B,), on the device."""
        return self.make(*self.inputs(iteration))

    def epochs_seen(self, iteration: int) -> int:
        """Epochs that are complete after this many iterations."""
        return self.epochs.seen(iteration)

    def close(self) -> None:
        """Nothing to release: the images stay where they are."""


def crop_and_mirror(images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor) -> Tensor:
    """Section 4.2's augmentation: pad by 4, crop to the old size at (dy, dx), mirror where `flip`.

    The images' mean is already subtracted, so that the padding is the mean.

    Args:
        images: (B, 3, H, W).
        dy: Rows to skip in the padded image, (B,) of 0 to 8.
        dx: Columns to skip, (B,) of 0 to 8.
        flip: (B,) bool.

    Returns:
        (B, 3, H, W), channels last in memory.
    """
    count, _, height, width = images.shape
    padded = functional.pad(images, (PADDING,) * 4)
    rows = dy[:, None] + torch.arange(height, device=images.device)
    columns = dx[:, None] + torch.arange(width, device=images.device)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    image = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

"""Training batches of photographs: a pure function of seed, epoch and image, whatever number of threads makes them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_cli.data.crops import chances, normals, training_crop
from resnet_cli.data.decode import Ahead, decode_on_cuda
from resnet_cli.data.stream import Epochs, epoch_order

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.data.photos import PhotoDataset


class PhotoStream:
    """Augmented training batches by iteration number; to resume, one only asks for the next one.

    Threads decode and crop the batch asked for and the next two; with none, the calling thread does.
    """

    def __init__(
        self, dataset: PhotoDataset, seed: int, batch_size: int, iterations: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.dataset = dataset
        self.seed = seed
        self.epochs = Epochs(len(dataset.train), batch_size, share)
        self._order = lru_cache(maxsize=2)(lambda epoch: epoch_order(seed, epoch, self.epochs.images))
        self._ahead = Ahead(self._make, self.images, iterations, dataset.workers)

    def images(self, iteration: int) -> list[tuple[int, int]]:
        """Epoch and number of each image in the batch of an iteration, which is counted from 1."""
        return [
            (epoch, int(image)) for epoch, part in self.epochs.parts(iteration) for image in self._order(epoch)[part]
        ]

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, crop, crop) float32, mean subtracted, augmented as section 3.4 says, and labels (B,).

        Raises:
            BadInputError: A photograph cannot be read or decoded.
        """
        images, numbers, _ = self._augmented(iteration)
        return images, self.dataset.train_labels[numbers]

    def _augmented(self, iteration: int) -> tuple[Tensor, list[int], list[np.ndarray]]:
        """The images of a batch, their numbers, and what `_make` gave of each beside its crop."""
        dataset = self.dataset
        numbers = [image for _, image in self.images(iteration)]
        made, drawn = (list(column) for column in zip(*self._ahead.batch(iteration), strict=True))
        if dataset.decode == "cuda":
            decoded = decode_on_cuda(dataset.train, numbers, made, dataset.device)
            made = [training_crop(image, dataset.photos, chance) for image, chance in zip(decoded, drawn, strict=True)]
        images = dataset.normalize(torch.stack(made).to(dataset.device))
        if dataset.photos.colour_std:
            shift = dataset.colour_shift(np.stack([normals(chance) for chance in drawn]))
            images += shift[:, :, None, None]
        return images, numbers, drawn

    def inputs(self, iteration: int) -> tuple[Tensor, Tensor]:
        """The input of `make`: photographs are read outside of it, so this is the batch itself."""
        return self.batch(iteration)

    def make(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The batch."""
        return images, labels

    def _make(self, epoch: int, image: int) -> tuple[Tensor, np.ndarray]:
        """An image's training crop, or the file's bytes if CUDA is to decode it; and the image's random numbers."""
        dataset, drawn = self.dataset, chances(self.seed, epoch, image)
        if dataset.decode == "cuda":
            content = dataset.train.content(image) or b"?"  # the decoder, not this line, reports an empty file
            return torch.frombuffer(bytearray(content), dtype=torch.uint8), drawn
        return training_crop(dataset.train.image(image), dataset.photos, drawn), drawn

    def epochs_seen(self, iteration: int) -> int:
        """Epochs that are complete after this many iterations."""
        return self.epochs.seen(iteration)

    def close(self) -> None:
        """Stops the threads."""
        self._ahead.close()

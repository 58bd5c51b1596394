"""Training batches for a detector: order, mirroring and sampling are a pure function of seed and position."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_cli.data.decode import Ahead
from resnet_cli.data.stream import Epochs, epoch_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from resnet_cli.tasks.detection.objects import DetectionData

OF_UPDATES = 2**63  # key for an update's random words, which no epoch's has


class DetectionStream:
    """Batches by iteration number; holds no state that a resumed run would have to restore.

    Threads read the images of the batch that is asked for and of the next two.
    """

    def __init__(
        self, data: DetectionData, seed: int, batch_size: int, iterations: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.data = data
        self.seed = seed
        self.epochs = Epochs(len(data.train), batch_size, share)
        self._plan = lru_cache(maxsize=2)(lambda epoch: epoch_plan(seed, epoch, self.epochs.images))
        self._ahead = Ahead(self._example, self._examples, iterations, data.workers)

    def inputs(self, iteration: int) -> tuple[Tensor, ...]:
        """Numbers of the images (B,), whether each is mirrored (B,), and keys of its random draws (B,)."""
        plans = [(self._plan(epoch), part) for epoch, part in self.epochs.parts(iteration)]
        images = np.concatenate([plan.image[part] for plan, part in plans])
        mirrored = np.concatenate([plan.flip[part] for plan, part in plans])
        number, shares = self.epochs.share
        random = np.random.Philox(key=np.array([self.seed, OF_UPDATES + iteration], dtype=np.uint64))
        keys = random.random_raw(shares * len(images))[number * len(images) :][: len(images)] >> np.uint64(1)
        return torch.from_numpy(images), torch.from_numpy(mirrored), torch.from_numpy(keys.astype(np.int64))

    def make(self, numbers: Tensor, mirrored: Tensor, keys: Tensor) -> tuple[Tensor, ...]:
        """The batch of these; see `batch`."""
        examples = zip(numbers.tolist(), mirrored.tolist(), strict=True)
        return self._together([self._example(*each) for each in examples], keys)

    def _together(self, examples: Sequence[tuple[Tensor, Tensor, Tensor]], keys: Tensor) -> tuple[Tensor, ...]:
        images, boxes, labels = zip(*examples, strict=True)
        sizes = torch.tensor([each.shape[1:] for each in images])
        height, width = sizes.amax(dim=0).tolist()
        pixels = images[0].new_zeros(len(images), 3, height, width)
        most = max(map(len, labels))
        all_boxes, all_labels = torch.zeros(len(images), most, 4), torch.zeros(len(images), most, dtype=torch.int64)
        for number, (image, box, label) in enumerate(zip(images, boxes, labels, strict=True)):
            pixels[number, :, : image.shape[1], : image.shape[2]] = image
            all_boxes[number, : len(label)] = box
            all_labels[number, : len(label)] = label
        device = self.data.device
        return tuple(each.to(device) for each in (pixels, sizes, all_boxes, all_labels, keys))

    def batch(self, iteration: int) -> tuple[Tensor, ...]:
        """What `FasterRCNN` takes: images (B, 3, H, W) uint8, sizes (B, 2), boxes (B, M, 4), labels (B, M), keys (B,).

        Raises:
            BadInputError: An image cannot be read.
        """
        _, _, keys = self.inputs(iteration)
        return self._together(self._ahead.batch(iteration), keys)

    def _examples(self, iteration: int) -> list[tuple[int, bool]]:
        """The number of each image of a batch, and whether it is mirrored."""
        numbers, mirrored, _ = self.inputs(iteration)
        return list(zip(numbers.tolist(), mirrored.tolist(), strict=True))

    def _example(self, number: int, mirrored: bool) -> tuple[Tensor, Tensor, Tensor]:
        image, objects = self.data.train.image(number), self.data.train.objects(number).to_learn
        boxes, labels = torch.from_numpy(objects.boxes), torch.from_numpy(objects.labels)
        if mirrored:
            image, width = image.flip(2), image.shape[2]
            boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
        return image, boxes, labels

    def epochs_seen(self, iteration: int) -> int:
        """Epochs that are complete after this many iterations."""
        return self.epochs.seen(iteration)

    def close(self) -> None:
        """Stops the threads."""
        self._ahead.close()

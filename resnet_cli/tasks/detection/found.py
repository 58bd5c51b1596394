"""What a detector finds in the images of a test set."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_cli.data.decode import in_order
from resnet_cli.device.torch_device import autocast
from resnet_cli.nets.answers import PLAIN
from resnet_cli.tasks.detection.objects import Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.names import Precision
    from resnet_cli.nets.answers import Way
    from resnet_cli.tasks.detection.objects import DetectionData

MOST = 100  # boxes of an image
COLUMNS = 6  # edges, label and score of a box


@torch.no_grad()
def detect(
    net: nn.Module,
    data: DetectionData,
    precision: Precision,
    progress: Callable[[int], None] | None,
    ranks: Ranks,
    way: Way = PLAIN,
) -> list[Detections]:
    """The detections in each test image, one image at a time; every rank tests its share and gets all detections."""
    net.eval()
    number, shares = ranks.share
    rows = torch.zeros(len(data.test), MOST, COLUMNS, device=data.device)
    own = range(number, len(data.test), shares)
    with closing(in_order(data.test.image, own, data.workers)) as images:
        for done, (each, image) in enumerate(zip(own, images, strict=True), start=1):
            with autocast(data.device, precision):
                (found,) = net(image[None].to(data.device), torch.tensor([image.shape[1:]]), way=way)
            columns = found["boxes"], found["labels"][:, None], found["scores"][:, None]
            rows[each, : len(found["labels"])] = torch.cat([column.float() for column in columns], dim=1)
            if progress:
                progress(done)
    ranks.add(rows)  # what other ranks have tested is 0 here
    table = rows.cpu().numpy()
    parts = (image[image[:, 4] > 0] for image in table)
    return [Detections(part[:, :4], part[:, 4].astype(np.int64), part[:, 5]) for part in parts]


def kept(found: Sequence[Detections]) -> dict[str, np.ndarray]:
    """What predictions.npz holds: for each box the number of its image, its edges, its label, and its score."""
    return {
        "image": np.repeat(np.arange(len(found), dtype=np.int32), [len(each) for each in found]),
        "boxes": np.concatenate([each.boxes for each in found]).reshape(-1, 4),
        "labels": np.concatenate([each.labels for each in found]).astype(np.int16),
        "scores": np.concatenate([each.scores for each in found]),
    }


def from_kept(arrays: Mapping[str, np.ndarray], images: int) -> list[Detections]:
    """The reverse of `kept`."""
    ends = np.searchsorted(arrays["image"], np.arange(1, images))
    columns = (arrays["boxes"], arrays["labels"].astype(np.int64), arrays["scores"])
    return [Detections(*each) for each in zip(*(np.split(column, ends) for column in columns), strict=True)]

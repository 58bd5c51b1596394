"""torchvision's own Faster and Mask R-CNN, to be tested like ours. They have feature pyramids; trained on COCO."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchvision.models import detection as theirs  # type: ignore[import-untyped]
from torchvision.models import get_model, list_models
from torchvision.ops import FrozenBatchNorm2d  # type: ignore[import-untyped]

from resnet_cli.nets.answers import PLAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resnet_cli.nets.answers import Way

# The first weights of fasterrcnn_resnet50_fpn and maskrcnn_resnet50_fpn were trained with epsilon 0. torchvision's
# builders know this, but the files do not say it; these are the first digits of their SHA-256.
WITHOUT_EPSILON = ("258fb6c6", "bf2d0c1e")
COCO_IDS = 90  # torchvision's labels are COCO's ids, up to this one


def names() -> list[str]:
    """The names of torchvision's detectors that are R-CNNs for several classes."""
    found: list[str] = list_models(module=theirs, include=["fasterrcnn*", "maskrcnn*"])
    return found


def epsilon_of(path: Path) -> float | None:
    """The epsilon that the weights in a file were trained with; None: torchvision's usual one."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return 0.0 if digest.startswith(WITHOUT_EPSILON) else None


class Theirs(nn.Module):
    """One of torchvision's detectors, with the signature of `FasterRCNN` at test.

    Args:
        name: One of `names`.
        outputs: Number of its classes, with the background.
        ids: torchvision's label of each of the dataset's classes; label 1 comes first.
        epsilon: The epsilon of batch normalisation; None: torchvision's.
    """

    def __init__(self, name: str, outputs: int, ids: Sequence[int], epsilon: float | None = None) -> None:
        super().__init__()
        self.net = get_model(name, weights=None, weights_backbone=None, num_classes=outputs)
        labels = torch.zeros(max(outputs, max(ids) + 1), dtype=torch.int64)
        labels[list(ids)] = torch.arange(1, 1 + len(ids))
        self.register_buffer("labels", labels, persistent=False)
        if epsilon is not None:
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
                    module.eps = epsilon

    @property
    def shorter_side(self) -> int:
        """The shorter side of a resized image, pixels."""
        side: int = self.net.transform.min_size[0]
        return side

    def leave_outlines(self) -> None:
        """Switches off Mask R-CNN's masks, which are not evaluated; call it after its weights are loaded."""
        self.net.roi_heads.mask_roi_pool = None

    def forward(self, images: Tensor, sizes: Tensor, way: Way = PLAIN) -> list[dict[str, Tensor]]:
        """Boxes for images (B, 3, H, W) uint8, each in the upper left corner, of heights and widths `sizes` (B, 2)."""
        assert way == PLAIN
        whole = [
            image[:, :height, :width].float() / 255
            for image, (height, width) in zip(images, sizes.tolist(), strict=True)
        ]
        return [self._renamed(found) for found in self.net(whole)]

    def _renamed(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Boxes, labels and scores with the dataset's labels; boxes of other classes are dropped."""
        labels = self.get_buffer("labels")[found["labels"]]
        known = labels > 0
        return {"boxes": found["boxes"][known], "labels": labels[known], "scores": found["scores"][known]}

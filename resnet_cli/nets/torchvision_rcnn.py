"""torchvision's own Faster and Mask R-CNN, tested as ours are. They were trained on COCO, with a feature pyramid."""

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

# fasterrcnn_resnet50_fpn's and maskrcnn_resnet50_fpn's first weights were trained without an epsilon. torchvision's
# builders know that, the files do not say it; these are the first digits of their SHA-256.
WITHOUT_EPSILON = ("258fb6c6", "bf2d0c1e")
COCO_IDS = 90  # torchvision's labels are COCO's ids, up to this one


def names() -> list[str]:
    """Those of torchvision's detectors that are R-CNNs with boxes of several classes."""
    found: list[str] = list_models(module=theirs, include=["fasterrcnn*", "maskrcnn*"])
    return found


def epsilon_of(path: Path) -> float | None:
    """The epsilon that the weights in a file were trained with; None: torchvision's usual one."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return 0.0 if digest.startswith(WITHOUT_EPSILON) else None


class Theirs(nn.Module):
    """One of torchvision's detectors behind the signature of `FasterRCNN`, at test.

    Args:
        name: One of `names`.
        outputs: Classes that it tells apart, with the background.
        ids: What the dataset's classes are called in torchvision's labels, label 1 first.
        epsilon: Of batch normalisation; None: torchvision's.
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
        """Of an image as the shared layers take it."""
        side: int = self.net.transform.min_size[0]
        return side

    def leave_outlines(self) -> None:
        """Has Mask R-CNN answer without outlines, which are not judged; to be called once its weights are loaded."""
        self.net.roi_heads.mask_roi_pool = None

    def forward(self, images: Tensor, sizes: Tensor, way: Way = PLAIN) -> list[dict[str, Tensor]]:
        """Images (B, 3, H, W) uint8, each in the upper left corner, and their heights and widths (B, 2), to boxes."""
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

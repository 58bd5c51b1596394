"""Appendix B's better boxes of a trained detector at test: refinement with voting, and several sizes of the image.

The paper leaves open, and here is: a region is pooled again at the box of its likeliest class; the sizes that the two
adjacent scales of a region are chosen by are relative to the detector's own (224 pixels at a shorter side of 600); the
image is larger than the limit of the longer side at the greater scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.transform import resize_boxes  # type: ignore[import-untyped]
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image  # type: ignore[import-untyped]

from resnet_cli.nets.boxes import grown
from resnet_cli.nets.regions import MOST, OVERLAP, SCORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.nets.faster_rcnn import FasterRCNN

SCALES = (1 / 3, 2 / 3, 1.0, 4 / 3, 5 / 3)  # shorter sides 200, 400, 600, 800 and 1000
NATURAL = 224 / 600  # of a region whose scale is right: the square root of its area to the image's shorter side
VOTES = 0.5  # IoU of a box that votes
NARROWEST = 0.01  # pixels; as torchvision's postprocess_detections


class Scored(NamedTuple):
    """Regions as a detector sees them: probabilities (R, C + 1), the background's first, and boxes (R, C + 1, 4)."""

    probabilities: Tensor
    boxes: Tensor

    @property
    def best(self) -> Tensor:
        """Each region's box of its likeliest class, (R, 4)."""
        likeliest = self.probabilities[:, 1:].argmax(dim=1) + 1
        return self.boxes[torch.arange(len(likeliest)), likeliest]

    def joined(self, other: Scored) -> Scored:
        """These and others."""
        return Scored(*(torch.cat(each) for each in zip(self, other, strict=True)))


class View(NamedTuple):
    """The shared map of an image at a scale, and the size (h, w) of the image there."""

    features: Tensor
    size: tuple[int, ...]


def answers(net: FasterRCNN, image: Tensor, scales: Sequence[float] = SCALES) -> dict[str, tuple[Tensor, ...]]:
    """Boxes (N, 4) in pixels of an image, labels (N,) and scores (N,): `baseline`, `refined`, and `multi`, refined too.

    Args:
        net: In evaluation mode.
        image: (3, H, W) uint8.
        scales: Of the image, relative to the detector's own.
    """
    resized, features, proposals = net.proposals_of(image)
    shape = tuple(resized.shape[1:])
    single = [View(features, shape)]
    normal = net.transform.normalize(image.float() / 255)
    pyramid = [single[0] if scale == 1 else _view(net, normal, shape, scale) for scale in scales]
    first = scored(net, single, proposals, shape)
    found = {"baseline": answer(first, vote=False)}
    for step, views in (("refined", single), ("multi", pyramid)):
        once = first if views is single else scored(net, views, proposals, shape)
        twice = scored(net, views, grown(once.best), shape)
        found[step] = answer(once.joined(twice), vote=True)
    return {
        step: (resize_boxes(boxes, list(shape), list(image.shape[1:])), *rest) for step, (boxes, *rest) in found.items()
    }


def scored(net: FasterRCNN, views: Sequence[View], regions: Tensor, shape: tuple[int, ...]) -> Scored:
    """What a detector says of regions (R, 4), in pixels of the image of this shape, seen in one or several views.

    Of several, each region is seen in the one in which its area is nearest to what it should be, and in the better of
    that one's neighbours; of the two descriptions the greater of each number is taken.
    """
    described = None
    for view, sees in zip(views, _two_nearest(views, regions, shape), strict=True):
        if not sees.any():
            continue
        ratio = regions.new_tensor([view.size[1] / shape[1], view.size[0] / shape[0]]).repeat(2)
        seen = net.roi_heads.describe(view.features, [regions[sees] * ratio], [view.size]).float()
        if described is None:
            described = seen.new_full((len(regions), seen.shape[1]), -torch.inf)
        described[sees] = torch.maximum(described[sees], seen)
    if described is None:  # no regions
        described = net.roi_heads.describe(views[0].features, [regions], [views[0].size]).float()
    logits, offsets = net.roi_heads.box_predictor(described)
    boxes = net.roi_heads.box_coder.decode(offsets.float(), [regions])
    return Scored(logits.float().softmax(dim=1), clip_boxes_to_image(boxes, shape))


def answer(found: Scored, *, vote: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4), labels (N,) and scores (N,) after non-maximum suppression in each class, the surest first.

    With voting, a box that is left becomes the mean of all boxes of its class that overlap it by half, weighted by
    their scores.
    """
    classes = found.boxes.shape[1] - 1
    boxes, scores = found.boxes[:, 1:].reshape(-1, 4), found.probabilities[:, 1:].reshape(-1)
    labels = torch.arange(1, classes + 1, device=boxes.device).repeat(len(found.boxes))
    count = (scores > SCORE) & ((boxes[:, 2:] - boxes[:, :2]) >= NARROWEST).all(dim=1)
    boxes, scores, labels = boxes[count], scores[count], labels[count]
    kept = batched_nms(boxes, scores, labels, OVERLAP)[:MOST]
    if vote:
        votes = (box_iou(boxes[kept], boxes) >= VOTES) & (labels[kept][:, None] == labels)
        weights = votes * scores
        return weights @ boxes / weights.sum(dim=1, keepdim=True), labels[kept], scores[kept]
    return boxes[kept], labels[kept], scores[kept]


def _view(net: FasterRCNN, normal: Tensor, shape: tuple[int, ...], scale: float) -> View:
    """An image, its mean subtracted, at a scale relative to its shape for the detector."""
    size = tuple(round(side * scale) for side in shape)
    resized = functional.interpolate(normal[None], size, mode="bilinear", align_corners=False)
    return View(net.backbone(resized), size)


def _two_nearest(views: Sequence[View], regions: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Which of the views see each region, (V, R) bool: the one in which its size is nearest, and one beside it."""
    sides = (regions[:, 2:] - regions[:, :2]).prod(dim=1).sqrt()
    scales = regions.new_tensor([view.size[0] / shape[0] for view in views])
    away = (sides * scales[:, None] / (NATURAL * min(shape))).clamp(min=1e-6).log().abs()
    nearest = away.argmin(dim=0)
    numbers = torch.arange(len(views), device=regions.device)[:, None]
    beside = away.masked_fill((numbers - nearest).abs() != 1, torch.inf).argmin(dim=0)
    return (numbers == nearest) | ((numbers == beside) & ((numbers - nearest).abs() == 1))

"""Improvements of trained detectors at test time (appendix B): box refinement, several scales, ensembles.

Read it beside `faster_rcnn.py`, which by default answers at one scale without refinement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, clip_boxes_to_image  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from resnet_cli.nets.regions import Regions

VOTING = 0.5  # least overlap (IoU) of a box that votes on the position of a kept box
SIDES = (200, 400, 600, 800, 1_000)  # shorter sides of the five scales, for images whose usual shorter side is 600
BASE, NEAREST = 600, 224  # the usual shorter side; the side of classifiers' training images, for regions


@dataclass(frozen=True)
class Way:
    """How a detector answers.

    Attributes:
        refines: Each region's best box is pooled and classified a second time, and the answers for both are joined.
            Each kept box moves to the mean of the boxes that overlap it, weighted by their scores.
        scales: Each region is pooled at two of five sizes of the image; its features are their elementwise maximum.
    """

    refines: bool = False
    scales: bool = False


PLAIN = Way()
WAYS = {"refined": Way(refines=True), "multi-scale": Way(refines=True, scales=True)}

Describe = Callable[[Tensor], Tensor]  # maps regions (R, 4), in pixels of the usual size, to their features (R, C)


class Look(NamedTuple):
    """A detector's intermediate results for an image, before its answer.

    Attributes:
        proposals: The proposed regions, (R, 4), in pixels of the resized image.
        classify: Maps regions (R, 4) to logits (R, classes + 1) and offsets (R, 4 * (classes + 1)).
        shape: Height and width of the resized image.
        size: Height and width of the original image.
    """

    proposals: Tensor
    classify: Callable[[Tensor], tuple[Tensor, Tensor]]
    shape: tuple[int, int]
    size: tuple[int, ...]


def joined(looks: Sequence[Look]) -> Look:
    """An ensemble's results: every detector classifies the union of all proposals (appendix B).

    Probabilities and offsets are averaged; the paper does not say what it averages.
    """

    def classify(boxes: Tensor) -> tuple[Tensor, Tensor]:
        logits, offsets = zip(*(look.classify(boxes) for look in looks), strict=True)
        probabilities = torch.stack([each.softmax(dim=1) for each in logits]).mean(dim=0)
        return probabilities.log(), torch.stack(offsets).mean(dim=0)

    return looks[0]._replace(proposals=torch.cat([look.proposals for look in looks]), classify=classify)


def answer(regions: Regions, look: Look, way: Way) -> tuple[Tensor, Tensor, Tensor]:
    """The objects found in an image: boxes (N, 4), labels (N,), scores (N,)."""
    proposals, classify, shape, _ = look
    logits, offsets = classify(proposals)
    if way.refines:
        moved = clip_boxes_to_image(regions.box_coder.decode(offsets, [proposals]), shape)
        likeliest = logits[:, 1:].argmax(dim=1) + 1
        second = moved[torch.arange(len(proposals), device=moved.device), likeliest]
        again = classify(second)
        proposals = torch.cat([proposals, second])
        logits, offsets = (torch.cat(both) for both in zip((logits, offsets), again, strict=True))
    boxes, scores, labels = (each[0] for each in regions.postprocess_detections(logits, offsets, [proposals], [shape]))
    if way.refines:
        boxes = voted(boxes, labels, _candidates(regions, logits, offsets, proposals, shape))
    return boxes, labels, scores


def voted(boxes: Tensor, labels: Tensor, candidates: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Moves each kept box (N, 4) to the score-weighted mean of the candidates of its class that overlap it.

    Args:
        boxes: (N, 4).
        labels: (N,).
        candidates: Boxes (M, 4), labels (M,) and scores (M,).
    """
    theirs, classes, scores = candidates
    votes = ((box_iou(boxes, theirs) >= VOTING) & (labels[:, None] == classes)) * scores
    total = votes.sum(dim=1, keepdim=True)
    return torch.where(total > 0, votes @ theirs / total.clamp(min=torch.finfo(votes.dtype).tiny), boxes)


def _candidates(
    regions: Regions, logits: Tensor, offsets: Tensor, proposals: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """All boxes with a sufficient score, before non-maximum suppression: boxes, labels, scores."""
    moved = clip_boxes_to_image(regions.box_coder.decode(offsets, [proposals]), size)
    scores = logits.softmax(dim=1)
    region, label = (scores[:, 1:] > regions.score_thresh).nonzero().unbind(1)
    return moved[region, label + 1], label + 1, scores[region, label + 1]


def two_scales(boxes: Tensor, factors: Tensor, usual: int) -> Tensor:
    """The two adjacent sizes of the image at which each region is pooled, (R, 2): those with its area nearest to 224^2.

    As in "networks on conv feature maps" (NoC), which the paper follows; it does not describe the choice further.

    Args:
        boxes: (R, 4), at the usual size.
        factors: The sizes divided by the usual one, ascending, (S,).
        usual: Shorter side of the usual size; if it is not 600, the 224 changes in proportion.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).prod(dim=1).sqrt()[:, None] * factors
    distance = (sides / (NEAREST * usual / BASE)).log().abs()
    first = (distance[:, :-1] + distance[:, 1:]).argmin(dim=1)
    return torch.stack([first, first + 1], dim=1)


def seen_at_scales(regions: Regions, trunk: nn.Module, image: Tensor, size: tuple[int, int], usual: int) -> Describe:
    """A function that describes regions by the elementwise maximum of their features at two sizes of the image.

    Args:
        regions: The detector's region head.
        trunk: The shared layers.
        image: The image at its original size, normalised, (3, H, W).
        size: Its usual height and width; regions are in pixels of this size.
        usual: Shorter side of the usual size.
    """
    factors = torch.tensor([side / BASE for side in SIDES], device=image.device)
    shapes = [(max(1, round(size[0] * side / BASE)), max(1, round(size[1] * side / BASE))) for side in SIDES]
    # Sides are rounded to whole pixels, so the two axes have slightly different factors.
    ratios = [factors.new_tensor([width / size[1], height / size[0]] * 2) for height, width in shapes]
    maps = [trunk(functional.interpolate(image[None], shape, mode="bilinear")) for shape in shapes]

    def describe(boxes: Tensor) -> Tensor:
        chosen = two_scales(boxes, factors, usual)
        both = []
        for column in chosen.unbind(1):
            features = None
            for scale, (features_map, shape) in enumerate(zip(maps, shapes, strict=True)):
                rows = (column == scale).nonzero()[:, 0]
                if len(rows):
                    found = regions.describe(features_map, [boxes[rows] * ratios[scale]], [shape])
                    features = found.new_zeros(len(boxes), found.shape[1]) if features is None else features
                    features[rows] = found
            assert features is not None
            both.append(features)
        return torch.maximum(*both)

    return describe

"""How trained detectors answer better without further training (appendix B): refinement, several scales, ensembles.

To be read beside `faster_rcnn.py`, whose answer is that of one scale without refinement.
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

VOTING = 0.5  # overlap from which on a box has a vote about where a kept one lies
SIDES = (200, 400, 600, 800, 1_000)  # shorter ones, of images whose usual one is 600
BASE, NEAREST = 600, 224  # the usual shorter side; of a region, the side that classifiers are trained on


@dataclass(frozen=True)
class Way:
    """How a detector answers.

    Attributes:
        refines: Each region's best box is pooled and classified once more; the answers to both are joined, and the
            boxes that are kept move to the mean of those that overlap them, weighted by their scores.
        scales: Each region is seen at two of five sizes of the image, and the larger of its features are taken.
    """

    refines: bool = False
    scales: bool = False


PLAIN = Way()
WAYS = {"refined": Way(refines=True), "multi-scale": Way(refines=True, scales=True)}

Describe = Callable[[Tensor], Tensor]  # regions (R, 4) in pixels of the usual size to their features (R, C)


class Look(NamedTuple):
    """What a detector sees in an image, before it answers.

    Attributes:
        proposals: Its regions, (R, 4), in pixels of the image as the shared layers take it.
        classify: Regions (R, 4) to logits (R, classes + 1) and offsets (R, 4 * (classes + 1)).
        shape: Height and width of that image.
        size: Of the image as it was.
    """

    proposals: Tensor
    classify: Callable[[Tensor], tuple[Tensor, Tensor]]
    shape: tuple[int, int]
    size: tuple[int, ...]


def joined(looks: Sequence[Look]) -> Look:
    """Of an ensemble: the union of the proposals, of which every detector classifies all (appendix B).

    Probabilities and offsets are averaged; the paper does not say what is.
    """

    def classify(boxes: Tensor) -> tuple[Tensor, Tensor]:
        logits, offsets = zip(*(look.classify(boxes) for look in looks), strict=True)
        probabilities = torch.stack([each.softmax(dim=1) for each in logits]).mean(dim=0)
        return probabilities.log(), torch.stack(offsets).mean(dim=0)

    return looks[0]._replace(proposals=torch.cat([look.proposals for look in looks]), classify=classify)


def answer(regions: Regions, look: Look, way: Way) -> tuple[Tensor, Tensor, Tensor]:
    """What is found in an image: boxes (N, 4), labels (N,), scores (N,)."""
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
    """Kept boxes (N, 4), each moved to the mean of the candidates of its class that overlap it, by their scores.

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
    """All boxes that are sure enough to be answered, before any is suppressed: boxes, labels, scores."""
    moved = clip_boxes_to_image(regions.box_coder.decode(offsets, [proposals]), size)
    scores = logits.softmax(dim=1)
    region, label = (scores[:, 1:] > regions.score_thresh).nonzero().unbind(1)
    return moved[region, label + 1], label + 1, scores[region, label + 1]


def two_scales(boxes: Tensor, factors: Tensor, usual: int) -> Tensor:
    """For each region which two adjacent sizes of the image see it, (R, 2): those at which its area is nearest 224^2.

    As in "networks on conv feature maps" (NoC), which the paper follows; how it chooses is not told in more words.

    Args:
        boxes: (R, 4), at the usual size.
        factors: Of the sizes over the usual one, rising, (S,).
        usual: Shorter side of the usual size; where it is not 600, 224 is another number in proportion.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).prod(dim=1).sqrt()[:, None] * factors
    distance = (sides / (NEAREST * usual / BASE)).log().abs()
    first = (distance[:, :-1] + distance[:, 1:]).argmin(dim=1)
    return torch.stack([first, first + 1], dim=1)


def seen_at_scales(regions: Regions, trunk: nn.Module, image: Tensor, size: tuple[int, int], usual: int) -> Describe:
    """What describes regions by two sizes of an image each: the maximum of their features, element by element.

    Args:
        regions: Of the detector.
        trunk: The shared layers.
        image: As it was, its pixels as the shared layers take them, (3, H, W).
        size: Its usual height and width, in whose pixels regions are.
        usual: Shorter side of the usual size.
    """
    factors = torch.tensor([side / BASE for side in SIDES], device=image.device)
    shapes = [(max(1, round(size[0] * side / BASE)), max(1, round(size[1] * side / BASE))) for side in SIDES]
    # Sides are rounded to whole pixels, so that the two axes are scaled by slightly different factors.
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

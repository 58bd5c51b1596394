"""Arithmetic of boxes: anchors, offsets between boxes, and overlaps, for batches of images.

Boxes are (..., 4): left, top, right, bottom in pixels from 0. Offsets are Fast R-CNN's: the shift of the centre in
widths and heights, and the logarithms of the ratios of the sides.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RATIOS = (0.5, 1.0, 2.0)  # height over width
LARGEST_LOG = math.log(1000 / 16)  # as in Fast R-CNN's code: a large offset must not overflow


def anchors(
    height: int, width: int, stride: int, sides: tuple[float, ...], ratios: tuple[float, ...] = RATIOS
) -> Tensor:
    """Anchor boxes for each place of a map, (height * width * A, 4), ordered by place.

    Args:
        height: Of the map.
        width: Of the map.
        stride: Pixels between neighbouring places; the first centre is half a stride from the edge.
        sides: Square roots of the anchors' areas, pixels.
        ratios: Ratios of height to width; each side has an anchor for each ratio.
    """
    shapes = torch.tensor([(side / math.sqrt(ratio), side * math.sqrt(ratio)) for side in sides for ratio in ratios])
    ys, xs = (stride * (torch.arange(count) + 0.5) for count in (height, width))
    centres = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).reshape(-1, 1, 2)
    return torch.cat([centres - shapes / 2, centres + shapes / 2], dim=-1).reshape(-1, 4)


def offsets(boxes: Tensor, targets: Tensor) -> Tensor:
    """The offsets from boxes to targets, (..., 4) each; all must have a positive area."""
    sides, wanted = boxes[..., 2:] - boxes[..., :2], targets[..., 2:] - targets[..., :2]
    shift = (targets[..., 2:] + targets[..., :2] - boxes[..., 2:] - boxes[..., :2]) / (2 * sides)
    return torch.cat([shift, (wanted / sides).log()], dim=-1)


def moved(boxes: Tensor, by: Tensor) -> Tensor:
    """Applies offsets (..., 4) to boxes (..., 4)."""
    sides = boxes[..., 2:] - boxes[..., :2]
    centre = (boxes[..., 2:] + boxes[..., :2]) / 2 + sides * by[..., :2]
    half = sides * by[..., 2:].clamp(max=LARGEST_LOG).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes clipped to an image of this size."""
    limits = torch.tensor([width, height, width, height], device=boxes.device, dtype=boxes.dtype)
    return boxes.clamp(min=torch.zeros_like(limits), max=limits)


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (B, N, 4) with others (B, K, 4) per image, (B, N, K); 0 for empty boxes."""
    first, second = boxes[:, :, None], others[:, None]
    sides = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(0)
    common = sides.prod(dim=-1)
    areas = [(each[..., 2:] - each[..., :2]).clamp(0).prod(dim=-1) for each in (first, second)]
    return common / (areas[0] + areas[1] - common).clamp(min=torch.finfo(common.dtype).tiny)


def grown(boxes: Tensor, least: float = 1.0) -> Tensor:
    """Boxes (..., 4), enlarged about their centres to sides of at least `least` pixels."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]).clamp(min=least) / 2
    return torch.cat([middle - half, middle + half], dim=-1)

"""Average precision as PASCAL VOC's evaluators compute it, for each class. Imports no torch.

Boxes are edges (`Objects`): a width is right - left, which is VOC's xmax - xmin + 1 for inclusive corners. So the
overlaps are those of VOC's evaluator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resnet_cli.tasks.detection.objects import Detections, Objects

By = Literal["11-points", "area"]

OVERLAP = 0.5  # intersection over union above which an object is found
MISSED, IGNORED = -1, -2  # in place of the number of the object that a detection finds


def by_of(dataset: str) -> By:
    """How AP is computed on a dataset's test set: by 11 points on VOC 2007's and the drawn scenes, else by area."""
    return "11-points" if dataset in ("voc07+12", "voc07", "drawn-scenes") else "area"


@dataclass(frozen=True)
class Curve:
    """Precision and recall of a class after each detection, the most confident first; (D,) float64, 0 to 1."""

    recall: np.ndarray
    precision: np.ndarray

    def average_precision(self, by: By) -> float:
        """Average precision, 0 to 1.

        Args:
            by: `11-points`, the mean of the highest precision at recalls from 0, 0.1, ..., 1 on (VOC to 2009), or
                `area`, the area under the curve after it is made monotonically decreasing (since 2010).
        """
        recall, falling = self.recall, np.maximum.accumulate(self.precision[::-1])[::-1]
        if by == "area":
            return float(np.sum(np.diff(recall, prepend=0.0) * falling))
        # As in all public code, 0.3, 0.6 and 0.7 are a bit above 3/10, 6/10 and 7/10: these recalls do not reach them.
        first = np.searchsorted(recall, np.arange(0, 1.1, 0.1))
        return float(np.append(falling, 0.0)[first].mean())


@dataclass(frozen=True)
class VocAP:
    """The result of VOC's evaluator.

    Attributes:
        ap: Average precision in percent, (C,) float64; NaN for a class without an object to find.
        curves: Of each class.
    """

    ap: np.ndarray
    curves: tuple[Curve, ...]

    @property
    def mean(self) -> float:
        """Over the classes, in percent; see `mean_of`."""
        return mean_of(self.ap)


def mean_of(values: np.ndarray) -> float:
    """The mean over the classes that have a value (C,); NaN if none has."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def voc_ap(found: Iterable[Detections], truth: Iterable[Objects], classes: int, by: By) -> VocAP:
    """Evaluates detections.

    Each detection is assigned to the object of its class in its image that it overlaps most, the first of equals. It
    finds the object if they overlap by more than a half and no more confident detection has found it. Detections of a
    difficult object count neither way; nor do those of a crowd, which VOC does not have. Equal scores keep their order.

    Args:
        found: Detections in each image.
        truth: Objects in the same images.
        classes: How many there are; labels are from 1.
        by: How the curve becomes one number; see `Curve.average_precision`.
    """
    labels, scores, hits, objects = [], [], [], []
    first = 0  # number of an image's first object
    for detections, marked in zip(found, truth, strict=True):
        is_ignored = marked.difficult | marked.crowd
        labels.append(detections.labels)
        scores.append(detections.scores)
        hits.append(_hits(detections, marked, is_ignored, first))
        objects.append(marked.labels[~is_ignored])
        first += len(marked)
    all_labels, all_scores, all_hits, all_objects = map(np.concatenate, (labels, scores, hits, objects))
    curves, ap = [], []
    for label in range(1, classes + 1):
        mask, count = all_labels == label, int(np.count_nonzero(all_objects == label))
        order = np.argsort(-all_scores[mask], kind="stable")
        curve = _curve(all_hits[mask][order], count)
        curves.append(curve)
        ap.append(100 * curve.average_precision(by) if count else np.nan)
    return VocAP(np.array(ap), tuple(curves))


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box (N, 4) with each other (M, 4), (N, M) float64."""
    boxes, others = boxes.astype(np.float64)[:, None], others.astype(np.float64)
    sides = np.minimum(boxes[..., 2:], others[:, 2:]) - np.maximum(boxes[..., :2], others[:, :2])
    common: np.ndarray = sides.clip(0).prod(axis=-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=-1) for each in (boxes, others)]
    total = areas[0] + areas[1] - common
    return common / np.where(total > 0, total, 1)


def _hits(detections: Detections, marked: Objects, is_ignored: np.ndarray, first: int) -> np.ndarray:
    """The number, from `first`, of the object that each detection overlaps enough, (N,); or MISSED or IGNORED."""
    if not len(detections) or not len(marked):
        return np.full(len(detections), MISSED)
    same = detections.labels[:, None] == marked.labels
    values = np.where(same, overlaps(detections.boxes, marked.boxes), 0.0)
    nearest = values.argmax(axis=1)
    numbers = np.where(is_ignored[nearest], IGNORED, first + nearest)
    return np.where(values.max(axis=1) > OVERLAP, numbers, MISSED)


def _curve(hits: np.ndarray, count: int) -> Curve:
    """The curve of a class with `count` objects from its detections, the most confident first."""
    hits = hits[hits != IGNORED]
    is_right = np.zeros(len(hits), bool)
    _, firsts = np.unique(hits, return_index=True)
    is_right[firsts] = True
    is_right &= hits != MISSED
    right = np.cumsum(is_right)
    return Curve(right / max(count, 1), right / np.arange(1, len(hits) + 1))

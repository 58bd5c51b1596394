"""Average precision as COCO's evaluator computes it, by faster-coco-eval, the package of the extra `detection`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resnet_cli.tasks.detection.objects import Detections, Objects

NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
FIRST = 0  # of the overlaps 0.5, 0.55, ..., 0.95
ALL_AREAS, MOST = 0, -1  # of the areas all, small, medium, large; of the 1, 10 or 100 most confident detections


@dataclass(frozen=True)
class CocoAP:
    """The result of COCO's evaluator, in percent; NaN where there is no object to find.

    Attributes:
        numbers: Its twelve numbers, by name (`NUMBERS`): average precision over overlaps from 0.5 to 0.95, at 0.5, at
            0.75, and of small, medium and large objects; average recall of the 1, 10 and 100 most confident detections
            of an image, and by size.
        ap: Average precision over the overlaps, of each class, (C,) float64.
        ap50: At an overlap of 0.5.
    """

    numbers: dict[str, float]
    ap: np.ndarray
    ap50: np.ndarray


def missing() -> str | None:
    """What keeps COCO's evaluator from running, as one line; None if it is installed."""
    if find_spec("faster_coco_eval"):
        return None
    return "COCO's average precision needs a package that is not installed; pip install faster-coco-eval"


def coco_ap(found: Iterable[Detections], truth: Iterable[Objects], classes: int) -> CocoAP:
    """Evaluates detections. COCO does not know difficult objects: they count as the others.

    Args:
        found: Detections in each image; the 100 most confident of a class count.
        truth: The objects in the same images.
        classes: How many there are; labels are from 1.

    Raises:
        BadInputError: faster-coco-eval is not installed.
    """
    obstacle = missing()
    if obstacle:
        raise BadInputError(obstacle)
    from faster_coco_eval import COCO, COCOeval_faster

    truth = list(truth)
    annotations = [
        {**what, "image_id": image, "area": area, "iscrowd": crowd}
        for image, marked in enumerate(truth)
        for what, area, crowd in zip(_boxes(marked), marked.areas.tolist(), marked.crowd.tolist(), strict=True)
    ]
    results = [
        {**what, "image_id": image, "score": score}
        for image, detections in enumerate(found)
        for what, score in zip(_boxes(detections), detections.scores.tolist(), strict=True)
    ]
    every = COCO(
        {
            "images": [{"id": number} for number in range(len(truth))],
            "categories": [{"id": label, "name": str(label)} for label in range(1, classes + 1)],
            "annotations": [{**each, "id": number} for number, each in enumerate(annotations, start=1)],
        }
    )
    judged = COCOeval_faster(every, every.loadRes(results), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    precision = _percent(judged.eval["precision"])[:, :, :, ALL_AREAS, MOST]  # (overlaps, recalls, classes)
    return CocoAP(
        dict(zip(NUMBERS, _percent(judged.stats).tolist(), strict=True)),
        precision.mean(axis=(0, 1)),
        precision[FIRST].mean(axis=0),
    )


def results_json(found: Iterable[Detections], ids: Sequence[int], category_ids: Sequence[int]) -> bytes:
    """Detections in the form of COCO's results, which its evaluators read.

    Args:
        found: Detections in each image.
        ids: The images' numbers in COCO's files.
        category_ids: What COCO's files call the classes; label 1 is the first.
    """
    every = [
        {**what, "image_id": image, "category_id": category_ids[what["category_id"] - 1], "score": score}
        for image, detections in zip(ids, found, strict=True)
        for what, score in zip(_boxes(detections), detections.scores.tolist(), strict=True)
    ]
    return json.dumps(every).encode()


def _boxes(what: Objects | Detections) -> list[dict[str, Any]]:
    """Boxes by corner, width and height, and their labels."""
    boxes = what.boxes.astype(np.float64)
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    return [{"bbox": box, "category_id": label} for box, label in zip(sides, what.labels.tolist(), strict=True)]


def _percent(values: Any) -> np.ndarray:
    """In percent; COCO's -1 becomes NaN."""
    shares = np.asarray(values, np.float64)
    return np.where(shares < 0, np.nan, 100 * shares)

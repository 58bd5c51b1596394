from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.detection.coco_ap import NUMBERS, coco_ap, results_json
from resnet_cli.tasks.detection.objects import Detections, Objects
from resnet_cli.tasks.detection.voc_ap import overlaps

BOX, OTHER, FAR = [0, 0, 40, 40], [50, 0, 90, 40], [150, 150, 190, 190]
AREAS = {"": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def found(*boxes: tuple[list[int], float], label: int = 1) -> Detections:
    """Detections of a class in an image: boxes with scores."""
    edges = np.array([box for box, _ in boxes], np.float32).reshape(-1, 4)
    return Detections(edges, np.full(len(boxes), label), np.array([score for _, score in boxes], np.float32))


def match(
    detections: Detections, marked: Objects, label: int, area: tuple[float, float], threshold: float, most: int
) -> tuple[list[tuple[float, bool]], int]:
    """Of a class in an image: (score, is right) of each detection that counts, and how many objects there are."""
    order = np.argsort(-detections.scores[detections.labels == label], kind="stable")[:most]
    boxes = detections.boxes[detections.labels == label][order].astype(float)
    scores = detections.scores[detections.labels == label][order]
    its = marked.where(marked.labels == label)
    ignored = its.crowd | (its.areas < area[0]) | (its.areas > area[1])
    turn = np.argsort(ignored, kind="stable")  # objects that count come first
    its, ignored = its.where(turn), ignored[turn]
    taken = np.zeros(len(its), bool)
    told = []
    for box, score in zip(boxes, scores, strict=True):
        best, at = min(threshold, 1 - 1e-10), -1
        for number in range(len(its)):
            if taken[number] and not its.crowd[number]:
                continue
            if at > -1 and not ignored[at] and ignored[number]:
                break
            value = float(overlaps(box[None], its.boxes[number : number + 1])[0, 0])
            if its.crowd[number]:  # the share of the detection that lies in the crowd
                sides = np.minimum(box[2:], its.boxes[number, 2:]) - np.maximum(box[:2], its.boxes[number, :2])
                value = float(sides.clip(0).prod() / (box[2:] - box[:2]).prod())
            if value >= best:
                best, at = value, number
        if at > -1:
            taken[at] = True
            if not ignored[at]:
                told.append((float(score), True))
        elif area[0] <= (box[2:] - box[:2]).prod() <= area[1]:
            told.append((float(score), False))
    return told, int((~ignored).sum())


def reference(detections: list[Detections], truth: list[Objects], classes: int) -> dict[str, float]:
    """COCO's twelve numbers, one detection after the other."""
    precision: dict[str, list[list[float]]] = {}
    recall: dict[str, list[list[float]]] = {}
    for name, area in AREAS.items():
        for most in (1, 10, 100) if name == "" else (100,):
            for label in range(1, classes + 1):
                averages, reached = [], []
                for threshold in THRESHOLDS:
                    parts = [
                        match(each, marked, label, area, threshold, most)
                        for each, marked in zip(detections, truth, strict=True)
                    ]
                    count = sum(part[1] for part in parts)
                    if not count:
                        break
                    told = sorted((each for part in parts for each in part[0]), key=lambda each: -each[0])
                    right = np.cumsum([hit for _, hit in told])
                    curve = np.maximum.accumulate((right / np.arange(1, len(told) + 1))[::-1])[::-1] if told else []
                    at = np.searchsorted(right / count, np.linspace(0, 1, 101)) if told else []
                    averages.append(sum(curve[index] for index in at if index < len(curve)) / 101)
                    reached.append(right[-1] / count if told else 0.0)
                if averages:
                    precision.setdefault(f"{name}{most}", []).append(averages)
                    recall.setdefault(f"{name}{most}", []).append(reached)

    def mean(values: list[list[float]] | None, column: int | slice = slice(None)) -> float:
        return 100 * float(np.mean(np.array(values)[:, column])) if values else np.nan

    every = precision.get("100")
    numbers = [mean(every), mean(every, 0), mean(every, 5), *(mean(precision.get(f"{name}100")) for name in "sml")]
    numbers += [*(mean(recall.get(str(most))) for most in (1, 10, 100)), *(mean(recall.get(f"{n}100")) for n in "sml")]
    return dict(zip(NUMBERS, numbers, strict=True))


def made(images: int = 25, classes: int = 3) -> tuple[list[Detections], list[Objects]]:
    """Crowded random images: ties, crowds, objects of all sizes, images without objects or detections."""
    random = np.random.default_rng(1)
    detections, truth = [], []
    for _ in range(images):
        corners = random.integers(0, 200, (random.integers(0, 9), 2))
        sides = random.choice([12, 20, 40, 70, 120, 180], (len(corners), 2)) + random.integers(0, 5, corners.shape)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        labels = random.integers(1, classes + 1, len(boxes))
        areas = sides.prod(axis=1) * random.choice([0.5, 1.0], len(boxes))
        truth.append(Objects.of(boxes, labels, crowd=random.random(len(boxes)) < 0.2, areas=areas))
        moved = np.repeat(boxes, 3, axis=0) + random.integers(-3, 4, (3 * len(boxes), 4))
        guesses = np.where(random.random(len(moved)) < 0.7, np.repeat(labels, 3), 1)
        scores = random.integers(0, 8, len(moved)) / 8
        detections.append(Detections(moved.astype(np.float32), guesses, scores.astype(np.float32)))
    return detections, truth


def test_as_the_reference() -> None:
    """On random images COCO's twelve numbers are those of a plain loop, digit for digit."""
    detections, truth = made()
    expected = reference(detections, truth, 3)
    judged = coco_ap(detections, truth, 3)

    assert pytest.approx(expected, abs=1e-10) == judged.numbers
    assert 5 < expected["AP"] < expected["AP50"] < 80
    assert len(set(expected.values())) == len(NUMBERS)
    assert pytest.approx(expected["AP"], abs=1e-10) == judged.ap.mean()
    assert pytest.approx(expected["AP50"], abs=1e-10) == judged.ap50.mean()


def test_101_points() -> None:
    """One of two objects found: precision 1 at the 51 recalls from 0 to 0.5; by 11 points it would be 6 of 11."""
    judged = coco_ap([found((BOX, 0.9))], [Objects.of([BOX, OTHER], [1, 1])], 1)

    assert pytest.approx(100 * 51 / 101) == judged.numbers["AP"]
    assert 50 == judged.numbers["AR100"]
    assert np.isnan(judged.numbers["APs"])


def test_half_is_enough() -> None:
    """An overlap of exactly one half finds an object, at the first of ten thresholds."""
    judged = coco_ap([found(([0, 0, 40, 20], 0.9))], [Objects.of([BOX], [1])], 1)

    assert (100, 0, pytest.approx(10)) == tuple(judged.numbers[name] for name in ("AP50", "AP75", "AP"))


def test_crowd() -> None:
    """What lies in a crowd counts neither way, however often; a crowd is not to be found."""
    truth = [Objects.of([[0, 0, 100, 100], FAR], [1, 1], crowd=[True, False])]

    assert 100 == coco_ap([found((BOX, 0.9), (OTHER, 0.8), (FAR, 0.7))], truth, 1).numbers["AP"]
    assert 100 == coco_ap([found((FAR, 0.7))], truth, 1).numbers["AP"]
    assert 0 == coco_ap([found((BOX, 0.9))], truth, 1).numbers["AP"]


def test_difficult_counts() -> None:
    """COCO knows no difficult objects."""
    truth = [Objects.of([BOX], [1], difficult=[True])]

    assert 100 == coco_ap([found((BOX, 0.9))], truth, 1).numbers["AP"]


def test_ties_keep_their_order() -> None:
    """Of equal scores the first image's comes first."""
    truth = [Objects.of([BOX], [1]), Objects.of([], [])]
    right, wrong = found((BOX, 0.5)), found((FAR, 0.5))

    assert 100 == coco_ap([right, wrong], truth, 1).numbers["AP"]
    assert pytest.approx(50) == coco_ap([wrong, right], truth[::-1], 1).numbers["AP"]


def test_nothing_found_and_nothing_there() -> None:
    """Without detections AP is 0; without objects there is none, of a class or at all."""
    judged = coco_ap([found()], [Objects.of([BOX], [1])], 2)
    nothing = coco_ap([found((BOX, 0.5))], [Objects.of([], [])], 2)

    assert (0, 0) == (judged.numbers["AP"], judged.ap[0])
    assert np.isnan(judged.ap[1])
    assert np.isnan(list(nothing.numbers.values())).all()


def test_ids_with_gaps() -> None:
    """Results in COCO's JSON have COCO's ids; read by the evaluator beside a file of those ids, they say the same."""
    from faster_coco_eval import COCO, COCOeval_faster

    detections, truth = made(8)
    ids, category_ids = [9, 25, 30, 34, 36, 42, 49, 581929], [1, 13, 90]
    annotations = [
        {"image_id": image, "category_id": category_ids[label - 1], "area": float(area), "iscrowd": int(crowd)}
        | {"bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]}
        for image, marked in zip(ids, truth, strict=True)
        for box, label, crowd, area in zip(marked.boxes, marked.labels, marked.crowd, marked.areas, strict=True)
    ]
    every = COCO(
        {
            "images": [{"id": each} for each in ids],
            "categories": [{"id": each} for each in category_ids],
            "annotations": [{**each, "id": 17 * number} for number, each in enumerate(annotations, start=1)],
        }
    )
    results = json.loads(results_json(detections, ids, category_ids))
    judged = COCOeval_faster(every, every.loadRes(results), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()

    assert {each["category_id"] for each in results} == set(category_ids)
    assert pytest.approx(list(coco_ap(detections, truth, 3).numbers.values())) == [100 * each for each in judged.stats]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is one line."""
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)

    with pytest.raises(BadInputError, match=r"pip install faster-coco-eval, or resnet-cli\[detection\]"):
        coco_ap([], [], 1)

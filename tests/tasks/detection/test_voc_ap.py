from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from resnet_cli.tasks.detection.objects import Detections, Objects
from resnet_cli.tasks.detection.voc_ap import overlaps, voc_ap

if TYPE_CHECKING:
    from resnet_cli.tasks.detection.voc_ap import By

BOX, OTHER, THIRD, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [70, 70, 80, 80]
CORNERS = np.array([1, 1, 0, 0])  # added to edges
BYS: tuple[By, By] = ("11-points", "area")


def found(*boxes: tuple[list[int], float], label: int = 1) -> Detections:
    """Detections of a class in an image: boxes with scores."""
    edges = np.array([box for box, _ in boxes], np.float32).reshape(-1, 4)
    return Detections(edges, np.full(len(boxes), label), np.array([score for _, score in boxes], np.float32))


def both(detections: list[Detections], truth: list[Objects], classes: int = 1) -> list[list[float]]:
    """AP of each class by 11 points and by area, in percent."""
    return [voc_ap(detections, truth, classes, by).ap.tolist() for by in BYS]


def reference(detections: list[Detections], truth: list[Objects], label: int, by: By) -> float:
    """AP of a class, 0 to 1, as VOC's devkit says it: inclusive corners from 1, one detection after the other."""
    every = [
        (score, image, CORNERS + box)
        for image, each in enumerate(detections)
        for box, its, score in zip(each.boxes.astype(float), each.labels, each.scores, strict=True)
        if its == label
    ]
    every.sort(key=lambda each: -each[0])  # Python's sort is stable
    taken: set[tuple[int, int]] = set()
    right, wrong, points = 0, 0, []
    for _, image, (left, top, xmax, ymax) in every:
        best, at = 0.0, -1
        marked = truth[image]
        for number, (box, its) in enumerate(zip(marked.boxes.astype(float), marked.labels, strict=True)):
            a, b, c, d = CORNERS + box
            across, down = min(xmax, c) - max(left, a) + 1, min(ymax, d) - max(top, b) + 1
            if its == label and across > 0 and down > 0:
                union = (xmax - left + 1) * (ymax - top + 1) + (c - a + 1) * (d - b + 1) - across * down
                if across * down / union > best:
                    best, at = across * down / union, number
        if best > 0.5 and marked.difficult[at]:
            continue
        if best > 0.5 and (image, at) not in taken:
            taken.add((image, at))
            right += 1
        else:
            wrong += 1
        points.append((right, right / (right + wrong)))
    count = sum(int(((each.labels == label) & ~each.difficult).sum()) for each in truth)

    def highest(least: float) -> float:
        return max((precision for hits, precision in points if hits >= least), default=0.0)

    if by == "11-points":
        return sum(highest(tenth * count / 10) for tenth in range(11)) / 11
    return sum(highest(hits) for hits in range(1, right + 1)) / count


def test_overlaps() -> None:
    """Intersection over union; boxes that touch, or have no area, share nothing."""
    values = overlaps(np.array([BOX, [5, 5, 5, 5]]), np.array([BOX, [0, 0, 10, 5], [5, 0, 15, 10], [10, 0, 20, 10]]))

    assert [[1, 0.5, 1 / 3, 0], [0, 0, 0, 0]] == values.tolist()


def test_all_found() -> None:
    """Each object found once, whatever the scores: 100, by both."""
    assert [[100], [100]] == both([found((BOX, 0.1), (OTHER, 0.9))], [Objects.of([OTHER, BOX], [1, 1])])


def test_by_hand() -> None:
    """Right, wrong, right of three objects: precision 1 to a recall of 1/3, then 2/3 to 2/3, then nothing."""
    detections = [found((BOX, 0.9), (FAR, 0.8)), found((OTHER, 0.7))]
    truth = [Objects.of([BOX], [1]), Objects.of([OTHER, THIRD], [1, 1])]
    judged = voc_ap(detections, truth, 1, "area")

    assert pytest.approx([100 * (4 * 1 + 3 * 2 / 3) / 11]) == voc_ap(detections, truth, 1, "11-points").ap
    assert pytest.approx([100 * (1 / 3 + 2 / 9)]) == judged.ap
    assert [1 / 3, 1 / 3, 2 / 3] == judged.curves[0].recall.tolist()
    assert [1, 1 / 2, 2 / 3] == judged.curves[0].precision.tolist()


def test_a_recall_of_a_tenth_counts() -> None:
    """Three of ten objects found reach the recall 0.3, so four of the eleven points: binary fractions do no harm."""
    truth = [Objects.of([[20 * n, 0, 20 * n + 10, 10] for n in range(10)], [1] * 10)]
    detections = [found(*[([20 * n, 0, 20 * n + 10, 10], 0.5) for n in range(3)])]

    assert [[pytest.approx(400 / 11)], [pytest.approx(30)]] == both(detections, truth)


def test_found_twice() -> None:
    """An object is found once: the less sure detection of it is wrong, even where another object is near."""
    near = [2, 0, 12, 10]
    detections, truth = [found((BOX, 0.9), ([0, 0, 10, 9], 0.8))], [Objects.of([BOX, near], [1, 1])]

    assert [[pytest.approx(600 / 11)], [50]] == both(detections, truth)


def test_difficult() -> None:
    """A difficult object counts neither when it is found, once or twice, nor when it is missed."""
    truth = [Objects.of([BOX, OTHER], [1, 1], difficult=[True, False])]
    sure, again, right = (BOX, 0.9), (BOX, 0.8), (OTHER, 0.7)

    assert [[100], [100]] == both([found(sure, again, right)], truth)
    assert [[100], [100]] == both([found(right)], truth)
    assert [[0], [0]] == both([found(sure)], truth)


def test_a_crowd_counts_as_difficult() -> None:
    """VOC has no crowds; what is found in one counts neither way."""
    truth = [Objects.of([BOX, OTHER], [1, 1], crowd=[True, False])]

    assert [[100], [100]] == both([found((BOX, 0.9), (OTHER, 0.7))], truth)


def test_half_is_not_enough() -> None:
    """An overlap of exactly one half finds nothing; of one pixel's column more, it does."""
    truth = [Objects.of([BOX], [1])]

    assert [[0], [0]] == both([found(([0, 0, 10, 5], 0.9))], truth)
    assert [[100], [100]] == both([found(([0, 0, 10, 6], 0.9))], truth)


def test_ties_keep_their_order() -> None:
    """Of equal scores the first comes first, in an image and from one image to the next."""
    truth = [Objects.of([BOX], [1]), Objects.of([], [])]
    right, wrong, none = found((BOX, 0.5)), found((FAR, 0.5)), found()

    assert [[100], [100]] == both([right, wrong], truth)
    assert [[pytest.approx(50)], [50]] == both([wrong, right], truth[::-1])
    assert [[100], [100]] == both([found((BOX, 0.5), (FAR, 0.5)), none], truth)
    assert [[pytest.approx(50)], [50]] == both([found((FAR, 0.5), (BOX, 0.5)), none], truth)


def test_nothing_found_and_nothing_there() -> None:
    """Without detections AP is 0; of a class without objects there is none, and the mean leaves it out."""
    truth = [Objects.of([BOX, OTHER], [1, 2], difficult=[False, True])]
    judged = voc_ap([found((OTHER, 0.9), label=3)], truth, 3, "area")

    assert judged.ap[0] == 0
    assert np.isnan(judged.ap[1:]).all()
    assert judged.mean == 0
    assert np.isnan(voc_ap([found()], [Objects.of([], [])], 2, "area").mean)


def test_classes_are_apart() -> None:
    """A box of another class finds nothing, though it lies right."""
    truth = [Objects.of([BOX, OTHER], [1, 2])]
    detections = Detections(np.array([BOX, OTHER], np.float32), np.array([2, 2]), np.array([0.9, 0.8], np.float32))

    assert [[0, pytest.approx(50)], [0, 50]] == both([detections], truth, 2)


@pytest.mark.parametrize("by", BYS)
def test_as_the_devkit_says(by: By) -> None:
    """On many crowded random images, with ties and difficult objects, each class has the devkit's value."""
    random = np.random.default_rng(0)
    detections, truth = [], []
    for _ in range(60):
        corners = random.integers(0, 12, (random.integers(0, 6), 2))
        boxes = np.concatenate([corners, corners + random.integers(4, 12, corners.shape)], axis=1)
        truth.append(Objects.of(boxes, random.integers(1, 4, len(boxes)), difficult=random.random(len(boxes)) < 0.2))
        moved = np.repeat(boxes, 2, axis=0) + random.integers(-2, 3, (2 * len(boxes), 4))
        scores = random.integers(0, 6, len(moved)) / 5
        detections.append(
            Detections(moved.astype(np.float32), random.integers(1, 4, len(moved)), scores.astype(np.float32))
        )
    expected = [100 * reference(detections, truth, label, by) for label in (1, 2, 3)]

    assert pytest.approx(expected, abs=1e-12) == voc_ap(detections, truth, 3, by).ap
    assert 5 < min(expected) < max(expected) < 60

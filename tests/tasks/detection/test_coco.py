from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_trees import COUNT, GAP, coco_annotations, drawn, write_coco

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.detection import coco
from resnet_cli.tasks.detection.coco_ap import coco_ap, results_json
from resnet_cli.tasks.detection.objects import Detections, all_objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.tasks.detection.objects import Pictures

TRAIN = "annotations/instances_train2014.json"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """COCO of few scenes."""
    return write_coco(tmp_path, monkeypatch)


def look(root: Path, which: str = "coco2014") -> str:
    """What `verify` says."""
    return coco.verify(root, which, root.parent / "verified", 1, lambda *_: None)


def assert_same(pictures: Pictures, key: int, start: int = 0) -> None:
    """The images of a file from here on are what was written, in the order of their ids."""
    written = drawn(key)
    for number in range(COUNT):
        image = pictures.image(start + number)

        assert 1000 * (key + 1) + GAP * number == pictures.ids[start + number]
        assert image.shape == written.image(number).shape
        for name in ("boxes", "crowd", "areas"):
            np.testing.assert_array_equal(
                getattr(pictures.objects(start + number), name), getattr(written.objects(number), name)
            )
        assert [label + 9 for label in written.objects(number).labels] == pictures.objects(
            start + number
        ).labels.tolist()


def test_files(root: Path) -> None:
    """Each name has its files and folders; Fast R-CNN's parts of 2014's validation images lie with these."""
    paper, own, new = (
        coco.open_data(where, which) for where, which in zip([root.parent, root, root], coco.SETS, strict=True)
    )

    assert_same(paper.train.pictures, 0)
    assert_same(paper.test, 1)
    assert_same(own.train.pictures, 0)
    assert_same(own.train.pictures, 2, COUNT)
    assert_same(own.test, 3)
    assert_same(new.test, 5)
    assert "COCO_val2014_000000004000.jpg" == own.test.names[0]
    assert "000000006000.jpg" == new.test.names[0]


def test_ids(root: Path) -> None:
    """Labels go from 1 to 80, COCO's ids to 90; back in results."""
    data = coco.open_data(root, "coco2014")
    detections = [Detections(np.ones((1, 4), np.float32), np.array([label]), np.ones(1)) for label in (1, 12, 80)]
    results = json.loads(results_json(detections, data.test.ids[:3], data.category_ids))

    assert (80, 1, 11, 13, 90) == (len(data.classes), *(data.category_ids[at] for at in (0, 10, 11, 79)))
    assert ("thing 13", "thing 90") == (data.classes[11], data.classes[79])
    assert [1, 13, 90] == [each["category_id"] for each in results]
    assert list(data.test.ids[:3]) == [each["image_id"] for each in results]


def test_found_where_they_are(root: Path) -> None:
    """What is marked, taken as found, has an average precision of 100, crowds left out."""
    data = coco.open_data(root, "coco2014")
    truth = list(all_objects(data.test))
    found = [Detections(each.boxes, each.labels, np.ones(len(each), np.float32)) for each in truth]

    assert pytest.approx(100) == coco_ap(found, truth, 80).numbers["AP"]


def test_verify(root: Path) -> None:
    """All is read and decoded, and told."""
    assert "6 training images with " in look(root)
    assert "12 training images with " in look(root, "coco-trainval35k")


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Changes the file of the training images."""

    def spoil(root: Path) -> None:
        content = json.loads((root / TRAIN).read_text())
        change(content)
        (root / TRAIN).write_text(json.dumps(content))

    return spoil


def set_box(*box: float) -> Callable[[Path], object]:
    """Gives the first annotation this box."""
    return edit(lambda content: content["annotations"][0].update(bbox=list(box)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: (root / TRAIN).unlink(), f"{TRAIN}: missing; needed in coco: {TRAIN}, train2014/, "),
        (lambda root: (root / "val2014").rename(root / "val"), "val2014: missing"),
        (
            lambda root: (root / "train2014/COCO_train2014_000000001000.jpg").unlink(),
            "train2014/COCO_train2014_000000001000.jpg: missing; unpack COCO's archives again",
        ),
        (
            lambda root: (root / "train2014/COCO_train2014_000000001007.jpg").write_bytes(b"\xff\xd8"),
            "COCO_train2014_000000001007.jpg: ",
        ),
        (set_box(10, 10, -3, 5), f"{TRAIN}: box 10, 10 to 7, 15: its corners are swapped"),
        (set_box(100, 10, 40, 5), f"{TRAIN}: box 100, 10 to 140, 15: outside the image of "),
        (set_box(1, 2, 3), f"{TRAIN}: not COCO's annotations: not enough values to unpack"),
        (set_box(float("inf"), 1, 1, 1), f"{TRAIN}: box inf"),
        (edit(lambda content: content["annotations"][0].pop("bbox")), f"{TRAIN}: not COCO's annotations: no 'bbox'"),
        (
            edit(lambda content: content["annotations"][0].update(category_id=12)),
            f"{TRAIN}: not COCO's annotations: no 12",
        ),
        (
            edit(lambda content: content["annotations"][0].update(image_id=5)),
            f"{TRAIN}: has annotations of image 5, but not",
        ),
        (edit(lambda content: content["images"].pop()), f"{TRAIN}: has annotations of image"),
        (
            edit(lambda content: content["images"].append({**content["images"][0], "id": 5})),
            f"{TRAIN}: 7 images and 80 categories, but COCO's train2014 has 6 and 80",
        ),
        (
            edit(lambda content: content["categories"].append({"id": 12, "name": "x"})),
            f"{TRAIN}: 6 images and 81 categories, but COCO's train2014 has 6 and 80",
        ),
        (
            edit(lambda content: content["categories"][0].update(name="x")),
            f"{TRAIN}: other categories than ",
        ),
        (
            edit(lambda content: content["images"][0].update(file_name="../../secret.jpg")),
            f"{TRAIN}: not COCO's annotations: '../../secret.jpg' is not an image's name",
        ),
        (
            edit(lambda content: content["images"][0].update(width="wide")),
            f"{TRAIN}: not COCO's annotations: invalid lit",
        ),
        (lambda root: (root / TRAIN).write_text("[" * 100_000), f"{TRAIN}: not COCO's annotations: "),
        (lambda root: (root / TRAIN).write_text("[]"), f"{TRAIN}: not COCO's annotations: list indices"),
        (lambda root: (root / TRAIN).write_bytes(b"\xff\xfe\x00"), f"{TRAIN}: not COCO's annotations: "),
    ],
)
def test_bad_trees(root: Path, change: Callable[[Path], object], told: str) -> None:
    """What is wrong with a tree is one line that names the file."""
    change(root)

    with pytest.raises(BadInputError, match=re.escape(told)) as error:
        look(root)
    assert "\n" not in str(error.value)


def test_a_box_without_an_area(root: Path) -> None:
    """COCO has a few; they are there, and are not learned."""
    content = json.loads((root / TRAIN).read_text())
    image = min(content["images"], key=lambda each: each["id"])
    [first, *others] = coco_annotations(drawn(0).objects(0), image["id"])
    others = [each for each in content["annotations"] if each["image_id"] != image["id"]] + others
    first["bbox"] = [3.0, 4.0, 0.0, 9.0]
    (root / TRAIN).write_text(json.dumps({**content, "annotations": [first, *others]}))
    marked = coco.open_data(root, "coco2014").train.pictures.objects(0)

    assert [3, 4, 3, 13] in marked.boxes.tolist()
    assert [3, 4, 3, 13] not in marked.to_learn.boxes.tolist()


def test_obstacle_and_expected(root: Path) -> None:
    """What there should be, with the numbers of images, and whether it is there; nothing is read."""
    (root / TRAIN).write_text("nonsense")

    assert coco.obstacle(root, "coco2014") is None
    (root / TRAIN).unlink()
    assert str(root / TRAIN) in str(coco.obstacle(root.parent, "coco2014"))
    assert {
        f"coco/{TRAIN}": False,
        "coco/train2014/*.jpg (6 images)": True,
        "coco/annotations/instances_val2014.json": True,
        "coco/val2014/*.jpg (6 images)": True,
    } == coco.expected(root.parent)

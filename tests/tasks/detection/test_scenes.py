from __future__ import annotations

import numpy as np
import pytest
import torch
from made_trees import drawn

from resnet_cli.tasks.detection import scenes
from resnet_cli.tasks.detection.objects import DetectionData, Objects, Some, all_objects


@pytest.fixture(scope="module")
def data() -> DetectionData:
    """Scenes enough for every kind."""
    return scenes.open_scenes(300, 100)


def test_the_same_on_every_machine() -> None:
    """What is drawn has a known checksum."""
    drawn = scenes.open_scenes(8, 4, seed=3)

    assert "SHA-256 45c33d2a5d8e739e122511c1c9260a454c63e4ef99ffbf00169c778f1cbf0794" == drawn.checksum


def test_a_scene_depends_on_its_number_only(data: DetectionData) -> None:
    """A scene is the same in a small set and in a large one, and the sets share none."""
    few = scenes.open_scenes(8, 4)

    assert all(torch.equal(few.test.image(number), data.test.image(number)) for number in range(4))
    assert not any(torch.equal(few.train.image(0), data.test.image(number)) for number in range(100))
    assert not torch.equal(scenes.open_scenes(1, 1, seed=1).test.image(0), few.test.image(0))


def test_what_is_in_the_scenes(data: DetectionData) -> None:
    """All classes and kinds are there: difficult, crowd, empty, grey, several sizes; boxes lie inside their image."""
    marked = list(all_objects(data.test))
    images = [data.test.image(number) for number in range(len(data.test))]
    labels = np.bincount(np.concatenate([each.labels for each in marked]), minlength=6)

    assert labels[0] == 0
    assert min(labels[1:]) > 20
    assert 5 <= sum(int(each.difficult.sum()) for each in marked) <= 30
    assert 5 <= sum(int(each.crowd.sum()) for each in marked) <= 30
    assert 2 <= sum(len(each) == 0 for each in marked) <= 15
    assert 5 <= sum(bool((image[0] == image[1]).all()) for image in images) <= 30
    assert {tuple(image.shape) for image in images} == {(3, *shape) for shape in scenes.SHAPES}
    for image, each in zip(images, marked, strict=True):
        assert (each.boxes[:, :2] >= 0).all()
        assert (each.boxes[:, 2:] <= [image.shape[2], image.shape[1]]).all()
        assert (each.boxes[:, 2:] > each.boxes[:, :2]).all()
        assert (each.areas <= (each.boxes[:, 2:] - each.boxes[:, :2]).prod(axis=1)).all()


def test_boxes_hold_what_is_seen() -> None:
    """An object's box holds its pixels that nothing hides; seen in part it is difficult, hidden it is none at all."""
    owner = np.zeros((8, 10), np.int8)
    owner[0:4, 0:4] = 1
    owner[2:7, 2:8] = 3
    owner[7, 9] = 2
    seen = scenes._seen(owner, whole=np.array([20, 12, 30]), labels=np.array([5, 1, 2]), is_crowded=False)

    assert [[0, 0, 4, 4], [2, 2, 8, 7]] == seen.boxes.tolist()
    assert [5, 2] == seen.labels.tolist()
    assert [12, 30] == seen.areas.tolist()
    assert [True, False] == seen.difficult.tolist()
    assert not seen.crowd.any()


def test_without_objects_not_trained_on(data: DetectionData) -> None:
    """Training images have an object to learn, test images need none."""
    assert 250 < len(data.train) < 300
    assert all(len(each.to_learn) for each in all_objects(data.train))
    assert (len(data.train), len(data.test)) == (len(data.train_labels), len(data.test_labels))
    assert isinstance(data.train, Some)
    assert data.train.ids[0] == data.train.numbers[0] + 1
    assert data.train.names[0] == f"scene {data.train.ids[0]}"


def test_to_learn() -> None:
    """Neither difficult, nor a crowd, nor without an area."""
    boxes = [[0, 0, 5, 5], [0, 0, 5, 5], [0, 0, 5, 5], [3, 3, 3, 9]]
    marked = Objects.of(boxes, [1, 2, 3, 4], difficult=[0, 1, 0, 0], crowd=[0, 0, 1, 0])

    assert marked.to_learn.labels.tolist() == [1]
    assert marked.areas.tolist() == [25, 25, 25, 0]
    assert len(Objects.of([], []).to_learn) == 0


def test_crops() -> None:
    """Crops are of one size and of all classes; each is a window of its scene, with the object in it."""
    crops = scenes.crops(60, 20)
    scene = scenes.draw_many(1, 0, scenes.TEST_KEY).image(0)
    windows = scene.unfold(1, scenes.CROP, 1).unfold(2, scenes.CROP, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)

    assert crops.train_images.shape[1:] == (3, scenes.CROP, scenes.CROP)
    assert set(crops.train_labels.tolist()) == set(range(len(scenes.CLASSES)))
    assert len(crops.test_labels) < len(crops.train_labels) < 3 * 60
    assert (windows == crops.test_images[0]).flatten(1).all(1).any()
    assert crops.test_labels[0] + 1 in scenes.draw(1, 0)[1].labels


def test_scenes_for_trees() -> None:
    """What other tests write as VOC and COCO has every kind of object, and an image without any."""
    marked = list(all_objects(drawn(1)))

    assert any(each.difficult.any() for each in marked)
    assert any(each.crowd.any() for each in marked)
    assert any(not len(each) for each in marked)

"""Drawn objects, training crops with their boxes, and the errors of boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from resnet_cli.data.crops import chances, training_crop
from resnet_cli.device.ranks import ALONE
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.nets.localiser import Rpn, build
from resnet_cli.spec import Photos
from resnet_cli.tasks import TASKS
from resnet_cli.tasks.localisation import Localisation, drawn
from resnet_cli.tasks.localisation.data import LEAST_PART, LocalisationData, training_view
from resnet_cli.tasks.localisation.judge import errors, localise

TASK = next(task for task in TASKS if isinstance(task, Localisation))
TINY = Variant(dataset="drawn-objects", tiny=True)
PHOTOS = Photos(crop=32, shorter_side=(36, 68))


@pytest.fixture(scope="module")
def data() -> LocalisationData:
    """A smoke run's."""
    return TASK.open(TINY, Path())


def test_drawings_are_the_same_everywhere() -> None:
    """Every pixel and box is a function of number and key; test and training images differ."""
    photographs, boxes, checksum = drawn.draw(16, 0)

    assert checksum == drawn.draw(16, 0)[2] != drawn.draw(16, 1)[2]
    assert {(3, 72, 96), (3, 96, 72)} == {tuple(photographs.image(number).shape) for number in range(16)}
    assert [0, 1, 2] == photographs.labels[[0, 1, 12]].tolist()
    for number, ((left, top, right, bottom),) in enumerate(boxes):
        height, width = photographs.image(number).shape[1:]
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_a_box_holds_its_object() -> None:
    """A square's box is where its colour is: the border pixels inside are of it, those outside of the background."""
    photographs, boxes, _ = drawn.draw(200, 3)
    contrasts = []
    for number in range(2, 200, 10):  # squares
        image = photographs.image(number).float()
        left, top, right, bottom = boxes[number][0].astype(int)
        inside = image[:, top + 2 : bottom - 2, left + 2 : right - 2].mean(dim=(1, 2))
        padded = nn.functional.pad(image, (3, 3, 3, 3), value=float("nan"))
        ring = padded[:, top : bottom + 6, left : right + 6].clone()
        ring[:, 1:-1, 1:-1] = float("nan")
        contrasts.append((inside - ring.nanmean(dim=(1, 2))).abs().min().item())

    assert np.median(contrasts) > 40


def test_boxes_go_with_the_crop() -> None:
    """A white rectangle's box frames what is white in the crop, mirrored or not; the crop is a classifier's."""
    for number in range(40):
        image = torch.zeros(3, 80, 100, dtype=torch.uint8)
        image[:, 20:60, 30:80] = 255
        chance = chances(0, 0, number)
        crop, boxes = training_view(image, np.array([[30, 20, 80, 60]], np.float32), PHOTOS, chance)
        white = (crop[0] > 127).nonzero()

        assert torch.equal(crop, training_crop(image, PHOTOS, chance))
        if len(boxes):
            (top, left), (bottom, right) = white.amin(dim=0).tolist(), white.amax(dim=0).tolist()
            assert np.abs(boxes[0] - [left, top, right + 1, bottom + 1]).max() <= 1
        elif len(white):
            assert (white.amax(dim=0) - white.amin(dim=0)).min() <= LEAST_PART * 32


def test_batches_are_functions_of_their_number(data: LocalisationData) -> None:
    """A stream opened anew gives the same batch, in any order, and a share of it is a part of it."""
    run = RunSpec.of(TASK.net("rpn-resnet-8"), TINY, TASK.protocol, 0)
    first, second = TASK.stream(data, run), TASK.stream(data, run, (1, 2))
    batch, _ = first.batch(3), first.batch(2)
    again = first.batch(3)
    images, labels, boxes, draws = batch
    first.close()
    half = second.batch(3)
    second.close()

    assert all(torch.equal(each, other) for each, other in zip(batch, again, strict=True))
    assert all(torch.equal(each[8:], other) for each, other in zip(batch, half, strict=True))
    assert ((16, 3, 32, 32), (16,), (16, 8, 4)) == (images.shape, labels.shape, boxes.shape)
    assert draws.shape[1] > 9 * (32 // 16) ** 2
    assert 0.4 < draws.mean() < 0.6


def test_errors_by_hand() -> None:
    """A box is right from an IoU of 0.5 on, with any object; an answer if the true class is among the first."""
    truth = tuple(
        np.array(each, np.float32) for each in ([[0, 0, 10, 10]], [[0, 0, 10, 10]], [[0, 0, 4, 4], [5, 5, 9, 9]])
    )
    boxes = np.array(
        [
            [[0, 0, 10, 5], [0, 0, 10, 4.9]],
            [[0, 0, 10, 10], [0, 0, 10, 10]],
            [[2, 2, 7, 7], [5, 5, 9, 9]],
        ],
        np.float32,
    )
    found, loss = errors(boxes, np.array([0, 5, 4]), truth)

    assert found == pytest.approx(
        {
            "given_error": 100 / 3,
            "given_error_dense": 100 / 3,
            "top1_error": 100,
            "top5_error": 200 / 3,
            "dense_gain": 0,
        }
    )
    assert loss == pytest.approx((1 - 0.49 + 0 + 0) / 3)


class Oracle(Rpn):
    """Finds in each view the white rectangle, and is surest of the largest view."""

    def boxes(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is brighter than the mean."""
        del labels
        found = []
        for image in images:
            places = (image.mean(dim=0) > image.mean()).nonzero()
            low, high = places.amin(dim=0), places.amax(dim=0) + 1
            found.append(torch.stack([low[1], low[0], high[1], high[0]]).float())
        return torch.stack(found)[:, None], torch.full((len(images), 1), float(images.shape[2]))


def test_boxes_are_in_pixels_of_the_image() -> None:
    """Whatever the size of the view and the place of the crop in it, a net that is right has an IoU near 1."""
    image = torch.zeros(3, 60, 90, dtype=torch.uint8)
    image[:, 20:45, 30:60] = 255
    truth = (np.array([[30, 20, 60, 45]], np.float32),)
    data = TASK.open(TINY, Path())
    layout = TASK.layout(TASK.net("rpn-resnet-8"), 10)
    net = Oracle(layout, torch.Generator().manual_seed(0)).eval()

    class One:
        def __len__(self) -> int:
            return 1

        def image(self, _: int) -> torch.Tensor:
            return image

    object.__setattr__(data, "test", One())
    data.__dict__["test_labels"] = torch.tensor([3])
    boxes, ranks = localise(net, data, "fp32", None, ALONE)

    assert np.abs(boxes - truth[0]).max() < 2
    assert (1, 2, 4) == boxes.shape
    assert 0 <= ranks[0] < 10


def test_an_rpn_answers_what_it_is_asked(data: LocalisationData) -> None:
    """One class's weights do not touch another's boxes."""
    net = build("rpn", TASK.layout(TASK.net("rpn-resnet-8"), 10), 0).eval()
    assert isinstance(net, Rpn)
    images = data.normalize(data.test.image(0)[None])
    boxes, scores = net.boxes(images, torch.tensor([4]))
    net.score.weight.data[5] += 1
    net.offsets.bias.data[5] += 1

    assert torch.equal(boxes, net.boxes(images, torch.tensor([4]))[0])
    assert torch.equal(scores, net.boxes(images, torch.tensor([4]))[1])
    assert not torch.equal(boxes, net.boxes(images, torch.tensor([5]))[0])

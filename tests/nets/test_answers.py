"""Table 9's ways to answer, on made cases and on a small detector."""

from __future__ import annotations

import pytest
import torch
from test_faster_rcnn import detector, images

from resnet_cli.nets.answers import WAYS, two_scales, voted


def test_a_vote_by_hand() -> None:
    """A kept box moves to the mean of the boxes of its class that overlap it by half, weighted by their scores."""
    boxes, labels = torch.tensor([[0.0, 0, 10, 10], [40, 40, 50, 50]]), torch.tensor([1, 2])
    theirs = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [0, 0, 10, 4], [2, 0, 12, 10], [40, 40, 50, 50]])
    candidates = theirs, torch.tensor([1, 1, 1, 2, 2]), torch.tensor([0.75, 0.25, 0.5, 0.9, 0.3])

    assert [[0.5, 0, 10.5, 10], [40, 40, 50, 50]] == voted(boxes, labels, candidates).tolist()


def test_which_scales_see_a_region() -> None:
    """Of five sides those two at which its area is nearest 224 x 224: a larger one is seen at smaller images."""
    factors = torch.tensor([200, 400, 600, 800, 1000]) / 600
    sides = torch.tensor([20.0, 224, 350, 900])
    boxes = torch.stack([torch.zeros(4), torch.zeros(4), sides, sides], dim=1)

    assert [[3, 4], [2, 3], [1, 2], [0, 1]] == two_scales(boxes, factors, 600).tolist()
    assert [[3, 4], [2, 3], [1, 2], [0, 1]] == two_scales(boxes / 6, factors, 100).tolist()


@pytest.mark.parametrize("name", ["faster-rcnn-thin-resnet-18", "faster-rcnn-context-thin-resnet-18"])
@pytest.mark.parametrize("way", WAYS)
def test_other_answers(name: str, way: str) -> None:
    """Each way gives boxes within the image, at most 100 and sure enough, and not the plain way's."""
    pixels, sizes = images([(128, 96)])
    net = detector(name=name).eval()
    with torch.no_grad():
        (plain,), (found,) = net(pixels, sizes), net(pixels, sizes, way=WAYS[way])

    assert 0 < len(found["boxes"]) <= 100
    assert found["scores"].min() > 0.05
    assert found["boxes"].min() >= 0
    assert found["boxes"][:, 2].max() <= 96 + 1e-3
    assert found["boxes"][:, 3].max() <= 128 + 1e-3
    assert plain["boxes"].shape != found["boxes"].shape or not torch.allclose(plain["boxes"], found["boxes"])


def test_context_is_the_whole_image() -> None:
    """Beside each region's features stand those of a region that is the image, the same for all regions."""
    net = detector(name="faster-rcnn-context-thin-resnet-18").eval()
    maps = torch.rand(2, 64, 6, 8)
    boxes = [torch.tensor([[0.0, 0, 40, 40], [0, 0, 128, 96]]), torch.tensor([[16.0, 16, 64, 64]])]
    seen = net.roi_heads.describe(maps, boxes, [(96, 128), (96, 128)])
    own, around = seen.chunk(2, dim=1)

    assert torch.equal(own[1], around[0])
    assert torch.equal(around[0], around[1])
    assert not torch.equal(around[0], around[2])

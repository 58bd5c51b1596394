"""Table 9's ways to answer, on made cases and on a small detector."""

from __future__ import annotations

import pytest
import torch
from test_faster_rcnn import detector, images

from resnet_cli.nets import answers
from resnet_cli.nets.answers import PLAIN, WAYS, Look, joined, two_scales, voted
from resnet_cli.nets.faster_rcnn import Together


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


def test_regions_lie_right_at_every_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides are rounded to whole pixels: what is at the edge of the image is at the edge of its every size."""
    asked = []

    class Recorder:
        """In place of a detector's regions."""

        def describe(self, _: object, boxes: list[torch.Tensor], sizes: list[tuple[int, int]]) -> torch.Tensor:
            """Notes where the regions are, in which size of the image."""
            asked.append((boxes[0], sizes[0]))
            return torch.zeros(len(boxes[0]), 1)

    monkeypatch.setattr(answers, "two_scales", lambda boxes, *_: torch.tensor([[0, 1], [2, 3], [3, 4]])[: len(boxes)])
    size = (101, 157)
    seen = answers.seen_at_scales(Recorder(), torch.nn.Identity(), torch.rand(3, 90, 140), size, 101)
    seen(torch.tensor([[0.0, 0, 157, 101]] * 3))

    assert 6 == len(asked)
    for boxes, (height, width) in asked:
        assert boxes[0].tolist() == pytest.approx([0, 0, width, height], abs=1e-4)


def test_an_ensemble_by_hand() -> None:
    """Both classify the union of the proposals; probabilities are averaged, not logits, and so are offsets."""
    looks = [
        Look(
            torch.full((count, 4), float(count)),
            lambda boxes, first=first: (
                torch.tensor([[first, 0.0]]).repeat(len(boxes), 1),
                torch.full((len(boxes), 8), first),
            ),
            (10, 20),
            (5, 10),
        )
        for count, first in ((2, 0.0), (3, 4.0))
    ]
    look = joined(looks)
    logits, offsets = look.classify(look.proposals)
    mean = (0.5 + torch.tensor([4.0, 0.0]).softmax(0)[0]) / 2

    assert [2, 2, 3, 3, 3] == look.proposals[:, 0].tolist()
    assert ((10, 20), (5, 10)) == (look.shape, look.size)
    assert logits.softmax(dim=1)[:, 0].tolist() == pytest.approx([mean.item()] * 5)
    assert [[2.0] * 8] * 5 == offsets.tolist()


@pytest.mark.parametrize("way", [PLAIN, *WAYS.values()])
def test_a_net_with_itself_answers_as_alone(way: answers.Way) -> None:
    """The union of two equal sets of proposals finds the same objects: of two equal boxes one is suppressed."""
    pixels, sizes = images([(128, 96), (96, 96)])
    net = detector(name="faster-rcnn-context-thin-resnet-18").eval()
    with torch.no_grad():
        alone, together = net(pixels, sizes, way=way), Together([net, net])(pixels, sizes, way=way)

    for one, both in zip(alone, together, strict=True):
        assert torch.equal(one["labels"], both["labels"])
        assert torch.allclose(one["boxes"], both["boxes"], atol=1e-3)
        assert torch.allclose(one["scores"], both["scores"], atol=1e-5)


def test_members_see_each_others_proposals() -> None:
    """An ensemble of two nets classifies the proposals of both, and in whatever order answers the same."""
    pixels, sizes = images([(128, 96)])
    nets = [detector(name=f"faster-rcnn-thin-{family}-18").eval() for family in ("resnet", "plain")]
    with torch.no_grad():
        looks = [next(net.looks(pixels, sizes, PLAIN)) for net in nets]
        (one,), (other,) = (Together(each)(pixels, sizes) for each in (nets, nets[::-1]))
        logits, _ = joined(looks).classify(looks[1].proposals)
        alone = [look.classify(looks[1].proposals)[0].softmax(dim=1) for look in looks]

    assert torch.allclose(one["scores"], other["scores"], atol=1e-5)
    assert torch.allclose(logits.softmax(dim=1), (alone[0] + alone[1]) / 2, atol=1e-6)
    assert sum(len(look.proposals) for look in looks) == len(joined(looks).proposals)


def test_nothing_found_together() -> None:
    """Where no region is sure enough there are no boxes."""
    pixels, sizes = images([(128, 96)])
    net = detector().eval()
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.weight.zero_()
        net.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([9.0, 0, 0, 0, 0, 0]))
        for way in (PLAIN, *WAYS.values()):
            (found,) = Together([net, net])(pixels, sizes, way=way)
            assert (0, 4) == found["boxes"].shape

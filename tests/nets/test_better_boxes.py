"""Appendix B: refinement, voting, several sizes, context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.identity import Variant
from resnet_cli.nets import better_boxes
from resnet_cli.nets.better_boxes import Scored, View, answer, answers, scored
from resnet_cli.spec import Detector
from resnet_cli.tasks.detection import Voc

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.nets.faster_rcnn import FasterRCNN

VOC = Voc()
SMALL = Detector(
    sides=(96, 160),
    anchors=(24, 48),
    narrowest=4,
    before_nms=(200, 100),
    proposals=(50, 20),
    regions=16,
    negatives_from=0.0,
    grid=7,
)


def detector(name: str = "faster-rcnn-thin-resnet-18") -> FasterRCNN:
    """A small detector of five classes, whose answers differ enough for an order."""
    protocol = VOC.protocol.model_copy(update={"detector": SMALL})
    net = VOC._build(VOC.net(name), Variant(dataset="drawn-scenes"), 0, 5, protocol)
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.weight.mul_(100)
        net.roi_heads.box_predictor.bbox_pred.weight.mul_(30)
    return net.eval()


def noise(height: int = 96, width: int = 128) -> Tensor:
    """An image of blocks."""
    blocks = torch.randint(0, 256, (3, height // 8, width // 8), generator=torch.Generator().manual_seed(0))
    return blocks.to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.mark.parametrize("name", ["faster-rcnn-thin-resnet-18", "faster-rcnn-context-thin-resnet-18"])
@torch.no_grad()
def test_the_baseline_is_the_detectors_own_answer(name: str) -> None:
    """Without refinement and voting the same boxes, labels and scores."""
    net, image = detector(name), noise()
    (own,) = net(image[None], torch.tensor([[96, 128]]))
    found = answers(net, image)["baseline"]

    assert len(own["boxes"]) > 3
    for key, each in zip(("boxes", "labels", "scores"), found, strict=True):
        torch.testing.assert_close(own[key], each)


def test_voting_by_hand() -> None:
    """A kept box is the mean of its class's boxes that overlap it by half, by their scores; others have no vote."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [0, 0, 10, 9]])[:, None].repeat(1, 3, 1)
    probabilities = torch.tensor([[0.1, 0.9, 0], [0.7, 0.3, 0], [0.4, 0.6, 0], [0.2, 0, 0.8]])
    found, labels, scores = answer(Scored(probabilities, boxes), vote=True)

    assert scores.tolist() == pytest.approx([0.9, 0.8])
    assert [1, 2] == labels.tolist()
    assert found.tolist() == [pytest.approx([0, 0, 10, (0.9 * 10 + 0.3 * 8) / 1.2]), pytest.approx([0, 0, 10, 9])]


def test_voting_of_one_box_changes_nothing() -> None:
    """A box without others near it votes alone."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 70]])[:, None].repeat(1, 2, 1)
    probabilities = torch.tensor([[0.2, 0.8], [0.4, 0.6]])
    with_votes, without = (answer(Scored(probabilities, boxes), vote=vote) for vote in (True, False))

    for one, other in zip(with_votes, without, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_refinement_joins_both_looks() -> None:
    """The second look is at the box of the likeliest class of each region; all boxes of both looks are judged."""
    net, image = detector(), noise()
    resized, features, proposals = net.proposals_of(image)
    shape = tuple(resized.shape[1:])
    views = [View(features, shape)]
    first = scored(net, views, proposals, shape)
    likeliest = first.probabilities[:, 1:].argmax(dim=1) + 1
    regions = torch.stack([first.boxes[number, each] for number, each in enumerate(likeliest)])
    joined = first.joined(scored(net, views, regions.clamp(min=0), shape))
    own = answers(net, image)["refined"]

    torch.testing.assert_close(first.best, regions)
    assert 2 * len(proposals) == len(joined.boxes)
    for one, other in zip(answer(joined, vote=True), own, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_one_size_alone_is_no_other_test() -> None:
    """With the detector's own scale alone the answer is that of refinement."""
    net, image = detector(), noise()
    found = answers(net, image, scales=(1.0,))

    for one, other in zip(found["refined"], found["multi"], strict=True):
        torch.testing.assert_close(one, other)


def test_a_region_is_seen_in_two_adjacent_sizes() -> None:
    """In that in which its side is nearest to 224 of 600, and in the nearer of its neighbours."""
    views = [View(torch.zeros(0), (side, side)) for side in (200, 400, 600, 800, 1000)]
    sides = torch.tensor([134.0, 224, 300, 600, 1200])  # at 1000 = 223 px; at 600; at 448; ...
    regions = torch.stack([torch.zeros(5), torch.zeros(5), sides, sides], dim=1)
    seen = better_boxes._two_nearest(views, regions, (600, 600))

    assert [[3, 4], [2, 3], [1, 2], [0, 1], [0, 1]] == [each.nonzero()[:, 0].tolist() for each in seen.T]


@torch.no_grad()
def test_the_greater_of_two_descriptions_counts() -> None:
    """Element by element, of the two sizes in which a region is seen; a region of a third size changes nothing."""
    net, image = detector(), noise()
    resized, features, _ = net.proposals_of(image)
    shape = tuple(resized.shape[1:])
    normal = net.transform.normalize(image.float() / 255)
    other = better_boxes._view(net, normal, shape, 4 / 3)
    region = torch.tensor([[20.0, 20, 52, 52]])
    ratio = torch.tensor([other.size[1] / shape[1], other.size[0] / shape[0]]).repeat(2)
    one = net.roi_heads.describe(features, [region], [shape])
    two = net.roi_heads.describe(other.features, [region * ratio], [other.size])
    logits, _ = net.roi_heads.box_predictor(torch.maximum(one, two))
    found = scored(net, [View(features, shape), other], region, shape)

    assert not torch.equal(one, two)
    torch.testing.assert_close(found.probabilities, logits.softmax(dim=1))


@torch.no_grad()
def test_context_is_the_whole_image_as_a_region() -> None:
    """Its features stand behind each region's own, each image's its own, whatever a map is padded with."""
    net = detector("faster-rcnn-context-thin-resnet-18")
    _, features, _ = net.proposals_of(noise())
    regions, whole = torch.tensor([[8.0, 8, 40, 60], [0, 0, 90, 90]]), torch.tensor([[0.0, 0, 128, 96]])
    heads = net.roi_heads
    heads.context = False
    own, around = (heads.describe(features, [each], [(96, 128)]) for each in (regions, whole))
    heads.context = True
    padded = torch.nn.functional.pad(features, (0, 3, 0, 2))
    found = heads.describe(torch.cat([padded, padded + 1]), [regions, regions[:1]], [(96, 128), (96, 128)])

    assert (3, 2 * own.shape[1]) == found.shape
    torch.testing.assert_close(found[:2], torch.cat([own, around.expand(2, -1)], dim=1))
    assert not torch.equal(found[0], found[2])


def test_parameters_with_context() -> None:
    """As many as the layers say: the siblings have twice the inputs."""
    net = VOC.net("faster-rcnn-context-thin-resnet-18")
    built = VOC.build(net, Variant(dataset="drawn-scenes"), 0, VOC.classes)
    fixed = VOC.build(VOC.net("faster-rcnn-thin-resnet-18"), Variant(dataset="drawn-scenes"), 0, VOC.classes)
    counted, without = (sum(each.numel() for each in every.parameters()) for every in (built, fixed))

    assert VOC.parameters(net) == counted == without + 128 * 21 * 5


def test_context_is_of_residual_nets() -> None:
    """VGG-16 has none."""
    with pytest.raises(ValueError, match="is not a detector"):
        VOC.net("faster-rcnn-context-vgg-16")


def test_nothing_found_is_no_error() -> None:
    """No region with a score is no box."""
    boxes, labels, scores = answer(Scored(torch.tensor([[1.0, 0]]), torch.zeros(1, 2, 4)), vote=True)

    assert ((0, 4), (0,), (0,)) == (boxes.shape, labels.shape, scores.shape)

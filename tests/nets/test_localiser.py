"""The per-class RPN and the R-CNN on it (appendix C)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from resnet_cli.nets.boxes import offsets
from resnet_cli.nets.complexity import layers
from resnet_cli.nets.layout import Layout
from resnet_cli.nets.localiser import (
    DEVIATIONS,
    RPN_BETA,
    SAMPLED,
    PerClass,
    Rcnn,
    Rpn,
    build,
    layers_of_head,
    misses,
    sampled,
)
from resnet_cli.nets.resnet import ResNet

LAYOUT = Layout(3, 8, halves=True, blocks=(1, 1), widths=(8, 16), block="basic", shortcut="A", classes=5)  # stride 8
SIDE = 32


def a_batch(count: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, labels, one box in each but the last, draws."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(count, 8, 4)
    truth[:-1, 0] = torch.tensor([4.0, 4, 24, 20])
    images = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return images, torch.arange(count) % 5, truth, torch.rand(count, 145, generator=generator)


def test_a_class_has_its_own_outputs() -> None:
    """Another class's weights change nothing, and its own do; equal to a convolution that makes all classes'."""
    layer = PerClass(3, 4, 2, 1.0, torch.Generator().manual_seed(0))
    layer.bias.data = torch.randn(3, 2)
    features, labels = torch.randn(2, 4, 6), torch.tensor([2, 0])
    every = functional.conv1d(features, layer.weight.reshape(6, 4, 1), layer.bias.reshape(6)).reshape(2, 3, 2, 6)

    torch.testing.assert_close(layer(features, labels), every[torch.arange(2), labels])


def test_anchors_are_sampled_one_to_one() -> None:
    """Of many positive ones four, the rest of eight negative; what is between is neither; an empty object has none."""
    found = torch.zeros(2, 40, 2)
    found[0, :10, 0], found[0, 10:20, 0] = 0.8, 0.5
    draws = torch.linspace(0, 0.99, 40).flip(0).expand(2, 40)
    positive, negative = sampled(found, draws)

    assert [6, 7, 8, 9] == positive[0].nonzero()[:, 0].tolist()
    assert [36, 37, 38, 39] == negative[0].nonzero()[:, 0].tolist()
    assert (0, SAMPLED) == (positive[1].sum(), negative[1].sum())


def test_an_object_has_a_positive_anchor() -> None:
    """Its best one, however bad, with all that are as good; the others make up for those that are missing."""
    found = torch.full((1, 40, 1), 0.1)
    found[0, [3, 5]] = 0.2
    positive, negative = sampled(found, torch.rand(1, 40))

    assert [3, 5] == positive[0].nonzero()[:, 0].tolist()
    assert SAMPLED - 2 == negative.sum()


def test_the_rpn_loss_by_hand() -> None:
    """Mean log loss of the sampled anchors, and a smooth L1 loss of the positive ones over eight, of the true class."""
    net = build("rpn", LAYOUT, 0)
    assert isinstance(net, Rpn)
    images, labels, truth, draws = a_batch()
    loss, wrong = net(images, labels, truth, draws)
    scores, by, places = net.proposals(images, labels)
    expected = 0.0
    for image in range(4):
        boxes = truth[image : image + 1, :1]
        iou = box_iou(places, boxes[0])[None] if image < 3 else torch.zeros(1, len(places), 1)
        positive, negative = (each[0].nonzero()[:, 0] for each in sampled(iou, draws[image : image + 1, : len(places)]))
        chosen = torch.cat([positive, negative])
        targets = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))])
        expected += functional.binary_cross_entropy_with_logits(scores[image, chosen], targets).item() / 4
        if len(positive):
            wanted = offsets(places[positive], boxes[0])
            moves = functional.smooth_l1_loss(by[image, positive], wanted, beta=RPN_BETA, reduction="sum")
            expected += moves.item() / SAMPLED / 4

    assert expected == pytest.approx(loss.item(), rel=1e-5)
    assert 0 <= wrong <= 3


@pytest.mark.parametrize("kind", ["rpn", "rcnn"])
def test_what_is_taken_over_stays(kind: str) -> None:
    """An update changes neither the classifier's weights nor its statistics, nor an R-CNN's RPN; all else it does."""
    net = build(kind, LAYOUT, 0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), 0.1, weight_decay=0.1)
    net.train()
    images, labels, truth, draws = a_batch()
    draws[:, 0] = 0  # an R-CNN's regions are objects
    loss, _ = net(images, labels, truth, draws)
    loss.backward()
    optimizer.step()
    fixed = {"rpn": "classifier.", "rcnn": "rpn."}[kind]
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}

    assert changed == {name for name in before if not name.startswith(fixed)}


@pytest.mark.parametrize("kind", ["", "rpn", "rcnn"])
def test_parameters_are_counted(kind: str) -> None:
    """What is learned, as the layers say."""
    net = build(kind, LAYOUT, 0)
    *trunk, fc = layers(LAYOUT, SIDE)
    counted = [*trunk, *layers_of_head(kind, LAYOUT, SIDE)] if kind else [*trunk, fc]

    assert sum(each.parameters for each in counted) == sum(
        each.numel() for each in net.parameters() if each.requires_grad
    )
    assert torch.equal(
        net.state_dict()[next(iter(net.state_dict()))],
        build(kind, LAYOUT, 0).state_dict()[next(iter(net.state_dict()))],
    )


def test_the_rcnn_learns_half_of_its_regions_from_objects() -> None:
    """Where a draw is below a half the region has an IoU of 0.5 with an object, if one has; else it has not."""
    net = build("rcnn", LAYOUT, 0)
    assert isinstance(net, Rcnn)
    images, labels, truth, draws = a_batch(2)
    truth[1] = truth[0]
    seen = []
    net.judged = lambda _images, regions, *_: (
        seen.append(regions[:, 0])
        or (  # type: ignore[method-assign, func-returns-value]
            torch.zeros(2, 1),
            torch.zeros(2, 1, 4),
        )
    )
    draws[:, 0] = torch.tensor([0.1, 0.9])
    net(images, labels, truth, draws)

    assert [False, True] == misses(seen[0], truth).tolist()


def test_a_whole_image_as_region_is_the_image() -> None:
    """A region is cut out and warped: that of the whole image gives what the trunk makes of it."""
    net = build("rcnn", LAYOUT, 0).eval()
    assert isinstance(net, Rcnn)
    flat = torch.full((1, 3, SIDE, SIDE), 0.7)
    scores, by = net.judged(flat, torch.tensor([[[0.0, 0, SIDE, SIDE]]]), torch.tensor([1]), SIDE)
    features = net.trunk.features(flat).mean(dim=(2, 3))[:, :, None]

    torch.testing.assert_close(scores[0], net.score(features, torch.tensor([1]))[0, 0])
    torch.testing.assert_close(by[0, 0], net.offsets(features, torch.tensor([1]))[0, :, 0])
    assert DEVIATIONS == pytest.approx(net.deviations.tolist())


def test_a_trunk_has_no_classifier() -> None:
    """What is not used is not there, so that nothing waits for its gradient."""
    net = build("rpn", LAYOUT, 0)
    assert isinstance(net, Rpn)

    assert isinstance(net.trunk, ResNet)
    assert not [name for name, _ in net.trunk.named_parameters() if name.startswith("fc")]

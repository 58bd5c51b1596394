from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.nets.answers import PLAIN
from resnet_cli.nets.faster_rcnn import FasterRCNN, Pixels, joint_loss
from resnet_cli.nets.regions import Anchors, Regions
from resnet_cli.nets.resnet import BatchNorm
from resnet_cli.spec import Detector, Protocol
from resnet_cli.tasks.detection import Voc
from resnet_cli.tasks.detection.detection import take_over
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def detector(settings: Detector = SMALL, name: str = "faster-rcnn-thin-resnet-18") -> FasterRCNN:
    """A small detector of five classes, whose answers differ enough for an order."""
    protocol = VOC.protocol.model_copy(update={"detector": settings})
    net = VOC._build(VOC.net(name), _variant(), 0, 5, protocol)
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.weight.mul_(100)
    return net


def _variant() -> object:
    from resnet_cli.identity import Variant

    return Variant(dataset="drawn-scenes")


def images(sizes: Iterable[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Noise, each image in the corner of one as large as the largest; and their sizes."""
    sizes = list(sizes)
    generator = torch.Generator().manual_seed(0)
    height, width = (max(column) for column in zip(*sizes, strict=True))
    pixels = torch.zeros(len(sizes), 3, height, width, dtype=torch.uint8)
    for number, (rows, columns) in enumerate(sizes):
        blocks = torch.randint(0, 256, (3, rows // 8, columns // 8), generator=generator, dtype=torch.uint8)
        pixels[number, :, :rows, :columns] = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return pixels, torch.tensor(sizes)


def test_an_image_alone_and_in_a_batch() -> None:
    """An image has the same boxes alone and beside larger ones, behind whose edges it is padded: to 1e-4."""
    pixels, sizes = images([(128, 128), (96, 128), (128, 96), (128, 128)])
    net = detector().eval()
    with torch.no_grad():
        together = net(pixels, sizes)
        alone = [
            net(pixels[number : number + 1, :, :height, :width], sizes[number : number + 1])[0]
            for number, (height, width) in enumerate(sizes.tolist())
        ]

    assert min(len(each["labels"]) for each in together) > 5
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one["boxes"], other["boxes"], atol=1e-4, rtol=0)
        torch.testing.assert_close(one["scores"], other["scores"], atol=1e-4, rtol=0)
        assert one["labels"].tolist() == other["labels"].tolist()


def test_boxes_lie_in_the_image_as_it_was() -> None:
    """Boxes are in pixels of the image before it was resized, and within it; at most 100, surer than 0.05."""
    pixels, sizes = images([(64, 128)])
    with torch.no_grad():
        (found,) = detector().eval()(pixels, sizes)

    assert 0 < len(found["boxes"]) <= 100
    assert found["boxes"].min() >= 0
    assert found["boxes"][:, 2].max() <= 128 + 1e-4
    assert found["boxes"][:, 3].max() <= 64 + 1e-4
    assert found["boxes"][:, 2].max() > 64
    assert found["scores"].min() > 0.05
    assert {1, 2, 3, 4, 5} >= set(found["labels"].tolist())


def test_anchors_stand_in_the_middle_of_cells() -> None:
    """The square anchor of the first cell is centred at 8, 8, its neighbour's 16 pixels to the right."""
    anchors = Anchors((16,))
    (boxes,) = anchors(_ImageList([(32, 48)]), [torch.zeros(1, 1, 2, 3)])

    assert (2 * 3 * 3, 4) == tuple(boxes.shape)
    assert [[0, 0, 16, 16], [16, 0, 32, 16], [32, 0, 48, 16], [0, 16, 16, 32]] == boxes[1::3][:4].tolist()


class _ImageList:
    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.image_sizes = sizes


def test_anchors_that_cross_the_edge_are_left_out() -> None:
    """They have the label -1, even where one is an object's best; of the others the best becomes positive."""
    net = detector(SMALL.model_copy(update={"anchors": (16,)}))
    anchors = torch.tensor([[-4.0, 0, 12, 16], [4, 0, 20, 16], [16, 0, 32, 16]])
    target = {"boxes": torch.tensor([[0.0, 0, 12, 16]]), "size": torch.tensor([16, 32])}
    (labels,), _ = net.rpn.assign_targets_to_anchors([anchors], [target])

    assert [-1, 1, 0] == labels.tolist()


@pytest.mark.parametrize(("least", "expected"), [(0.0, [1, 0, 0]), (0.1, [1, 0, -1])])
def test_what_is_background(least: float, expected: list[int]) -> None:
    """Regions that overlap an object by half or more are of its class, less is background, down to a least overlap."""
    regions = Regions(nn.Identity(), nn.Identity(), SMALL.model_copy(update={"negatives_from": least}), 7)
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    proposals = torch.tensor([[0.0, 0, 10, 6], [0, 0, 10, 4], [0, 9.5, 10, 19]])
    _, (labels,) = regions.assign_targets_to_proposals([proposals], [boxes], [torch.tensor([1])])

    assert expected == labels.tolist()


def test_norms_are_fixed() -> None:
    """No scale, shift or statistic of batch normalisation is trained, and it computes what a classifier's does."""
    net = detector().train()
    norm = BatchNorm(16).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
    take_over(net, {f"bn1.{name}": tensor for name, tensor in norm.state_dict().items()})
    x = torch.randn(2, 16, 5, 5)

    assert not any("bn" in name or "downsample" in name for name, _ in net.named_parameters())
    torch.testing.assert_close(norm(x), net.backbone.stem.bn1(x))


def test_the_first_stages_are_not_trained() -> None:
    """conv1 and conv2_x stay as they are, unless the settings say otherwise."""
    frozen = {name for name, each in detector().named_parameters() if not each.requires_grad}

    assert frozen
    assert all(name.startswith(("backbone.stem", "backbone.layer1")) for name in frozen)
    assert all(each.requires_grad for each in detector(SMALL.model_copy(update={"frozen": 0})).parameters())


def test_sampling_is_a_function_of_the_keys() -> None:
    """The same keys give the same losses, other keys others; what torch draws next is as before."""
    pixels, sizes = images([(128, 128), (96, 128)])
    boxes, labels = torch.tensor([[[10.0, 10, 60, 60], [50, 40, 90, 90]]] * 2), torch.tensor([[1, 2], [3, 0]])
    net = detector().train()
    torch.manual_seed(1)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    first, again, other = (
        [each.tolist() for each in joint_loss(net, pixels, sizes, boxes, labels, torch.tensor([5, key]))]
        for key in (6, 6, 7)
    )

    assert drawn.tolist() == torch.rand(3).tolist()
    assert first == again
    assert first[0] != other[0]


class Toy(nn.Module):
    """A map of one channel: each cell is the mean of its 16 x 16 pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1, H / 16, W / 16)."""
        return nn.functional.avg_pool2d(x.mean(dim=1, keepdim=True), 16)


def test_an_update_by_hand() -> None:  # noqa: PLR0915  each of the losses and gradients is a line
    """One update of a detector with two anchors that count, calculated with pencil and paper.

    The map has two cells, a and b, and each cell's square anchor fills it; the other anchors cross the edge. The object
    fills three quarters of the first cell: its anchor is positive, the other negative. No proposal is wide enough, so
    the only region is the object's own box, whose largest cell is what the siblings see.
    """
    generator = torch.Generator().manual_seed(3)
    settings = Detector(sides=(16, 32), anchors=(16,), narrowest=1000, regions=4, negatives_from=0, frozen=0, grid=2)
    head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    net = FasterRCNN(nn.Sequential(Toy()), head, (1, 1), 2, settings, 2, Pixels((0.0, 0.0, 0.0)), generator)
    with torch.no_grad():
        for each in net.parameters():
            each.normal_(0, 0.5, generator=generator)
        net.rpn.head.conv[0][0].bias.fill_(3.0)  # so that its ReLU passes everything
    before = {name: each.clone() for name, each in net.state_dict().items()}
    pixels = torch.cat([torch.full((1, 3, 16, 16), 102), torch.full((1, 3, 16, 16), 204)], dim=3).byte()
    box, size = torch.tensor([[[0.0, 0, 16, 12]]]), torch.tensor([[16, 32]])
    protocol = Protocol(batch_size=2, warmup=None, weight_decay=0.1, bias_rate=2.0)
    step = EagerStep(net, protocol, "fp32", torch.device("cpu"), loss=joint_loss)
    rate = 0.1
    loss, wrong, *parts = step(pixels, size, box, torch.tensor([[2]]), torch.tensor([0]), rate)

    a, b = 0.4, 0.8
    kernel = before["rpn.head.conv.0.0.weight"][0, 0]
    hidden = torch.tensor([kernel[1, 1] * a + kernel[1, 2] * b, kernel[1, 0] * a + kernel[1, 1] * b])
    hidden = hidden + before["rpn.head.conv.0.0.bias"]
    weight, bias = before["rpn.head.cls_logits.weight"][1, 0, 0, 0], before["rpn.head.cls_logits.bias"][1]
    logits = weight * hidden + bias
    truth = torch.tensor([1.0, 0.0])
    objectness = torch.where(truth > 0, -logits.sigmoid().log(), -(1 - logits.sigmoid()).log()).mean()
    off = (logits.sigmoid() - truth) / 2
    wanted = torch.tensor([0.0, -2 / 16, 0.0, torch.tensor(12 / 16).log()])  # from the anchor to the box
    rows = slice(4, 8)  # of the square anchor
    apart = before["rpn.head.bbox_pred.weight"][rows, 0, 0, 0] * hidden[0] + before["rpn.head.bbox_pred.bias"][rows]
    apart = apart - wanted
    smooth = torch.where(apart.abs() < 1 / 9, apart**2 * 9 / 2, apart.abs() - 1 / 18).sum() / 2
    scores = before["roi_heads.box_predictor.cls_score.weight"][:, 0] * b
    scores = scores + before["roi_heads.box_predictor.cls_score.bias"]
    offsets = before["roi_heads.box_predictor.bbox_pred.weight"][8:12, 0] * b
    offsets = offsets + before["roi_heads.box_predictor.bbox_pred.bias"][8:12]  # of class 2; the box is right as it is
    classes = -scores.log_softmax(dim=0)[2]
    boxes = torch.where(offsets.abs() < 1, offsets**2 / 2, offsets.abs() - 0.5).sum()

    by_hand = [float(each) for each in (objectness, smooth, classes, boxes)]

    assert by_hand == pytest.approx([*map(float, parts)], rel=1e-5)
    assert float(objectness + smooth + classes + boxes) == pytest.approx(float(loss))
    assert float(scores.argmax() != 2) == float(wrong)

    miss = scores.softmax(dim=0) - torch.tensor([0.0, 0.0, 1.0])
    pull, near = (9 * apart).clamp(-1, 1) / 2, offsets.clamp(-1, 1)

    def after(name: str, gradient: Tensor, rows: slice = slice(None)) -> None:
        was, times = before[name][rows], 2 if name.endswith("bias") else 1
        expected = was - times * rate * (gradient.reshape(was.shape) + 0.1 * was)
        torch.testing.assert_close(net.state_dict()[name][rows], expected, rtol=1e-5, atol=1e-6)

    after("rpn.head.cls_logits.weight", (off * hidden).sum(), slice(1, 2))
    after("rpn.head.cls_logits.bias", off.sum(), slice(1, 2))
    after("rpn.head.bbox_pred.weight", pull * hidden[0], rows)
    after("rpn.head.bbox_pred.bias", pull, rows)
    after("roi_heads.box_predictor.cls_score.weight", miss * b)
    after("roi_heads.box_predictor.cls_score.bias", miss)
    after("roi_heads.box_predictor.bbox_pred.weight", near * b, slice(8, 12))
    after("roi_heads.box_predictor.bbox_pred.bias", near, slice(8, 12))


@pytest.mark.parametrize(
    "name",
    [
        "faster-rcnn-thin-resnet-18",
        "faster-rcnn-thin-plain-34",
        "faster-rcnn-resnet-50",
        pytest.param("faster-rcnn-resnet-101", marks=pytest.mark.long),
        pytest.param("faster-rcnn-resnet-152", marks=pytest.mark.long),
        pytest.param("faster-rcnn-vgg-16", marks=pytest.mark.long),
    ],
)
def test_parameters(name: str) -> None:
    """A detector has as many parameters as are shown in tables; drawing a large net's weights takes seconds."""
    net = VOC.net(name)

    assert VOC.parameters(net) == sum(each.numel() for each in VOC.build(net, _variant(), 0, VOC.classes).parameters())


def test_detectors_names() -> None:
    """A name of no detector is told, with those that there are."""
    for name in ("faster-rcnn-resnet-34", "faster-rcnn-vgg-19", "resnet-50", "faster-rcnn-thin-resnet-50"):
        with pytest.raises(ValueError, match="is not a detector; write faster-rcnn-vgg-16"):
            VOC.net(name)


def test_in_bf16_boxes_keep_their_places() -> None:
    """In mixed precision losses are near those in fp32, and boxes are not rounded to eight bits."""
    pixels, sizes = images([(128, 128)])
    boxes, labels = torch.tensor([[[10.0, 10, 60, 60]]]), torch.tensor([[1]])
    net = detector().train()
    batch = pixels, sizes, boxes, labels, torch.tensor([5])
    with torch.no_grad():
        exact = joint_loss(net, *batch)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = joint_loss(net, *batch)
            (found,) = net.eval()(pixels, sizes)

    assert {torch.float32} == {each.dtype for each in (found["boxes"], found["scores"], rounded[0])}
    assert float(rounded[2]) == pytest.approx(float(exact[2]), rel=0.05)
    assert len(set(found["boxes"].flatten().tolist())) > len(set(found["boxes"].bfloat16().flatten().tolist()))


def test_proposals_are_exact_in_bf16() -> None:
    """Boxes of bf16 would have eight bits: beyond 512 pixels steps of 4."""
    pixels, sizes = images([(96, 160)])
    net = detector().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        look = next(net.looks(pixels, sizes, PLAIN))

    assert torch.float32 == look.proposals.dtype
    assert not torch.equal(look.proposals, look.proposals.bfloat16().float())

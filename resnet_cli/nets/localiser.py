"""Nets that localise objects of a given class (appendix C): a per-class region proposal network, and an R-CNN.

Each learns to find objects of a given class, and is asked for one class at a time. In training their `forward` returns
losses, since the target at each place depends on the boxes.

Choices that the paper leaves open: anchors of 1.75, 3.5 and 7 strides (56, 112 and 224 pixels at stride 32) with
ratios 1:2, 1:1 and 2:1, on the last map, including those that cross the crop's edge; losses for the true class only; a
3x3 layer of 512 filters before the siblings, as in Faster R-CNN with VGG-16; the R-CNN trains on one region per image
from the training crop's own proposals, half of them with IoU >= 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align  # type: ignore[import-untyped]

from resnet_cli.nets.boxes import RATIOS, anchors, clipped, grown, moved, offsets, overlaps
from resnet_cli.nets.complexity import Layer
from resnet_cli.nets.loss import cross_entropy
from resnet_cli.nets.resnet import ResNet

if TYPE_CHECKING:
    from resnet_cli.nets.layout import Layout

SIDES = (1.75, 3.5, 7.0)  # of the anchors, in strides
ANCHORS = len(SIDES) * len(RATIOS)  # per place
WIDTH = 512  # of the layer before an RPN's siblings, but at most the map's
POSITIVE, NEGATIVE = 0.7, 0.3  # IoU of anchors, Faster R-CNN's
SAMPLED = 8  # anchors per image, positive to negative 1:1 (appendix C)
REGION_IS_POSITIVE = 0.5  # IoU, R-CNN's
RPN_BETA = 1 / 9  # of the smooth L1 loss; Faster R-CNN's code
DEVIATIONS = (0.1, 0.1, 0.2, 0.2)  # Fast R-CNN's: offsets are learned in these units
REGIONS = 200  # number of best boxes that the R-CNN scores (appendix C)


class Classifier(ResNet):
    """A net that classifies an image, trained as any other; it does not localise."""

    def forward(self, images: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        """Logits (N, C) of images; if called with a whole batch, its mean loss and the number of wrong answers."""
        if not others:
            return super().forward(images)
        return cross_entropy(super().forward, images, others[0])


class PerClass(nn.Module):
    """A linear layer with separate outputs for each class; it computes only those of the classes asked for.

    Args:
        classes: Number of classes.
        inputs: Number of features.
        outputs: Outputs per class.
        deviation: Standard deviation of the initial weights, normal around 0; biases start at 0.
        generator: Draws the initial weights.
    """

    def __init__(self, classes: int, inputs: int, outputs: int, deviation: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, outputs, inputs).normal_(0, deviation, generator=generator))
        self.bias = nn.Parameter(torch.zeros(classes, outputs))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Features (B, inputs, P) of P places, and the class of each image (B,), to (B, outputs, P) in float32."""
        return torch.baddbmm(self.bias[labels][:, :, None], self.weight[labels], features.float())


class Rpn(nn.Module):
    """A region proposal network for each class (appendix C), on a classifier's convolutions.

    It contains the classifier, unchanged, which predicts the classes in a test.
    """

    def __init__(self, layout: Layout, generator: torch.Generator) -> None:
        super().__init__()
        self.classifier = Classifier(layout).requires_grad_(requires_grad=False)
        self.trunk = trunk(layout)
        self.stride = stride_of(layout)
        inputs = layout.widths[-1] * layout.expansion
        width = min(WIDTH, inputs)
        self.conv = nn.Conv2d(inputs, width, 3, padding=1)
        nn.init.normal_(self.conv.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        self.score = PerClass(layout.classes, width, ANCHORS, 0.01, generator)
        self.offsets = PerClass(layout.classes, width, 4 * ANCHORS, 0.01, generator)

    def train(self, mode: bool = True) -> Self:
        """The classifier stays in evaluation mode, so its statistics do not change."""
        super().train(mode)
        self.classifier.eval()
        return self

    def proposals(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes for objects of one class in each image.

        Args:
            images: (B, 3, H, W).
            labels: (B,) the class to look for.

        Returns:
            Scores (B, N), before the sigmoid; offsets (B, N, 4) from the anchors to the boxes; and the anchors (N, 4).
        """
        x = self.conv(self.trunk.features(images)).relu()
        height, width = x.shape[2:]
        x = x.flatten(2)
        scores = self.score(x, labels).transpose(1, 2).flatten(1)
        by = self.offsets(x, labels).transpose(1, 2).reshape(len(images), -1, 4)
        return scores, by, anchors(height, width, self.stride, tuple(s * self.stride for s in SIDES)).to(images.device)

    def boxes(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (B, N, 4) for the class of each image, clipped to the image, and their scores (B, N)."""
        scores, by, places = self.proposals(images, labels)
        return clipped(moved(places, by), *images.shape[2:]), scores

    def forward(self, images: Tensor, labels: Tensor, truth: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch, and the number of images whose best box of the true class has an IoU below 0.5.

        Args:
            images: (B, 3, H, W).
            labels: (B,).
            truth: (B, K, 4), the objects' boxes, padded with empty boxes.
            draws: (B, D) random numbers, uniform in [0, 1); D is at least the number of anchors.
        """
        scores, by, places = self.proposals(images, labels)
        found = overlaps(places.expand(len(images), -1, -1), truth)
        positive, negative = sampled(found, draws[:, : len(places)])
        targets = offsets(places, nearest(found, truth))
        classified = functional.binary_cross_entropy_with_logits(scores, positive.float(), reduction="none")
        moves = functional.smooth_l1_loss(by, targets, reduction="none", beta=RPN_BETA).sum(dim=2)
        # `where` drops anchors that were not sampled, whose targets may be NaN: an empty box has no logarithm.
        chosen = positive | negative
        total = classified.where(chosen, 0).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)
        total = total + moves.where(positive, 0).sum(dim=1) / SAMPLED
        with torch.no_grad():
            best = moved(places, by)[torch.arange(len(images)), scores.argmax(dim=1)]
            missed = misses(best, truth).sum()
        return total.mean(), missed


class Rcnn(nn.Module):
    """An R-CNN (appendix C): cuts out the best boxes of an RPN, warps them, and scores them again, per class.

    It contains the RPN, unchanged.
    """

    def __init__(self, layout: Layout, generator: torch.Generator) -> None:
        super().__init__()
        self.rpn = Rpn(layout, generator).requires_grad_(requires_grad=False)
        self.trunk = trunk(layout)
        inputs = layout.widths[-1] * layout.expansion
        self.score = PerClass(layout.classes, inputs, 1, 0.01, generator)
        self.offsets = PerClass(layout.classes, inputs, 4, 0.001, generator)
        self.register_buffer("deviations", torch.tensor(DEVIATIONS), persistent=False)
        self.deviations: Tensor

    @property
    def classifier(self) -> Classifier:
        """The RPN's classifier."""
        return self.rpn.classifier

    def train(self, mode: bool = True) -> Self:
        """The RPN stays in evaluation mode, so its statistics do not change."""
        super().train(mode)
        self.rpn.eval()
        return self

    def judged(self, images: Tensor, regions: Tensor, labels: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Scores of regions, and offsets to better boxes.

        Args:
            images: (B, 3, H, W).
            regions: (B, N, 4), each with a positive area.
            labels: (B,) the class to look for in each image.
            side: Side to which regions are warped, pixels.

        Returns:
            Scores (B, N) before the sigmoid, and offsets (B, N, 4) in units of `deviations`.
        """
        count = regions.shape[1]
        cut = roi_align(images, list(regions), side, sampling_ratio=2, aligned=True)
        x = self.trunk.features(cut).float().mean(dim=(2, 3))[:, :, None]
        classes = labels.repeat_interleave(count)
        return self.score(x, classes).view(-1, count), self.offsets(x, classes).view(-1, count, 4)

    def forward(self, images: Tensor, labels: Tensor, truth: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss over one region per image, and how many regions are scored wrongly; arguments as for `Rpn`.

        The score says whether the region's IoU is at least 0.5. This is true for half of the regions, as far as an
        image has such regions among its best boxes.
        """
        with torch.no_grad():
            boxes, scores = self.rpn.boxes(images, labels)
            best = scores.topk(min(REGIONS, scores.shape[1])).indices
            boxes = boxes.gather(1, best[:, :, None].expand(-1, -1, 4))
            found = overlaps(boxes, truth)
            positive = found.amax(dim=2) >= REGION_IS_POSITIVE
            wanted = positive == (draws[:, :1] < 0.5)  # noqa: PLR2004  for half of the images
            region = draws[:, 1 : 1 + boxes.shape[1]].add(wanted).argmax(dim=1)
            image = torch.arange(len(images), device=images.device)
            boxes, positive = grown(boxes[image, region][:, None]), positive[image, region]
            target = nearest(overlaps(boxes, truth), truth)
            by_target = (offsets(boxes, target) / self.deviations)[:, 0]
        scores, by = (each[:, 0] for each in self.judged(images, boxes, labels, images.shape[3]))
        classified = functional.binary_cross_entropy_with_logits(scores, positive.float())
        moves = functional.smooth_l1_loss(by, by_target, reduction="none").sum(dim=1).where(positive, 0).mean()
        return classified + moves, ((scores > 0) != positive).sum()


def trunk(layout: Layout) -> ResNet:
    """A classifier's convolutions, without its last layer."""
    net = ResNet(layout)
    net.fc = nn.Identity()  # type: ignore[assignment]
    return net


def take_over(to: ResNet, trained: ResNet) -> None:
    """Copies a trained classifier's convolutions, batch normalisation and statistics into a trunk."""
    state = trained.state_dict()
    to.load_state_dict({name: state[name] for name in to.state_dict()})


@torch.no_grad()
def sampled(found: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """The sampled positive and negative anchors, (B, N) bool each.

    An anchor is positive if its IoU with an object is above 0.7 or the greatest for this object, and negative if its
    IoU is below 0.3 and it is not positive. Of the eight per image up to half are positive, the others negative; those
    with the lowest draws are taken.

    Args:
        found: IoU with the objects, (B, N, K).
        draws: (B, N).
    """
    best = found.amax(dim=1, keepdim=True)
    positive = (found > POSITIVE).any(dim=2) | ((found == best) & (best > 0)).any(dim=2)
    negative = (found < NEGATIVE).all(dim=2) & ~positive

    def lowest(kind: Tensor, count: Tensor | int) -> Tensor:
        ranks = draws.where(kind, 1.0 + draws).argsort(dim=1).argsort(dim=1)
        return kind & (ranks < count)

    positive = lowest(positive, SAMPLED // 2)
    return positive, lowest(negative, SAMPLED - positive.sum(dim=1, keepdim=True))


def nearest(found: Tensor, truth: Tensor) -> Tensor:
    """The box of the object with the greatest IoU, (B, N, 4); `found` is (B, N, K), `truth` (B, K, 4)."""
    return truth.gather(1, found.argmax(dim=2)[:, :, None].expand(-1, -1, 4))


def misses(boxes: Tensor, truth: Tensor) -> Tensor:
    """Which boxes (B, 4) have an IoU below 0.5 with every object, (B,) bool; False for images without objects."""
    has_some = (truth[..., 2:] > truth[..., :2]).all(dim=2).any(dim=1)
    return (overlaps(boxes[:, None], truth).amax(dim=(1, 2)) < REGION_IS_POSITIVE) & has_some


def layers_of_head(kind: str, layout: Layout, side: int) -> list[Layer]:
    """The layers after the trunk, in the order of the forward pass; multiply-adds are for one class per image.

    Args:
        kind: `rpn` or `rcnn`.
        layout: The trunk's layout.
        side: Side of the input in pixels.
    """
    inputs = layout.widths[-1] * layout.expansion
    places, width = 1, inputs
    outputs = [("score", 1), ("offsets", 4)]
    found = []
    if kind == "rpn":
        places, width = (-(-side // stride_of(layout))) ** 2, min(WIDTH, inputs)
        found = [Layer("conv", (9 * inputs + 1) * width, 9 * inputs * width * places)]
        outputs = [(name, ANCHORS * count) for name, count in outputs]
    return found + [
        Layer(name, layout.classes * (width + 1) * count, width * count * places) for name, count in outputs
    ]


def stride_of(layout: Layout) -> int:
    """Pixels between two places of the last map."""
    return int(2 ** (len(layout.blocks) - 1)) * (4 if layout.halves else 1)


def build(kind: str, layout: Layout, seed: int) -> Classifier | Rpn | Rcnn:
    """Builds a net on the CPU, with weights that are a pure function of the seed.

    Args:
        kind: `rpn`, `rcnn`, or empty for the classifier.
        layout: The layout of the classifier and the trunk.
        seed: Seed of the weights that are not copied from a trained net.
    """
    generator = torch.Generator().manual_seed(seed)
    net: Classifier | Rpn | Rcnn = Classifier(layout)
    if kind:
        net = Rpn(layout, generator) if kind == "rpn" else Rcnn(layout, generator)
    for module in net.modules():
        if isinstance(module, ResNet):
            module.initialize(torch.Generator().manual_seed(seed))
    return net

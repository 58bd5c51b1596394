"""Faster R-CNN on the paper's nets (section 4.3 and appendix A). Independent of datasets.

"Networks on Conv feature maps": proposals and detector share conv1 to conv4_x. RoI pooling comes before conv5_x. For
each region, conv5_x and the average pooling replace VGG-16's fully connected layers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN  # type: ignore[import-untyped]
from torchvision.models.detection.image_list import ImageList  # type: ignore[import-untyped]
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes  # type: ignore[import-untyped]
from torchvision.ops import FrozenBatchNorm2d  # type: ignore[import-untyped]

from resnet_cli.nets.answers import PLAIN, Look, Way, answer, joined, seen_at_scales
from resnet_cli.nets.regions import Predictor, Proposals, Regions, Sampled
from resnet_cli.nets.resnet import BatchNorm, build

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from resnet_cli.nets.layout import Layout
    from resnet_cli.spec import Detector

LOSSES = ("loss_objectness", "loss_rpn_boxes", "loss_classes", "loss_boxes")
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # filters and 3x3 convolutions of each stage
VGG_GRID, VGG_WIDTH = 7, 4096
GRID = 14  # the paper does not say; conv5_x, with its stride of 2, then has a map as large as in classification


class Pixels(NamedTuple):
    """The normalisation of pixels on the scale 0 to 1: mean and standard deviation of red, green, blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class FixedBatchNorm(FrozenBatchNorm2d):
    """`BatchNorm` as a constant scale and offset: "BN layers are fixed" (appendix A).

    The paper says that each becomes a linear activation with constant offsets and scales. It does not say whether gamma
    and beta are trained; here they are not, as in other C4 detectors.
    """

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps)
        self.load_state_dict(norm.state_dict())
        self.relu = norm.relu

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Takes (N, channels, H, W) and a shortcut of the same shape; the result has this shape too."""
        y: Tensor = super().forward(x)
        if shortcut is not None:
            y = y + shortcut
        return functional.relu(y) if self.relu else y


def fix_norms(net: nn.Module) -> None:
    """Replaces all batch normalisations of a net by fixed ones."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, BatchNorm):
                setattr(module, name, FixedBatchNorm(child))


class Vgg16(nn.Module):
    """VGG-16's convolutions up to conv5_3, in stages, and fc6 and fc7 with dropout (the paper's baseline)."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        stages, inputs = [], 3
        for number, (width, count) in enumerate(VGG16):
            stage = nn.Sequential(*([nn.MaxPool2d(2)] if number else []))
            for _ in range(count):
                stage.extend([nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()])
                inputs = width
            stages.append(stage)
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs * VGG_GRID**2, VGG_WIDTH),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(VGG_WIDTH, VGG_WIDTH),
            nn.ReLU(),
            nn.Dropout(0.5),
        )
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):  # He's initialisation, as everywhere here
                    layer.weight.normal_(0, math.sqrt(2 / layer.weight[0].numel()), generator=generator)
                    layer.bias.zero_()  # type: ignore[union-attr]


class FasterRCNN(GeneralizedRCNN):
    """Maps images to boxes with classes and scores; in training, to four losses.

    torchvision's own class pads the images of a batch to one size before the shared layers, which then see the padding.
    Here images of different sizes pass them separately, so that an image has the same boxes in every batch.

    Args:
        trunk: The shared layers, in stages.
        head: The layers for each region's pooled features; its output is (R, channels).
        channels: Channels of the shared map, and of the head's output.
        classes: Number of classes without the background.
        settings: Sizes and numbers.
        grid: Side of the grid to which a region is pooled.
        pixels: The normalisation of pixels.
        generator: Draws the new layers' weights.
        context: Whether features of the whole image are concatenated to those of each region (appendix B).
    """

    def __init__(
        self,
        trunk: nn.Sequential,
        head: nn.Module,
        channels: tuple[int, int],
        classes: int,
        settings: Detector,
        grid: int,
        pixels: Pixels,
        generator: torch.Generator,
        *,
        context: bool = False,
    ) -> None:
        proposals = Proposals(channels[0], settings)
        predictor = Predictor(channels[1] * (2 if context else 1), classes)
        regions = Regions(head, predictor, settings, settings.grid or grid, context=context)
        shorter, longer = settings.sides
        transform = GeneralizedRCNNTransform(shorter, longer, list(pixels.mean), list(pixels.std), size_divisible=1)
        super().__init__(trunk, proposals, regions, transform)
        self.settings = settings
        with torch.no_grad():
            for layer in (*proposals.head.modules(), *regions.box_predictor.modules()):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    std = 0.001 if layer is regions.box_predictor.bbox_pred else 0.01
                    layer.weight.normal_(0, std, generator=generator)
                    layer.bias.zero_()  # type: ignore[union-attr]
        for stage in list(trunk)[: settings.frozen]:
            stage.requires_grad_(requires_grad=False)

    def forward(
        self,
        images: Tensor,
        sizes: Tensor,
        boxes: Tensor | None = None,
        labels: Tensor | None = None,
        keys: Tensor | None = None,
        way: Way = PLAIN,
    ) -> tuple[dict[str, Tensor], Tensor] | list[dict[str, Tensor]]:
        """Detects objects; images are on the scale 0 to 255, each in the upper left corner of (3, H, W).

        Args:
            images: (B, 3, H, W) uint8.
            sizes: Their heights and widths, (B, 2).
            boxes: In training, the objects' boxes, (B, M, 4).
            labels: In training, their classes from 1, (B, M); 0 is padding.
            keys: In training, the seed of each image's random sampling, (B,) int64.
            way: At test, how to answer.

        Returns:
            In training the losses by name, and the share of the objects' regions that get a wrong class; else for each
            image boxes (N, 4) in pixels of the original image, labels (N,) from 1 and scores (N,).
        """
        if not self.training:
            return [self.found(look, way) for look in self.looks(images, sizes, way)]
        assert boxes is not None
        assert labels is not None
        assert keys is not None
        whole, marked = [tuple(size) for size in sizes.tolist()], [each > 0 for each in labels]
        targets = [
            {"boxes": box[mask], "labels": label[mask]} for box, label, mask in zip(boxes, labels, marked, strict=True)
        ]
        resized = self._resized(images, whole, targets)
        return self._losses(self._maps(resized), resized, whole, targets, keys.tolist())

    @property
    def shorter_side(self) -> int:
        """The shorter side of a resized image, pixels."""
        return self.settings.sides[0]

    def looks(self, images: Tensor, sizes: Tensor, way: Way) -> Iterator[Look]:
        """The intermediate results for each image; arguments as for `forward`."""
        whole = [tuple(size) for size in sizes.tolist()]
        resized = self._resized(images, whole)
        for each in zip(self._maps(resized), resized, whole, images, strict=True):
            yield self._look(*each, way)

    def found(self, look: Look, way: Way) -> dict[str, Tensor]:
        """The answer for an image, with boxes in pixels of the original image."""
        boxes, labels, scores = answer(self.roi_heads, look, way)
        return {"boxes": resize_boxes(boxes, list(look.shape), list(look.size)), "labels": labels, "scores": scores}

    def _resized(
        self, images: Tensor, sizes: list[tuple[int, ...]], targets: list[dict[str, Tensor]] | None = None
    ) -> list[Tensor]:
        """Images (3, h, w), resized and normalised; `targets` is changed in place to the resized pixels."""
        self.transform.eval()  # in training mode it would draw one of several sides
        result = []
        for number, (image, (height, width)) in enumerate(zip(images, sizes, strict=True)):
            normal = self.transform.normalize(image[:, :height, :width].float() / 255)
            resized, target = self.transform.resize(normal, targets[number] if targets else None)
            result.append(resized)
            if targets:
                targets[number] = target
        return result

    def _maps(self, images: list[Tensor]) -> list[Tensor]:
        """The shared map of each image, (1, C, h, w); images of equal size go through the layers together."""
        maps: list[Tensor] = [torch.empty(0)] * len(images)
        for shape in dict.fromkeys(each.shape for each in images):
            numbers = [number for number, each in enumerate(images) if each.shape == shape]
            together = self.backbone(torch.stack([images[number] for number in numbers]))
            for number, features in zip(numbers, together.split(1), strict=True):
                maps[number] = features
        return maps

    @staticmethod
    def _alone(image: Tensor, features: Tensor) -> tuple[ImageList, Tensor]:
        height, width = image.shape[-2:]
        return ImageList(image[None], [(height, width)]), features

    def _narrowest(self, image: Tensor, size: tuple[int, ...]) -> float:
        return self.settings.narrowest * image.shape[-2] / size[0]

    def _losses(
        self,
        maps: list[Tensor],
        images: list[Tensor],
        sizes: list[tuple[int, ...]],
        targets: list[dict[str, Tensor]],
        keys: list[int],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Approximate joint training: all losses at once, without a gradient through the proposals' boxes."""
        sampled: list[Sampled] = []
        losses: list[tuple[Tensor, Tensor]] = []
        with _chances(maps[0].device):
            for features, image, size, target, key in zip(maps, images, sizes, targets, keys, strict=True):
                torch.manual_seed(key)
                alone = self._alone(image, features)
                proposals, its = self.rpn.of_image(*alone, target, self._narrowest(image, size))
                losses.append((its["loss_objectness"], its["loss_rpn_box_reg"]))
                sampled.append(self.roi_heads.sample(proposals, target))
            shapes = [(each.shape[1], each.shape[2]) for each in images]
            seen = self.roi_heads.describe(padded(maps), [each.boxes for each in sampled], shapes)
        of_regions, wrong = self.roi_heads.loss(*self.roi_heads.siblings(seen), sampled)
        objectness, boxes = (torch.stack(column).mean() for column in zip(*losses, strict=True))
        return {"loss_objectness": objectness, "loss_rpn_boxes": boxes, **of_regions}, wrong

    def _look(self, features: Tensor, resized: Tensor, size: tuple[int, ...], image: Tensor, way: Way) -> Look:
        regions, shape = self.roi_heads, (resized.shape[1], resized.shape[2])
        proposals, _ = self.rpn.of_image(*self._alone(resized, features), None, self._narrowest(resized, size))
        if way.scales:
            pixels = self.transform.normalize(image[:, : size[0], : size[1]].float() / 255)
            describe = seen_at_scales(regions, self.backbone, pixels, shape, self.settings.sides[0])
        else:
            describe = partial(_described, regions, features, shape)
        return Look(proposals, lambda boxes: regions.siblings(describe(boxes)), shape, size)


class Together(nn.Module):
    """An ensemble of detectors with the same classes and the same image size (appendix B)."""

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, images: Tensor, sizes: Tensor, way: Way = PLAIN) -> list[dict[str, Tensor]]:
        """As `FasterRCNN.forward` at test."""
        first: FasterRCNN = self.nets[0]  # type: ignore[assignment]
        seen = zip(*(net.looks(images, sizes, way) for net in self.nets), strict=True)  # type: ignore[operator]
        return [first.found(joined(looks), way) for looks in seen]


def _described(regions: Regions, features: Tensor, shape: tuple[int, int], boxes: Tensor) -> Tensor:
    return regions.describe(features, [boxes], [shape])


def padded(maps: list[Tensor]) -> Tensor:
    """Maps (1, C, h, w) as one tensor (B, C, H, W), padded with zeros at the right and below.

    Max pooling after a ReLU gives the same with these zeros.
    """
    height, width = (max(each.shape[axis] for each in maps) for axis in (2, 3))
    return torch.cat([functional.pad(each, (0, width - each.shape[3], 0, height - each.shape[2])) for each in maps])


@contextmanager
def _chances(device: torch.device) -> Iterator[None]:
    """Restores the state of torch's generators afterwards, so that they may be seeded within."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def on_resnet(
    layout: Layout, classes: int, settings: Detector, pixels: Pixels, seed: int, *, context: bool = False
) -> FasterRCNN:
    """A detector on one of the paper's nets, with weights that are a pure function of the seed."""
    net = build(layout, seed)
    fix_norms(net)
    stem = nn.Sequential(OrderedDict(conv1=net.conv1, bn1=net.bn1, pool=net.pool))
    *shared, last = [(name, net.get_submodule(name)) for name in net.stages]
    trunk = nn.Sequential(OrderedDict([("stem", stem), *shared]))
    head = nn.Sequential(OrderedDict([last, ("average", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]))
    channels = tuple(width * layout.expansion for width in layout.widths[-2:])
    generator = torch.Generator().manual_seed(seed)
    return FasterRCNN(trunk, head, channels, classes, settings, GRID, pixels, generator, context=context)  # type: ignore[arg-type]


def on_vgg16(classes: int, settings: Detector, pixels: Pixels, seed: int) -> FasterRCNN:
    """The baseline, with weights that are a pure function of the seed."""
    generator = torch.Generator().manual_seed(seed)
    net = Vgg16(generator)
    channels = VGG16[-1][0], VGG_WIDTH
    return FasterRCNN(net.stages, net.classifier, channels, classes, settings, VGG_GRID, pixels, generator)


def joint_loss(outputs: object, *batch: Tensor) -> tuple[Tensor, ...]:
    """The sum of a batch's four losses, the share of misclassified objects' regions times its images, and the four."""
    losses, wrong = outputs(*batch)  # type: ignore[operator]
    parts = tuple(losses[name] for name in LOSSES)
    return torch.stack(parts).sum(), wrong * len(batch[0]), *(each.detach() for each in parts)

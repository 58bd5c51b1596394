"""Layers of a detector, and how large they are. Imports no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_cli.nets.complexity import Layer, vgg_layers
from resnet_cli.nets.complexity import layers as layers_of

if TYPE_CHECKING:
    from resnet_cli.nets.layout import Layout
    from resnet_cli.spec import Detector

SIDE = 224  # of the images that classifiers' layers are counted on
ASPECT = 4 / 3  # of VOC's and COCO's images, longer to shorter side
STRIDE, RATIOS = 16, 3
VGG_GRID, GRID = 7, 14


def layers(layout: Layout | None, classes: int, settings: Detector, *, context: bool = False) -> list[Layer]:
    """The layers of a detector on a training image of usual shape, its sampled regions included.

    Batch normalisation is fixed, and has no parameters that are learned.

    Args:
        layout: Of the classifier below it; None for VGG-16.
        classes: Without the background.
        settings: Sizes and numbers.
        context: Whether the whole image is seen beside each region.
    """
    short = settings.sides[0]
    area = short * min(short * ASPECT, settings.sides[1])
    if layout is None:
        below = vgg_layers(16)
        shared, (last, *_) = [each for each in below if each.name.startswith("features")], [512]
        head = [each for each in below if each.name in ("classifier.0", "classifier.3")]
        out, grid = 4096, VGG_GRID
    else:
        below = [replace(each, parameters=each.parameters - norm) for each, norm in _norms(layout)]
        shared = [each for each in below if not each.name.startswith(("layer4", "fc"))]
        head = [each for each in below if each.name.startswith("layer4")]
        last, out = (width * layout.expansion for width in layout.widths[-2:])
        grid = GRID
    seen = settings.regions + (1 if context else 0)
    out *= 2 if context else 1
    of_regions = seen * ((settings.grid or grid) / grid) ** 2
    places, anchors = area / STRIDE**2, RATIOS * len(settings.anchors)
    return [
        *(replace(each, multiply_adds=round(each.multiply_adds * area / SIDE**2)) for each in shared),
        _convolution("rpn.conv", last, last, 9, places),
        _convolution("rpn.cls_logits", last, anchors, 1, places),
        _convolution("rpn.bbox_pred", last, 4 * anchors, 1, places),
        *(replace(each, multiply_adds=round(each.multiply_adds * of_regions)) for each in head),
        _convolution("cls_score", out, classes + 1, 1, settings.regions),
        _convolution("bbox_pred", out, 4 * (classes + 1), 1, settings.regions),
    ]


def _norms(layout: Layout) -> list[tuple[Layer, int]]:
    """The classifier's layers, and how many of the parameters of each are of the normalisation behind it."""
    result = []
    for layer in layers_of(layout, SIDE):
        expanded = layer.name.endswith(("conv3", "downsample.0"))
        stage = int(layer.name[5]) if layer.name.startswith("layer") else 0
        width = layout.widths[stage - 1] * (layout.expansion if expanded else 1) if stage else layout.stem_width
        result.append((layer, 0 if layer.name == "fc" else 2 * width))
    return result


def _convolution(name: str, inputs: int, outputs: int, kernel: int, places: float) -> Layer:
    weights = kernel * inputs * outputs
    return Layer(name, weights + outputs, round(weights * places))

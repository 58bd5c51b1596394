"""Parameters and multiply-adds of a net, counted layer by layer. Imports no torch.

The tests check that the counts equal those of the built net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from resnet_cli.nets.layout import Layout


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
        name: Its name in the built net.
        parameters: Weights and biases; a convolution's include those of the batch normalisation that follows it.
        multiply_adds: Per image. As in the paper, only convolutions and fully connected layers count.
    """

    name: str
    parameters: int
    multiply_adds: int


def layers(layout: Layout, side: int) -> list[Layer]:
    """The layers of a net in the order of the forward pass.

    Args:
        layout: The net's layout.
        side: Side of its input in pixels; a multiple of the product of its strides.
    """
    inputs, size = layout.stem_width, side // 2 if layout.halves else side
    result = [_convolution("conv1", 3, inputs, layout.kernel, size)]
    size = size // 2 if layout.halves else size
    for stage, (count, width) in enumerate(zip(layout.blocks, layout.widths, strict=True), start=1):
        outputs = layout.expansion * width
        for block in range(count):
            name, before = f"layer{stage}.{block}", size
            if stage > 1 and block == 0:
                size //= 2
            if layout.block == "bottleneck":
                result += [
                    _convolution(f"{name}.conv1", inputs, width, 1, before if layout.stride_3x3 else size),
                    _convolution(f"{name}.conv2", width, width, 3, size),
                    _convolution(f"{name}.conv3", width, outputs, 1, size),
                ]
            else:
                result.append(_convolution(f"{name}.conv1", inputs, width, 3, size))
                if layout.block != "single":
                    result.append(_convolution(f"{name}.conv2", width, width, 3, size))
                if layout.block == "highway":
                    weights = inputs * width
                    result.append(Layer(f"{name}.gate", weights + width, weights * size * size))
            if layout.shortcut == "C" or (layout.shortcut == "B" and inputs != outputs):
                result.append(_convolution(f"{name}.downsample.0", inputs, outputs, 1, size))
            inputs = outputs
    result.append(Layer("fc", inputs * layout.classes + layout.classes, inputs * layout.classes))
    return result


def vgg_layers(depth: Literal[16, 19]) -> list[Layer]:
    """The layers of VGG-16 or VGG-19 without batch normalisation, to compare with; named as in torchvision."""
    result, inputs, position = [], 3, 0
    convolutions = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}[depth]
    for count, width, size in zip(convolutions, (64, 128, 256, 512, 512), (224, 112, 56, 28, 14), strict=True):
        for _ in range(count):
            weights = 9 * inputs * width
            result.append(Layer(f"features.{position}", weights + width, weights * size * size))
            inputs, position = width, position + 2
        position += 1  # max pooling
    for position, (inputs, outputs) in zip((0, 3, 6), ((512 * 49, 4096), (4096, 4096), (4096, 1000)), strict=True):
        result.append(Layer(f"classifier.{position}", inputs * outputs + outputs, inputs * outputs))
    return result


def _convolution(name: str, inputs: int, outputs: int, kernel: int, size: int) -> Layer:
    weights = kernel * kernel * inputs * outputs
    return Layer(name, weights + 2 * outputs, weights * size * size)

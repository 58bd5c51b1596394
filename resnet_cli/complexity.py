"""Parameters and multiply-adds of the paper's nets, counted layer by layer. Imports no torch.

Checked in the tests against the built net, to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_cli.spec import Net

CIFAR_WIDTHS = (16, 32, 64)
CIFAR_SIZES = (32, 16, 8)


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
        name: Its name in the built net.
        parameters: Weights and biases; of a convolution with those of the batch normalisation that follows.
        multiply_adds: Per image. As in the paper, only convolutions and fully connected layers count.
    """

    name: str
    parameters: int
    multiply_adds: int


def layers(net: Net, classes: int = 10) -> list[Layer]:
    """The layers of a CIFAR-10 net (section 4.2), in the order of the forward pass."""

    def convolution(name: str, inputs: int, outputs: int, kernel: int, size: int) -> Layer:
        weights = kernel * kernel * inputs * outputs
        return Layer(name, weights + 2 * outputs, weights * size * size)

    result = [convolution("conv1", 3, CIFAR_WIDTHS[0], 3, CIFAR_SIZES[0])]
    inputs = CIFAR_WIDTHS[0]
    for stage, (width, size) in enumerate(zip(CIFAR_WIDTHS, CIFAR_SIZES, strict=True), start=1):
        for block in range(net.cifar_blocks):
            name = f"layer{stage}.{block}"
            result += [
                convolution(f"{name}.conv1", inputs, width, 3, size),
                convolution(f"{name}.conv2", width, width, 3, size),
            ]
            if net.shortcut == "C" or (net.shortcut == "B" and inputs != width):
                result.append(convolution(f"{name}.downsample.0", inputs, width, 1, size))
            inputs = width
    result.append(Layer("fc", inputs * classes + classes, inputs * classes))
    return result


def parameters(net: Net) -> int:
    """Learned parameters of a net: weights, biases, and the scales and shifts of batch normalisation."""
    return sum(layer.parameters for layer in layers(net))


def multiply_adds(net: Net) -> int:
    """Multiply-adds of one image's forward pass; what the paper calls FLOPs."""
    return sum(layer.multiply_adds for layer in layers(net))

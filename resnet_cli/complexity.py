"""Parameters and multiply-adds of the paper's nets, counted layer by layer. Imports no torch.

Checked in the tests against the built net, to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resnet_cli.spec import FIRST_BOTTLENECK

if TYPE_CHECKING:
    from resnet_cli.spec import Benchmark, Net

CIFAR_WIDTHS: tuple[int, ...] = (16, 32, 64)
CIFAR_SIZES: tuple[int, ...] = (32, 16, 8)
IMAGENET_STEM_WIDTH = 64
IMAGENET_WIDTHS = (64, 128, 256, 512)
IMAGENET_SIZES = (56, 28, 14, 7)


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


def layers(
    net: Net,
    benchmark: Benchmark = "cifar10",
    classes: int | None = None,
    *,
    stride_3x3: bool = False,
    side: int = CIFAR_SIZES[0],
) -> list[Layer]:
    """The layers of a net in the order of the forward pass: section 4.2's on CIFAR-10, Table 1's on ImageNet.

    Args:
        net: The net.
        benchmark: Which of the two; images are 32x32 or 224x224.
        classes: Outputs; the benchmark's own number unless said.
        stride_3x3: Where a bottleneck's stride stands: the 3x3 ("v1.5") in place of the first 1x1.
        side: Pixels a side of the images of CIFAR-10's nets, a multiple of 4.
    """
    small = tuple(size * side // CIFAR_SIZES[0] for size in CIFAR_SIZES)
    widths, sizes = (CIFAR_WIDTHS, small) if benchmark == "cifar10" else (IMAGENET_WIDTHS, IMAGENET_SIZES)
    kernel, inputs, size = (3, CIFAR_WIDTHS[0], side) if benchmark == "cifar10" else (7, IMAGENET_STEM_WIDTH, 112)
    classes = classes or {"cifar10": 10, "imagenet": 1000}[benchmark]
    is_deep = benchmark == "imagenet" and net.depth >= FIRST_BOTTLENECK
    result = [_convolution("conv1", 3, inputs, kernel, size)]
    for stage, (count, width, size) in enumerate(zip(net.blocks(benchmark), widths, sizes, strict=True), start=1):
        outputs = 4 * width if is_deep else width
        for block in range(count):
            name = f"layer{stage}.{block}"
            if is_deep:
                first = 2 * size if stride_3x3 and stage > 1 and block == 0 else size
                result += [
                    _convolution(f"{name}.conv1", inputs, width, 1, first),
                    _convolution(f"{name}.conv2", width, width, 3, size),
                    _convolution(f"{name}.conv3", width, outputs, 1, size),
                ]
            else:
                result.append(_convolution(f"{name}.conv1", inputs, width, 3, size))
                if not net.single:
                    result.append(_convolution(f"{name}.conv2", width, width, 3, size))
            if net.shortcut == "C" or (net.shortcut == "B" and inputs != outputs):
                result.append(_convolution(f"{name}.downsample.0", inputs, outputs, 1, size))
            inputs = outputs
    result.append(Layer("fc", inputs * classes + classes, inputs * classes))
    return result


def vgg_layers(depth: Literal[16, 19]) -> list[Layer]:
    """The layers of VGG-16 or VGG-19, which the paper compares with; no batch normalisation. Named as torchvision's."""
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


def parameters(net: Net, benchmark: Benchmark = "cifar10") -> int:
    """Learned parameters of a net: weights, biases, and the scales and shifts of batch normalisation."""
    return sum(layer.parameters for layer in layers(net, benchmark))


def multiply_adds(
    net: Net, benchmark: Benchmark = "cifar10", *, stride_3x3: bool = False, side: int = CIFAR_SIZES[0]
) -> int:
    """Multiply-adds of one image's forward pass; what the paper calls FLOPs. For `side` see `layers`."""
    return sum(layer.multiply_adds for layer in layers(net, benchmark, stride_3x3=stride_3x3, side=side))


def _convolution(name: str, inputs: int, outputs: int, kernel: int, size: int) -> Layer:
    weights = kernel * kernel * inputs * outputs
    return Layer(name, weights + 2 * outputs, weights * size * size)

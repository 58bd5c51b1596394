"""The paper's nets (sections 3.1 to 4.2). Independent of data, training and experiments.

Modules have torchvision's names (conv1, bn1, layer1.0.conv1, ..., fc), so that weights can be exchanged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from resnet_cli.nets.layout import Layout
    from resnet_cli.spec import Shortcut

Zeros = Literal["end", "both"]

GATE_BIAS = -2.0  # Srivastava, Greff and Schmidhuber (2015) initialise gates with -1 to -3, nearly closed


class PaddedIdentity(nn.Module):
    """Option A where dimensions change: every second pixel, and zeros for the new channels (section 3.3).

    The zero channels come last. `both` puts half of them first, as some foreign weights expect; this only permutes the
    channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, zeros: Zeros = "end") -> None:
        super().__init__()
        self.stride = stride
        self.first = (outputs - inputs) // 2 if zeros == "both" else 0
        self.last = outputs - inputs - self.first

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride), without parameters."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.first, self.last))


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation and what follows it: the addition of a shortcut, if there is one, and ReLU.

    Section 3.4: BN comes right after each convolution and before activation. The three are one module, so that a
    faster step can fuse them; its parameters and buffers are those of `nn.BatchNorm2d`.
    """

    def __init__(self, channels: int, *, relu: bool = True) -> None:
        super().__init__(channels)
        self.relu = relu
        self.response = nn.Identity()  # Figure 7's response, for hooks

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Takes (N, channels, H, W) and a shortcut of the same shape; the result has this shape too."""
        y: Tensor = self.response(super().forward(x))
        if shortcut is not None:
            y = y + shortcut
        return functional.relu(y) if self.relu else y


def make_shortcut(
    option: Shortcut | None, inputs: int, outputs: int, stride: int, zeros: Zeros = "end"
) -> nn.Module | None:
    """The path around a block (section 3.3): A pads, B projects where dimensions change, C projects everywhere.

    Option None means no shortcut: a plain net.
    """
    if option is None:
        return None
    changes = stride != 1 or inputs != outputs
    if option == "C" or (option == "B" and changes):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm(outputs, relu=False))
    return PaddedIdentity(inputs, outputs, stride, zeros) if changes else nn.Identity()


class Block(nn.Module):
    """What basic and bottleneck blocks share: y = ReLU(F(x) + shortcut(x)), equation 1; ReLU(F(x)) in a plain net."""

    def __init__(self, inputs: int, outputs: int, stride: int, option: Shortcut | None, zeros: Zeros) -> None:
        super().__init__()
        self.downsample = make_shortcut(option, inputs, outputs, stride, zeros)

    def shortcut(self, x: Tensor) -> Tensor | None:
        """What is added to F(x); None in a plain net."""
        return None if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        raise NotImplementedError


class BasicBlock(Block):
    """Two 3x3 convolutions, Figure 5 left. BN after each convolution, before ReLU (section 3.4)."""

    def __init__(self, inputs: int, width: int, stride: int, option: Shortcut | None, zeros: Zeros = "end") -> None:
        super().__init__(inputs, width, stride, option, zeros)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, width, H/stride, W/stride)."""
        inner = self.bn1(self.conv1(x))
        y: Tensor = self.bn2(self.conv2(inner), self.shortcut(x))
        return y


class SingleLayerBlock(Block):
    """One 3x3 convolution: y = ReLU(F(x) + x) with a linear F; the paper saw no advantage in it (section 3.2)."""

    def __init__(self, inputs: int, width: int, stride: int, option: Shortcut | None, zeros: Zeros = "end") -> None:
        super().__init__(inputs, width, stride, option, zeros)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, width, H/stride, W/stride)."""
        y: Tensor = self.bn1(self.conv1(x), self.shortcut(x))
        return y


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolutions, Figure 5 right; the last has four times as many filters.

    The first 1x1 has the stride, as in the paper and its authors' released nets. With `stride_3x3` ("v1.5") the 3x3 has
    it, as in fb.resnet.torch and torchvision, so that the block uses every pixel of the map.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        option: Shortcut | None,
        zeros: Zeros = "end",
        *,
        stride_3x3: bool = False,
    ) -> None:
        outputs = 4 * width
        super().__init__(inputs, outputs, stride, option, zeros)
        first, second = (1, stride) if stride_3x3 else (stride, 1)
        self.conv1 = nn.Conv2d(inputs, width, 1, first, bias=False)
        self.bn1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=False)
        self.bn2 = BatchNorm(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4 * width, H/stride, W/stride)."""
        inner = self.bn1(self.conv1(x))
        inner = self.bn2(self.conv2(inner))
        y: Tensor = self.bn3(self.conv3(inner), self.shortcut(x))
        return y


class HighwayBlock(BasicBlock):
    """Two 3x3 convolutions and a gate: y = H(x) T(x) + x (1 - T(x)), the gated shortcut of Highway nets (section 2).

    H is a plain block with its ReLU, T the sigmoid of a 1x1 convolution with a bias. With an open gate (T = 1) it is
    the plain block, with a closed one (T = 0) the shortcut: the identity, or option A where dimensions change.
    """

    def __init__(self, inputs: int, width: int, stride: int, option: Shortcut | None, zeros: Zeros = "end") -> None:
        super().__init__(inputs, width, stride, option, zeros)
        self.gate = nn.Conv2d(inputs, width, 1, stride)
        self.openness = nn.Identity()  # T(x), for hooks

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, width, H/stride, W/stride)."""
        opened: Tensor = self.openness(self.gate(x).sigmoid())
        inner: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        shortcut = self.shortcut(x)
        assert shortcut is not None
        return inner * opened + shortcut * (1 - opened)


class ResNet(nn.Module):
    """A stem, stages of blocks, global average pooling and a classifier (section 3.3).

    Args:
        layout: The net's layout.
        zeros: The position of option A's zero channels.
    """

    def __init__(self, layout: Layout, zeros: Zeros = "end") -> None:
        super().__init__()
        stride, padding = 2 if layout.halves else 1, layout.kernel // 2
        self.conv1 = nn.Conv2d(3, layout.stem_width, layout.kernel, stride, padding, bias=False)
        self.bn1 = BatchNorm(layout.stem_width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if layout.halves else nn.Identity()
        inputs = layout.stem_width
        self.stages: list[str] = []
        for number, (count, width) in enumerate(zip(layout.blocks, layout.widths, strict=True), start=1):
            stage = nn.Sequential()
            for index in range(count):
                stride = 2 if number > 1 and index == 0 else 1
                stage.append(make_block(layout, inputs, width, stride, zeros))
                inputs = width * layout.expansion
            self.add_module(f"layer{number}", stage)
            self.stages.append(f"layer{number}")
        self.fc = nn.Linear(inputs, layout.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), mean subtracted, to logits (N, classes)."""
        logits: Tensor = self.fc(self.features(images).mean(dim=(2, 3)))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to the last stage's map."""
        x: Tensor = self.pool(self.bn1(self.conv1(images)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return x

    def dense(self, images: Tensor, window: int) -> Tensor:
        """The fully convolutional form for images of any size (section 3.4, testing).

        The last map is average-pooled over each `window` x `window` (7 for a crop of 224) at stride 1, every place is
        classified, and the logits are averaged over the places. The classifier is linear, so the average may come
        first.

        Args:
            images: (N, 3, H, W).
            window: Side of the last map for an image of the training's size.

        Returns:
            (N, classes).
        """
        pooled = functional.avg_pool2d(self.features(images), window, stride=1)
        logits: Tensor = self.fc(pooled.mean(dim=(2, 3)))
        return logits

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """He initialisation (section 3.4): normal, variance 2 / fan-in, biases 0; BN scales 1, shifts 0; gates near 0.

        Fan-in is an assumption (Caffe's default). Fan-out differs by a factor that BN removes.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            if isinstance(module, nn.Linear):
                module.bias.zero_()
            if isinstance(module, HighwayBlock):
                assert module.gate.bias is not None
                module.gate.bias.fill_(GATE_BIAS)


def make_block(layout: Layout, inputs: int, width: int, stride: int, zeros: Zeros) -> Block:
    """A block of this layout."""
    if layout.block == "bottleneck":
        return Bottleneck(inputs, width, stride, layout.shortcut, zeros, stride_3x3=layout.stride_3x3)
    kinds = {"basic": BasicBlock, "single": SingleLayerBlock, "highway": HighwayBlock}
    return kinds[layout.block](inputs, width, stride, layout.shortcut, zeros)


def build(layout: Layout, seed: int, zeros: Zeros = "end") -> ResNet:
    """Builds a net on the CPU, with weights that are a pure function of the seed."""
    result = ResNet(layout, zeros)
    result.initialize(torch.Generator().manual_seed(seed))
    return result

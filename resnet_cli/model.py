"""The paper's nets, to be read beside sections 3.1 to 4.2. Knows nothing of data, training or experiments.

Modules carry torchvision's names (conv1, bn1, layer1.0.conv1, ..., fc), so that weights go both ways.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.complexity import CIFAR_WIDTHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.spec import Net, Shortcut


class PaddedIdentity(nn.Module):
    """Option A where dimensions change: every second pixel, and zeros for the new channels (section 3.3).

    The zero channels come last; where they stand is a relabelling that changes no result.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride); no parameters."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def make_shortcut(option: Shortcut | None, inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """The path around a block (section 3.3): A pads, B projects where dimensions change, C projects everywhere.

    None stands for no shortcut at all: a plain net.
    """
    if option is None:
        return None
    changes = stride != 1 or inputs != outputs
    if option == "C" or (option == "B" and changes):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return PaddedIdentity(inputs, outputs, stride) if changes else nn.Identity()


class Block(nn.Module):
    """What basic and bottleneck blocks share: y = ReLU(F(x) + shortcut(x)), equation 1; ReLU(F(x)) in a plain net."""

    expansion: int

    def __init__(self, inputs: int, outputs: int, stride: int, option: Shortcut | None) -> None:
        super().__init__()
        self.downsample = make_shortcut(option, inputs, outputs, stride)

    def residual(self, x: Tensor) -> Tensor:
        """F(x), before the addition."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        y = self.residual(x)
        if self.downsample is not None:
            y = y + self.downsample(x)
        return functional.relu(y)


class BasicBlock(Block):
    """Two 3x3 convolutions, Figure 5 left. BN after each convolution, before ReLU (section 3.4)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, option: Shortcut | None) -> None:
        super().__init__(inputs, width, stride, option)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def residual(self, x: Tensor) -> Tensor:
        """F(x), before the addition."""
        x = functional.relu(self.bn1(self.conv1(x)))
        y: Tensor = self.bn2(self.conv2(x))
        return y


class Bottleneck(Block):
    """1x1, 3x3, 1x1 convolutions, Figure 5 right; four times as many channels out. The first 1x1 has the stride."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, option: Shortcut | None) -> None:
        outputs = width * self.expansion
        super().__init__(inputs, outputs, stride, option)
        self.conv1 = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    def residual(self, x: Tensor) -> Tensor:
        """F(x), before the addition."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        y: Tensor = self.bn3(self.conv3(x))
        return y


class ResNet(nn.Module):
    """A stem, stages of blocks, global average pooling and a classifier (section 3.3).

    The first block of every stage but the first halves the feature map.

    Args:
        conv1: The stem's convolution.
        pool: What follows the stem: nothing on CIFAR-10, max pooling on ImageNet.
        block: `BasicBlock` or `Bottleneck`.
        blocks: Blocks in each stage.
        widths: Filters of each stage's 3x3 convolutions.
        option: Shortcut option; None for a plain net.
        classes: Outputs of the classifier.
    """

    def __init__(
        self,
        *,
        conv1: nn.Conv2d,
        pool: nn.Module,
        block: type[BasicBlock | Bottleneck],
        blocks: Sequence[int],
        widths: Sequence[int],
        option: Shortcut | None,
        classes: int,
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(conv1.out_channels)
        self.pool = pool
        inputs = conv1.out_channels
        self.stages: list[str] = []
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            stage = nn.Sequential()
            for index in range(count):
                stride = 2 if number > 1 and index == 0 else 1
                stage.append(block(inputs, width, stride, option))
                inputs = width * block.expansion
            self.add_module(f"layer{number}", stage)
            self.stages.append(f"layer{number}")
        self.fc = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), mean subtracted, to logits (N, classes)."""
        x = self.pool(functional.relu(self.bn1(self.conv1(images))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """He initialisation (section 3.4): normal, variance 2 / fan-in, biases 0; BN scales 1, shifts 0.

        Fan-in is Caffe's default and an assumption: fan-out differs by a factor that BN takes out again.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            if isinstance(module, nn.Linear):
                module.bias.zero_()


def cifar_net(net: Net, seed: int, classes: int = 10) -> ResNet:
    """Builds a CIFAR-10 net (section 4.2) on the CPU, with weights that are a pure function of the seed."""
    result = ResNet(
        conv1=nn.Conv2d(3, CIFAR_WIDTHS[0], 3, padding=1, bias=False),
        pool=nn.Identity(),
        block=BasicBlock,
        blocks=[net.cifar_blocks] * len(CIFAR_WIDTHS),
        widths=CIFAR_WIDTHS,
        option=net.shortcut,
        classes=classes,
    )
    result.initialize(torch.Generator().manual_seed(seed))
    return result

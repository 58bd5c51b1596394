"""Wide residual BLSTM nets (Heymann, Drude and Haeb-Umbach, 2016): a wide ResNet on spectrograms, then two BLSTMs.

See figure 3 of that paper: blocks are pre-activation with ELU, strides are in frequency but never in time, and every
norm uses the statistics of one utterance. Maps are (B, channels, frequency, T). Frames after an utterance's end are
padding and do not affect valid frames.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.nets.wrbn_layout import STATICS_AND_DELTAS

if TYPE_CHECKING:
    from resnet_cli.nets.wrbn_layout import SpeechLayout

KERNEL = 3


class UtteranceNorm(nn.Module):
    """Normalises each channel over one utterance's frames and rows (if it has rows); learns scale and shift.

    It has no running statistics, so it is the same in training and at test. Padding becomes zeros.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Takes maps (B, channels, ..., T) and valid frames (B, T) as 0 and 1 (None: all); keeps the maps' shape."""
        if valid is None:
            return functional.group_norm(x, len(self.weight), self.weight, self.bias, self.eps)
        over, ones = tuple(range(2, x.ndim)), (1,) * (x.ndim - 2)
        mask = valid.to(x.dtype).view(len(x), *ones, -1)
        count = mask.sum(dim=-1, keepdim=True) * (x[0, 0].numel() // x.shape[-1])
        mean = (x * mask).sum(dim=over, keepdim=True) / count
        centred = (x - mean) * mask
        scale = torch.rsqrt(centred.square().sum(dim=over, keepdim=True) / count + self.eps)
        return (centred * scale * self.weight.view(-1, *ones) + self.bias.view(-1, *ones)) * mask


class Convolution(nn.Conv2d):
    """A convolution without bias, padded to keep the frames, that strides in frequency only."""

    def __init__(self, inputs: int, outputs: int, kernel: int = KERNEL, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, (stride, 1), padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, F, T) to (B, outputs, F / stride, T); not channels last, since norms read whole channels."""
        return functional.conv2d(x, self.weight.contiguous(), None, self.stride, self.padding)


class PreActivationBlock(nn.Module):
    """Norm, ELU, 3x3, norm, ELU, 3x3, and a shortcut: where channels change, a projection of the first ELU's output."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, has_shortcut: bool) -> None:
        super().__init__()
        self.has_shortcut = has_shortcut
        self.norm1 = UtteranceNorm(inputs)
        self.conv1 = Convolution(inputs, outputs, stride=stride)
        self.norm2 = UtteranceNorm(outputs)
        self.conv2 = Convolution(outputs, outputs)
        projects = has_shortcut and (inputs != outputs or stride > 1)
        self.downsample = Convolution(inputs, outputs, kernel=1, stride=stride) if projects else None

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(B, inputs, F, T) to (B, outputs, F / stride, T)."""
        activated = functional.elu(self.norm1(x, valid))
        y: Tensor = self.conv2(functional.elu(self.norm2(self.conv1(activated), valid)))
        if not self.has_shortcut:
            return y
        return y + (self.downsample(activated) if self.downsample else x)


class BLSTM(nn.Module):
    """A bidirectional LSTM that normalises the input product over the utterance, but not the recurrent one.

    The product W x is computed and normalised for all frames at once. torch's own LSTM then takes it as its input, with
    an identity as input weights. The shift of the norm is the LSTM's bias.
    """

    def __init__(self, inputs: int, units: int, *, adds: bool) -> None:
        super().__init__()
        self.units, self.adds = units, adds
        self.products = nn.ModuleList(nn.Linear(inputs, 4 * units, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(UtteranceNorm(4 * units) for _ in range(2))
        self.recurrent = nn.ParameterList(nn.Parameter(torch.empty(4 * units, units)) for _ in range(2))

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Frames (B, T, inputs) to (B, T, units) if the directions are added, else to (B, T, 2 units)."""
        dtype = self.recurrent[0].dtype  # in mixed precision the products have a lower one
        identity = torch.eye(4 * self.units, dtype=dtype, device=x.device)
        start = torch.zeros(1, len(x), self.units, dtype=dtype, device=x.device)
        outputs = []
        for direction, (product, norm, recurrent) in enumerate(
            zip(self.products, self.norms, self.recurrent, strict=True)
        ):
            gates = norm(product(x).transpose(1, 2), valid).transpose(1, 2)
            back = direction == 1
            with torch.autocast(x.device.type, enabled=False):
                gates = _reversed(gates.to(dtype), valid) if back else gates.to(dtype)
                y, _, _ = torch.lstm(
                    gates, [start, start], [identity, recurrent], False, 1, 0.0, self.training, False, True
                )
            outputs.append(_reversed(y, valid) if back else y)
        forward, backward = outputs
        return forward + backward if self.adds else torch.cat(outputs, dim=2)


def _reversed(x: Tensor, valid: Tensor | None) -> Tensor:
    """Frames (B, T, ...) of each utterance in reverse; its padding stays at the end."""
    if valid is None:
        return x.flip(1)
    lengths = valid.sum(dim=1, dtype=torch.int64)[:, None]
    frame = torch.arange(x.shape[1], device=x.device)[None]
    order = torch.where(frame < lengths, lengths - 1 - frame, frame)
    return x.gather(1, order[:, :, None].expand_as(x))


class WRBN(nn.Module):
    """The acoustic model: maps features to the logits of each frame's phone."""

    def __init__(self, layout: SpeechLayout) -> None:
        super().__init__()
        self.conv1 = Convolution(STATICS_AND_DELTAS, layout.channels[0], stride=2)
        blocks: list[nn.Module] = []
        for group, (before, channels) in enumerate(pairwise(layout.channels)):
            for block in range(layout.blocks):
                stride = 2 if group > 0 and block == 0 else 1
                inputs = before if block == 0 else channels
                blocks.append(PreActivationBlock(inputs, channels, stride, has_shortcut=layout.has_shortcuts))
        self.blocks = nn.ModuleList(blocks)
        last, units = layout.channels[-1], layout.units
        self.norm = UtteranceNorm(last)
        self.rows = nn.Linear(layout.rows, 1)
        self.blstm1 = BLSTM(last, units, adds=True) if layout.has_blstm else None
        self.blstm2 = BLSTM(units, units, adds=False) if layout.has_blstm else None
        self.dense = nn.Linear(2 * units, 2 * units, bias=False) if layout.has_blstm else None
        self.dense_norm = UtteranceNorm(2 * units) if layout.has_blstm else None
        self.fc = nn.Linear(2 * units if layout.has_blstm else last, layout.classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of each frame.

        Args:
            features: (B, 3, mels, T): statics, deltas and delta-deltas; zeros after an utterance's end.
            lengths: Number of valid frames of each utterance, (B,) int64; None: all frames are valid.

        Returns:
            (B, T, classes); meaningless after an utterance's end.
        """
        valid = None
        if lengths is not None and bool((lengths < features.shape[-1]).any()):
            valid = torch.arange(features.shape[-1], device=features.device)[None] < lengths[:, None]
        x: Tensor = self.conv1(features.contiguous())
        for block in self.blocks:
            x = block(x, valid)
        x = functional.elu(self.norm(x, valid))
        x = functional.elu(self.rows(x.movedim(2, 3)).squeeze(3)).transpose(1, 2)
        if self.blstm1 and self.blstm2 and self.dense and self.dense_norm:
            x = self.dense(self.blstm2(self.blstm1(x, valid), valid))
            x = functional.elu(self.dense_norm(x.transpose(1, 2), valid)).transpose(1, 2)
        logits: Tensor = self.fc(x)
        return logits

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """He initialisation by fan-in; recurrent weights are uniform, biases of forget gates 1."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(0, math.sqrt(2 / module.weight[0].numel()), generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            if isinstance(module, BLSTM):
                bound = 1 / math.sqrt(module.units)
                for recurrent, norm in zip(module.recurrent, module.norms, strict=True):
                    recurrent.uniform_(-bound, bound, generator=generator)
                    assert isinstance(norm, UtteranceNorm)
                    norm.bias[module.units : 2 * module.units] = 1.0  # gates in torch's order: i, f, g, o


def build(layout: SpeechLayout, seed: int) -> WRBN:
    """Builds a net on the CPU, with weights that are a pure function of the seed."""
    net = WRBN(layout)
    net.initialize(torch.Generator().manual_seed(seed))
    return net

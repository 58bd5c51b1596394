"""The layout of wide residual BLSTM nets, and their layers; see `nets.wrbn`. Imports no torch.

The tests check that the layers equal those of the built net.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from resnet_cli.nets.complexity import Layer

STEM_WIDTH = 16
GROUPS = (16, 32, 64)  # channels of the three groups, times the width
STATICS_AND_DELTAS = 3  # channels of the input
GATES = 4  # per LSTM


@dataclass(frozen=True)
class SpeechLayout:
    """The layout of a net.

    Attributes:
        blocks: Blocks in each of the three groups (N).
        width: The factor on the groups' 16, 32 and 64 channels (k).
        has_shortcuts: False for a plain net, which has the same layers except the projections.
        has_blstm: Whether two BLSTM layers and a dense one come before the output layer.
        mels: Rows of the input, a multiple of 8.
        classes: Number of phones.
    """

    blocks: int
    width: int
    has_shortcuts: bool
    has_blstm: bool
    mels: int
    classes: int

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the first convolution and of each group."""
        return STEM_WIDTH, *(self.width * each for each in GROUPS)

    @property
    def rows(self) -> int:
        """Rows of the last map: the first convolution and the second and third group halve the frequency."""
        return self.mels // 8

    @property
    def units(self) -> int:
        """Units of the BLSTM per direction: the least power of two >= the last group's channels (paper: 512)."""
        return 1 << (self.channels[-1] - 1).bit_length()


def layers(layout: SpeechLayout, frames: int) -> list[Layer]:
    """The layers of a net in the order of the forward pass; each includes the norm before it, a BLSTM its own norms.

    Args:
        layout: The net's layout.
        frames: Frames of an utterance, for the multiply-adds.
    """
    rows, last = layout.mels // 2, layout.channels[-1]
    places = rows * frames
    result = [_layer("conv1", 9 * STATICS_AND_DELTAS * STEM_WIDTH, places)]
    for group, (before, channels) in enumerate(pairwise(layout.channels)):
        for block in range(layout.blocks):
            name, inputs = f"blocks.{group * layout.blocks + block}", channels if block else before
            if group > 0 and block == 0:
                rows //= 2
            places = rows * frames
            result.append(_layer(f"{name}.conv1", 9 * inputs * channels, places, 2 * inputs))
            result.append(_layer(f"{name}.conv2", 9 * channels * channels, places, 2 * channels))
            if layout.has_shortcuts and block == 0 and (group > 0 or inputs != channels):
                result.append(_layer(f"{name}.downsample", inputs * channels, places))
    result.append(Layer("rows", 2 * last + rows + 1, rows * last * frames))
    units = layout.units
    if layout.has_blstm:
        for name, inputs in (("blstm1", last), ("blstm2", units)):
            result.append(_layer(name, 2 * GATES * units * (inputs + units), frames, 2 * 2 * GATES * units))
        result.append(_layer("dense", (2 * units) ** 2, frames))
        last = 2 * units
    norm = 2 * last if layout.has_blstm else 0
    result.append(_layer("fc", last * layout.classes, frames, norm + layout.classes))
    return result


def _layer(name: str, weights: int, places: int, others: int = 0) -> Layer:
    """A layer whose weights are used at `places` places; `others` are parameters without multiply-adds."""
    return Layer(name, weights + others, weights * places)

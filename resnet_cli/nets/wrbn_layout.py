"""What a wide residual BLSTM net is made of, and its layers; see `nets.wrbn`. Imports no torch.

The layers are checked in the tests against the built net, to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from resnet_cli.nets.complexity import Layer

STEM_WIDTH = 16
GROUPS = (16, 32, 64)  # channels of the three groups, times the width
STATICS_AND_DELTAS = 3  # channels of the input
GATES = 4  # of an LSTM


@dataclass(frozen=True)
class SpeechLayout:
    """What a net is made of.

    Attributes:
        blocks: In each of the three groups (N).
        width: Times 16, 32 and 64 channels (k).
        has_shortcuts: False of a plain net, which has the same layers but the projections.
        has_blstm: Two BLSTM layers and a dense one under the output; else the output alone.
        mels: Rows of the input, a multiple of 8.
        classes: Phones.
    """

    blocks: int
    width: int
    has_shortcuts: bool
    has_blstm: bool
    mels: int
    classes: int

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the first convolution and of each group."""
        return STEM_WIDTH, *(self.width * each for each in GROUPS)

    @property
    def rows(self) -> int:
        """Of the last map: the first convolution and the second and third group halve the frequency."""
        return self.mels // 8

    @property
    def units(self) -> int:
        """Of the BLSTM in a direction: the least power of two from the last group's channels on, the paper's 512."""
        return 1 << (self.channels[-1] - 1).bit_length()


def layers(layout: SpeechLayout, frames: int) -> list[Layer]:
    """The layers of a net in the order of the forward pass; each with the norm before it, a BLSTM with those in it.

    Args:
        layout: What it is made of.
        frames: Of an utterance, for the multiply-adds.
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
    """A layer whose weights are used at so many places; others are parameters that are no weights."""
    return Layer(name, weights + others, weights * places)

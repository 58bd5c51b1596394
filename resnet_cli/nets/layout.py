"""The layout of the paper's nets, stage by stage (Table 1, section 4.2). Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from resnet_cli.spec import Shortcut


@dataclass(frozen=True)
class Layout:
    """A stem, stages of blocks, and a classifier. The first block of every stage but the first halves the map.

    Attributes:
        kernel: Side of the stem's convolution.
        stem_width: Filters of the stem's convolution.
        halves: Whether the stem's convolution has stride 2 and is followed by a max pooling of stride 2.
        blocks: Blocks in each stage.
        widths: Filters of each stage's 3x3 convolutions.
        block: `basic` has two 3x3 layers, `single` one (section 3.2), `bottleneck` 1x1, 3x3 and 1x1 with four times as
            many filters in the last, `highway` two 3x3 layers and a gate.
        shortcut: Option A, B or C; None in a plain net.
        classes: Number of outputs.
        stride_3x3: Whether a bottleneck's stride is in its 3x3 layer ("v1.5") instead of the first 1x1.
    """

    kernel: int
    stem_width: int
    halves: bool
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    block: Literal["basic", "single", "bottleneck", "highway"]
    shortcut: Shortcut | None
    classes: int
    stride_3x3: bool = False

    @property
    def expansion(self) -> int:
        """Output channels of a block, as a multiple of its width."""
        return 4 if self.block == "bottleneck" else 1

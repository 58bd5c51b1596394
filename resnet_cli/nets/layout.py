"""What a net of the paper is made of, stage by stage (Table 1, section 4.2). Imports no torch."""

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
        stem_width: Its filters.
        halves: Whether the stem's convolution has stride 2, and a max pooling of stride 2 follows it.
        blocks: Blocks in each stage.
        widths: Filters of each stage's 3x3 convolutions.
        block: Two 3x3 layers, one of them alone (section 3.2), 1x1, 3x3, 1x1 with four times the filters out, or two
            3x3 layers and a gate (Highway nets).
        shortcut: Option A, B or C; None in a plain net.
        classes: Outputs.
        stride_3x3: Where a bottleneck's stride stands: the 3x3 ("v1.5") in place of the first 1x1.
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
        """Channels out of a block, in widths."""
        return 4 if self.block == "bottleneck" else 1

"""The names of wide residual BLSTM nets: `wrbn-22-5`, `plain-wrbn-22-5`, `wrbn-22-5-linear`. Imports no torch."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from resnet_cli.spec import Net

NAME = re.compile(r"(plain-)?wrbn-([0-9]{1,5})-([0-9]{1,2})(-linear)?")


class SpeechNet(Net):
    """A net of the family: `plain` or `resnet`, whose shortcuts project where dimensions change (option B).

    Attributes:
        width: How many times as wide as 16, 32 and 64 channels (k).
        head: `linear` has no BLSTM; None: the paper's two.
    """

    width: int = Field(gt=0, le=64)
    head: Literal["linear"] | None = None

    @property
    def name(self) -> str:
        """As in experiments."""
        plain, head = "plain-" if self.family == "plain" else "", f"-{self.head}" if self.head else ""
        return f"{plain}wrbn-{self.depth}-{self.width}{head}"

    @property
    def full_name(self) -> str:
        """The same: there is one kind of shortcut."""
        return self.name

    @property
    def blocks(self) -> int:
        """The number of blocks in each of three groups, the N of a wide ResNet's depth 6N+4.

        Raises:
            ValueError: There is no such depth.
        """
        blocks, rest = divmod(self.depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f"{self.name}: depth {self.depth} is not 6N+4 (10, 16, 22, 28, 34, ...)")
        return blocks


def parse(name: str) -> SpeechNet:
    """The net of a name.

    Raises:
        ValueError: It is not the name of a net.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"'{name}' is not a net; write wrbn-22-5, plain-wrbn-22-5, wrbn-22-5-linear ...")
    return SpeechNet(
        family="plain" if match[1] else "resnet",
        depth=int(match[2]),
        shortcut=None if match[1] else "B",
        width=int(match[3]),
        head="linear" if match[4] else None,
    )

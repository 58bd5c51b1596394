"""The settings of Faster R-CNN besides its net and its schedule: image sizes, anchors, proposals, regions."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt
from pydantic import model_validator as validates

from resnet_cli.spec.frozen import MOST_PIXELS, Frozen, Side


class Detector(Frozen):
    """Settings of Faster R-CNN; the defaults are those of its authors for VOC. Sizes in pixels of the resized image.

    Attributes:
        sides: An image is resized until its shorter side is the first, but its longer side at most the second.
        anchors: Sides of the square anchors. For each there are two more of the same area: half and twice as wide as
            high.
        narrowest: Least side of a proposal, in pixels of the original image.
        before_nms: The number of best proposals that enter non-maximum suppression, in training and at test.
        proposals: The largest number that is left after it, in training and at test.
        regions: Regions per image that are sampled to train the detector.
        negatives_from: Least overlap (IoU) with an object for a region to be sampled as background.
        frozen: The number of first stages that are not trained: 2 are conv1 and conv2_x.
        grid: Side of the grid to which a region is pooled; None: the net's own.
    """

    sides: tuple[Side, Side] = (600, 1_000)
    anchors: tuple[Side, ...] = Field((128, 256, 512), min_length=1, max_length=8)
    narrowest: int = Field(16, ge=1, le=MOST_PIXELS)
    before_nms: tuple[PositiveInt, PositiveInt] = (12_000, 6_000)
    proposals: tuple[PositiveInt, PositiveInt] = (2_000, 300)
    regions: int = Field(128, ge=4, le=10_000)
    negatives_from: float = Field(0.1, ge=0, lt=0.5)
    frozen: int = Field(2, ge=0, le=4)
    grid: int | None = Field(None, ge=2, le=28)

    @validates(mode="after")
    def _sides_fit(self) -> Self:
        if self.sides[0] > self.sides[1]:
            raise ValueError(f"sides: the shorter one first, not {self.sides[0]}, {self.sides[1]}")
        return self

    def tiny(self) -> Detector:
        """The settings of a smoke run: small images, small anchors, few regions."""
        return self.model_copy(
            update={
                "sides": (96, 128),
                "anchors": (24, 48),
                "before_nms": (200, 100),
                "proposals": (50, 8),
                "regions": 8,
                "negatives_from": 0.0,
            }
        )

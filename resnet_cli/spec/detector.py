"""How a detector sees images, samples regions and answers: what Faster R-CNN has besides a net and a schedule."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt
from pydantic import model_validator as validates

from resnet_cli.spec.frozen import MOST_PIXELS, Frozen, Side


class Detector(Frozen):
    """Settings of Faster R-CNN; the defaults are those of its authors for VOC. Sizes in pixels of the resized image.

    Attributes:
        sides: To which an image is resized: its shorter side, unless its longer side would exceed the second.
        anchors: Sides of the square ones; each has one half and one twice as wide as high beside it, of its area.
        narrowest: Least side of a proposal, in pixels of the image as it was.
        before_nms: Best proposals that are taken, in training and at test.
        proposals: Of these, most that are left after non-maximum suppression.
        regions: Sampled for the detector, of each image.
        negatives_from: Least overlap (IoU) of a region with an object that is taken for the background.
        frozen: The first stages of convolutions that are not trained: conv1 and conv2_x.
        grid: Places a side to which a region is pooled.
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
        """A smoke run's: small images, small anchors, few regions."""
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

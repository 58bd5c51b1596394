"""How a net is trained: batch, learning rate, schedule, inputs from photographs. Sections 3.4 and 4.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PositiveFloat
from pydantic import model_validator as validates

from resnet_cli.spec.detector import Detector
from resnet_cli.spec.frozen import DEEPEST, MOST_IMAGES, MOST_PIXELS, Frozen, Side, Updates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.names import Deviation


class Warmup(Frozen):
    """Section 4.2, n = 18: start at a lower rate until the training error is below 80%.

    The paper gives no window for the training error. We assume the mean over the last `window` updates. We also assume
    that nets deeper than 110 warm up, from "trained as described above".
    """

    from_depth: int = Field(110, gt=0, le=DEEPEST)
    learning_rate: PositiveFloat = 0.01
    until_train_error: float = Field(80.0, gt=0, lt=100)
    window: Updates = 100


FEWEST_UPDATES_OF_A_WINDOW = 1_000


class Plateau(Frozen):
    """Section 3.4: the rate "is divided by 10 when the error plateaus". We chose which error, and what a plateau is.

    The error is the training error's mean over a window of updates, so that nothing is chosen on the validation set.
    It plateaus when `patience` windows in a row are not better than the best before by `improvement` (percent).
    """

    window: Updates = 5_005  # an epoch of the paper's photographs (section 3.4)
    patience: Updates = 3
    improvement: float = Field(0.5, ge=0, lt=100)
    drops: Updates = 3


class Photos(Frozen):
    """How photographs become inputs (section 3.4). Sizes in pixels.

    Attributes:
        crop: Side of the square input.
        shorter_side: Range from which a training image's shorter side is drawn.
        cropping: `scale` is the paper's, `random-resized` fb.resnet.torch's: 8 to 100% of the area, aspect 3:4 to 4:3.
        mean: Whether the subtracted mean is per pixel or per channel.
        colour_std: Standard deviation of AlexNet's colour (PCA) augmentation.
    """

    crop: int = Field(224, ge=32, le=MOST_PIXELS)
    shorter_side: tuple[Side, Side] = (256, 480)
    cropping: Literal["scale", "random-resized"] = "scale"
    mean: Literal["pixel", "channel"] = "pixel"
    colour_std: float = Field(0.1, ge=0)

    @validates(mode="after")
    def _crop_fits(self) -> Self:
        low, high = self.shorter_side
        if not self.crop <= low <= high:
            raise ValueError(f"shorter_side must be two sizes, the smaller first, none below the crop of {self.crop}")
        return self

    @property
    def test_side(self) -> int:
        """Shorter side for 1-crop and 10-crop testing: 256 for a crop of 224."""
        return round(256 * self.crop / 224)

    @property
    def dense_sides(self) -> tuple[int, ...]:
        """Shorter sides of the fully convolutional test: section 3.4's for a crop of 224, for others in proportion."""
        return tuple(round(side * self.crop / 224) for side in (224, 256, 384, 480, 640))


class Protocol(Frozen):
    """How a net is trained. The defaults are exactly those of section 4.2.

    Attributes:
        milestones: Updates after which the learning rate is divided by 10.
        plateau: The learning rate is also divided by 10 when the error plateaus; None: never.
        photos: How photographs become inputs; None for datasets in memory.
        bias_rate: The factor on the learning rate of biases; None: 1.
        detector: A detector's further settings; None for other nets.
    """

    batch_size: int = Field(128, ge=2, le=MOST_IMAGES)
    learning_rate: PositiveFloat = 0.1
    milestones: tuple[Updates, ...] = (32_000, 48_000)
    iterations: Updates = 64_000
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: Warmup | None = Warmup.model_construct()  # equals `Warmup()`, without building its validator now
    plateau: Plateau | None = None
    photos: Photos | None = None
    bias_rate: PositiveFloat | None = None
    detector: Detector | None = None

    @validates(mode="after")
    def _milestones_never_fall(self) -> Self:
        # In a very short schedule several milestones may fall on the same update.
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones must not fall: {list(self.milestones)}")
        return self

    def scaled(self, schedule: float) -> Protocol:
        """The same schedule, `schedule` times as long."""
        return self.model_copy(
            update={
                "milestones": tuple(max(1, round(m * schedule)) for m in self.milestones),
                "iterations": max(1, round(self.iterations * schedule)),
                "plateau": self.plateau
                and self.plateau.model_copy(update={"window": self._scaled_window(self.plateau.window, schedule)}),
            }
        )

    @staticmethod
    def _scaled_window(window: int, schedule: float) -> int:
        """A plateau's window in a shorter schedule. It has a minimum: over few updates the error hardly falls."""
        return max(round(window * schedule), min(window, FEWEST_UPDATES_OF_A_WINDOW))

    def tiny(self) -> Protocol:
        """The protocol of a smoke run: eight updates of 16 images (a detector: 2), with every phase of the schedule.

        Photographs have 32 pixels a side.
        """
        return self.model_copy(
            update={
                "batch_size": 2 if self.detector else 16,
                "milestones": self.milestones and (4, 6),
                "iterations": 8,
                "warmup": self.warmup and self.warmup.model_copy(update={"window": 2}),
                "plateau": self.plateau and self.plateau.model_copy(update={"window": 2, "patience": 1}),
                "photos": self.photos and self.photos.model_copy(update={"crop": 32, "shorter_side": (36, 68)}),
                "detector": self.detector and self.detector.tiny(),
            },
        )

    def deviating(self, deviations: Sequence[Deviation]) -> Protocol:
        """The protocol with these deviations from the paper; `stride-3x3` changes only the net, not the protocol."""
        changes: dict[str, Any] = {}
        if "fixed-steps" in deviations:
            changes.update(plateau=None, milestones=FIXED_STEPS)
        photos = {}
        if "channel-mean" in deviations:
            photos["mean"] = "channel"
        if "random-resized-crop" in deviations:
            photos["cropping"] = "random-resized"
        if photos:
            changes["photos"] = (self.photos or Photos()).model_copy(update=photos)
        return self.model_copy(update=changes)


FIXED_STEPS = (150_000, 300_000, 450_000)  # every 30 epochs, as in fb.resnet.torch

"""What is trained and how: nets, protocols, scales, and what identifies a run. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat
from pydantic import model_validator as validates

from resnet_cli.names import DatasetName, Deviation, Precision, Split  # noqa: TC001  pydantic reads annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

Benchmark = Literal["cifar10", "imagenet"]
Shortcut = Literal["A", "B", "C"]
Views = Literal["1-crop", "10-crop", "dense"]
Analysis = Literal["responses", "gradients", "training-set"]
AfterTraining = Views | Analysis  # what is made of a trained net; 1-crop is part of every training

# The benchmark whose nets (Table 1's or section 4.2's) and protocol a dataset is used with.
BENCHMARK_OF: dict[DatasetName, Benchmark] = {
    "cifar10": "cifar10",
    "synthetic": "cifar10",
    "shapes-16": "cifar10",
    "imagenet": "imagenet",
    "synthetic-photos": "imagenet",
    "folder": "imagenet",
}
BENCHMARK_NAMES: dict[Benchmark, str] = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}
SYNTHETIC: dict[Benchmark, DatasetName] = {"cifar10": "synthetic", "imagenet": "synthetic-photos"}


def image_side(dataset: DatasetName) -> int:
    """Pixels a side of the images of CIFAR-10's nets."""
    return 16 if dataset == "shapes-16" else 32


# Beyond these a number in a file is a slip, and some are more than a machine can count.
DEEPEST = 99_999
MOST_UPDATES = 10**11
MOST_IMAGES = 10**6  # of an update
MOST_PIXELS = 10**4  # of a side

Updates = Annotated[int, Field(gt=0, le=MOST_UPDATES)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
Percent = Annotated[float, Field(ge=0, le=100)]

IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
FIRST_BOTTLENECK = 50  # layers; ImageNet's nets from here on have bottleneck blocks, and option B in the paper

_NET_NAME = re.compile(r"(plain|resnet)-([0-9]{1,5})(?:-([ABC]))?(-single)?(?:-from-([0-9]{1,5})|-x([0-9]{1,2}))?")


class Frozen(BaseModel):
    """Base of every spec: immutable; an unknown key and a number that JSON does not have are errors."""

    # Validators are built when the first value is read: most commands need few of them, and building takes its time.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Net(Frozen):
    """One of the paper's nets. Written `plain-20`, `resnet-20` (option A), `resnet-20-B`.

    For the paper's arguments there are three more, on CIFAR-10: `resnet-20-single`, `plain-56-from-20`, `plain-56-x3`.

    Attributes:
        family: `plain` has no shortcuts (section 3.3).
        depth: Layers with weights; 6n+2 on CIFAR-10 (section 4.2), 18 to 152 on ImageNet (Table 1).
        shortcut: Option A, B or C (section 3.3); None in a plain net.
        single: Whether a shortcut spans one layer in place of two (section 3.2). None is no, as everywhere here.
        start: Depth of the trained plain net that it is made from, by identity layers (section 1); None: from scratch.
        times: How many times the protocol's updates it is trained for (section 4.1, footnote); None: once.
    """

    family: Literal["plain", "resnet"]
    depth: int = Field(gt=0, le=DEEPEST)
    shortcut: Shortcut | None
    single: Literal[True] | None = None
    start: int | None = Field(None, gt=0, le=DEEPEST)
    times: int | None = Field(None, ge=2, le=20)

    @validates(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = _NET_NAME.fullmatch(value)
        if match is None or (match[1] == "plain" and match[3]):
            raise ValueError(f"'{value}' is not a net; write plain-20, resnet-20, resnet-20-B ...")
        return {
            "family": match[1],
            "depth": int(match[2]),
            "shortcut": None if match[1] == "plain" else match[3] or "A",
            "single": True if match[4] else None,
            "start": match[5] and int(match[5]),
            "times": match[6] and int(match[6]),
        }

    @validates(mode="after")
    def _plain_means_no_shortcut(self) -> Self:
        if (self.family == "plain") != (self.shortcut is None):
            raise ValueError(f"{self.family}-{self.depth}: a plain net has no shortcut, a residual net has A, B or C")
        if self.single and self.family == "plain":
            raise ValueError(f"{self.name}: a plain net has no shortcut that could span a single layer")
        if self.start and (self.family != "plain" or self.start >= self.depth):
            raise ValueError(f"{self.name}: a plain net is made from a shallower plain net")
        return self

    @property
    def name(self) -> str:
        """The net's shortest name: option A, the paper's choice on CIFAR-10, goes without saying."""
        return self._named(self.shortcut if self.shortcut in ("B", "C") else None)

    @property
    def full_name(self) -> str:
        """The name with its shortcut option spelled out."""
        return self._named(self.shortcut)

    def _named(self, shortcut: Shortcut | None) -> str:
        parts = [
            f"{self.family}-{self.depth}",
            shortcut or "",
            "single" if self.single else "",
            f"from-{self.start}" if self.start else "",
            f"x{self.times}" if self.times else "",
        ]
        return "-".join(filter(None, parts))

    @classmethod
    def on(cls, benchmark: Benchmark, name: str) -> Net:
        """The net that a name means there: on ImageNet a bare `resnet-50` has option B, the paper's for bottlenecks.

        Raises:
            ValueError: It is no net of this benchmark.
        """
        net = cls.model_validate(spelled_out(name) if benchmark == "imagenet" else name)
        net.blocks(benchmark)
        return net

    def short_name(self, benchmark: Benchmark) -> str:
        """The name with the paper's own option for it on this benchmark unsaid."""
        if benchmark == "imagenet" and self.depth >= FIRST_BOTTLENECK:
            return self.full_name.removesuffix("-B")
        return self.name

    def blocks(self, benchmark: Benchmark) -> tuple[int, ...]:
        """Blocks in each stage: of Table 1's net on ImageNet; n at each of three sizes on CIFAR-10, depth = 6n+2.

        Blocks of a single layer are twice as many.

        Raises:
            ValueError: There is no net of this depth.
        """
        if benchmark == "imagenet":
            if self.single or self.start or self.times:
                raise ValueError(f"{self.name}: of CIFAR-10's nets only")
            if self.depth not in IMAGENET_BLOCKS:
                known = ", ".join(map(str, IMAGENET_BLOCKS))
                raise ValueError(f"{self.name}: ImageNet's nets have {known} layers (Table 1)")
            return IMAGENET_BLOCKS[self.depth]
        for depth in (self.depth, self.start or self.depth):
            if depth < 8 or (depth - 2) % 6:  # noqa: PLR2004
                raise ValueError(f"{self.name}: depth {depth} is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...)")
        n = (self.depth - 2) // 6 * (2 if self.single else 1)
        return (n, n, n)


def spelled_out(name: str) -> str:
    """A net's name on ImageNet with option B said where the paper leaves it unsaid: `resnet-50` is `resnet-50-B`."""
    match = _NET_NAME.fullmatch(name)
    bare = match and match[1] == "resnet" and not match[3] and int(match[2]) >= FIRST_BOTTLENECK
    return f"{name}-B" if bare else name


class Warmup(Frozen):
    """Section 4.2, n = 18: start at a lower rate until the training error is below 80%.

    The paper gives no window for "training error"; ours is the mean over the last `window` updates, an assumption.
    That nets deeper than 110 warm up too is read from "trained as described above".
    """

    from_depth: int = Field(110, gt=0, le=DEEPEST)
    learning_rate: PositiveFloat = 0.01
    until_train_error: float = Field(80.0, gt=0, lt=100)
    window: Updates = 100


FEWEST_UPDATES_OF_A_WINDOW = 1_000


class Plateau(Frozen):
    """Section 3.4: the rate "is divided by 10 when the error plateaus". Which error, and what a plateau is, is ours.

    The error is the training error's mean over a window of updates, so that nothing is chosen on the validation set.
    It plateaus when `patience` windows in a row are not better than the best before by `improvement` (percent).
    """

    window: Updates = 5_005  # an epoch of ImageNet
    patience: Updates = 3
    improvement: float = Field(0.5, ge=0, lt=100)
    drops: Updates = 3


class Photos(Frozen):
    """How photographs become inputs (section 3.4). Sizes in pixels.

    Attributes:
        crop: Side of the square input.
        shorter_side: Range from which a training image's shorter side is drawn.
        cropping: `scale` is the paper's; `random-resized` fb.resnet.torch's: 8 to 100% of the area, aspect 3:4 to 4:3.
        mean: Subtracted per pixel, or per channel.
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
            raise ValueError(f"shorter_side must be two sizes, the lesser first, none below the crop of {self.crop}")
        return self

    @property
    def test_side(self) -> int:
        """Shorter side for 1-crop and 10-crop testing: 256 for a crop of 224."""
        return round(256 * self.crop / 224)

    @property
    def dense_sides(self) -> tuple[int, ...]:
        """Shorter sides of the fully convolutional test: section 3.4's for a crop of 224, else in proportion."""
        return tuple(round(side * self.crop / 224) for side in (224, 256, 384, 480, 640))


class Protocol(Frozen):
    """How a net is trained. The defaults are section 4.2, to the update; `PAPER` has section 3.4 too.

    Attributes:
        milestones: Updates after which the rate is a tenth.
        plateau: The rate is a tenth when the error plateaus, besides.
        photos: How photographs become inputs; None for images of 32x32 held in memory.
    """

    batch_size: int = Field(128, ge=2, le=MOST_IMAGES)
    learning_rate: PositiveFloat = 0.1
    milestones: tuple[Updates, ...] = (32_000, 48_000)
    iterations: Updates = 64_000
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: Warmup | None = Warmup.model_construct()  # as `Warmup()`, but builds no validator yet
    plateau: Plateau | None = None
    photos: Photos | None = None

    @validates(mode="after")
    def _milestones_never_fall(self) -> Self:
        # In a very short schedule several milestones may meet at one update.
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
        """A plateau's window in a shorter schedule; but in few updates no error falls far enough to be judged."""
        return max(round(window * schedule), min(window, FEWEST_UPDATES_OF_A_WINDOW))

    def tiny(self) -> Protocol:
        """A smoke run: eight updates of 16 images, every phase of the schedule included; photographs at 32 pixels."""
        return self.model_copy(
            update={
                "batch_size": 16,
                "milestones": self.milestones and (4, 6),
                "iterations": 8,
                "warmup": self.warmup and self.warmup.model_copy(update={"window": 2}),
                "plateau": self.plateau and self.plateau.model_copy(update={"window": 2, "patience": 1}),
                "photos": self.photos and self.photos.model_copy(update={"crop": 32, "shorter_side": (36, 68)}),
            },
        )

    def deviating(self, deviations: Sequence[Deviation]) -> Protocol:
        """The protocol with these deviations from the paper; `stride-3x3` is about the net and changes nothing here."""
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


FIXED_STEPS = (150_000, 300_000, 450_000)  # every 30 epochs, as fb.resnet.torch

PAPER: dict[Benchmark, Protocol] = {
    # Constructed without being validated, which builds no validator yet; a test does so.
    "cifar10": Protocol.model_construct(),
    "imagenet": Protocol.model_construct(
        batch_size=256,
        milestones=(),
        iterations=600_000,
        warmup=None,
        plateau=Plateau.model_construct(),
        photos=Photos.model_construct(),
    ),
}


class Variant(Frozen):
    """What may differ between two answers to one experiment; stands on every table and figure."""

    dataset: DatasetName = "cifar10"
    split: Split = "full"
    schedule: float = Field(1.0, gt=0, le=100)
    tiny: bool = False
    precision: Precision = "fp32"
    source: str | None = Field(None, pattern=r"^[\w.-]+$", max_length=80)
    deviations: tuple[Deviation, ...] | None = None
    accumulate: int | None = Field(None, ge=2, le=256)

    @validates(mode="after")
    def _agrees(self) -> Self:
        if (self.dataset == "folder") != (self.source is not None):
            raise ValueError("source names a folder of classes, and only that")
        if self.deviations is not None and list(self.deviations) != sorted(set(self.deviations)):
            raise ValueError("deviations must be sorted, each once")
        if self.benchmark == "cifar10" and self.deviations:
            raise ValueError(f"{', '.join(self.deviations)}: a deviation from ImageNet's protocol, not from CIFAR-10's")
        if self.benchmark == "imagenet" and self.split != "full":
            raise ValueError("45k-5k: a split of CIFAR-10's training set; ImageNet has its own validation set")
        return self

    @property
    def benchmark(self) -> Benchmark:
        """Whose nets and protocol it is about."""
        return BENCHMARK_OF[self.dataset]

    @property
    def stride_3x3(self) -> bool:
        """Whether a bottleneck's stride is on its 3x3 ("v1.5"), not on the first 1x1."""
        return "stride-3x3" in (self.deviations or ())

    @property
    def is_paper(self) -> bool:
        """Whether a number of this variant may stand beside the paper's without a mark."""
        return self == Variant(dataset=self.benchmark, precision=self.precision)

    @property
    def label(self) -> str:
        """The variant in words, for titles: empty of nothing that differs from the paper."""
        data = BENCHMARK_NAMES[self.benchmark]
        if self.dataset != self.benchmark:
            embedded = "embedded shapes of 16x16 pixels" if self.dataset == "shapes-16" else "embedded synthetic set"
            data = f"{self.source or embedded}, not {data}"
        if self.tiny:
            scale = "SMOKE RUN (--tiny), not a result"
        elif self.schedule == 1:
            scale = "paper scale"
        else:
            scale = f"schedule {self.schedule:g} of the paper's"
        split = "" if self.split == "full" else "; trained on 45k, error on the 5k held out of training"
        others = "".join(f"; {deviation}" for deviation in self.deviations or ())
        parts = f"; batch in {self.accumulate} parts" if self.accumulate else ""
        return f"{scale}; {data}{split}{others}{parts}; {self.precision}"

    def flags(self, default: DatasetName) -> str:
        """The options that ask for this variant of an experiment on the `default` dataset, each after a space."""
        if self.tiny:
            parts = ["--tiny"]
        else:
            parts = [
                "--dataset-root DIR"
                if self.dataset == "folder"
                else ""
                if self.dataset == default
                else f"--dataset {self.dataset}",
                "" if self.schedule == 1 else f"--schedule {self.schedule:g}",
            ]
        parts.append("" if self.split == "full" else f"--split {self.split}")
        parts += [f"--deviation {deviation}" for deviation in self.deviations or ()]
        parts.append(f"--accumulate {self.accumulate}" if self.accumulate else "")
        parts.append("" if self.precision == "fp32" else f"--precision {self.precision}")
        return "".join(f" {part}" for part in parts if part)

    @property
    def slug(self) -> str:
        """The variant in a file name; empty for the paper's own."""
        parts = [
            "" if self.dataset == self.benchmark or self.tiny else self.source or self.dataset,
            "" if self.split == "full" else self.split,
            "tiny" if self.tiny else "" if self.schedule == 1 else f"schedule-{self.schedule:g}",
            *(self.deviations or ()),
            f"accumulate-{self.accumulate}" if self.accumulate else "",
            "" if self.precision == "fp32" else self.precision,
        ]
        return "".join(f"-{part}" for part in parts if part)


class RunSpec(Frozen):
    """One training: everything that decides its result. Its folder's name is its identity."""

    net: Net
    variant: Variant
    protocol: Protocol
    seed: NonNegativeInt

    @validates(mode="after")
    def _depth_fits_dataset(self) -> Self:
        self.net.blocks(self.variant.benchmark)
        if self.variant.accumulate and self.protocol.batch_size % self.variant.accumulate:
            raise ValueError(
                f"accumulate {self.variant.accumulate}: does not divide the batch of {self.protocol.batch_size}"
            )
        return self

    @classmethod
    def of(cls, net: Net, variant: Variant, protocol: Protocol, seed: int) -> RunSpec:
        """The run of one net under an experiment's (unscaled) protocol."""
        if protocol.warmup and net.depth < protocol.warmup.from_depth:
            protocol = protocol.model_copy(update={"warmup": None})
        protocol = protocol.deviating(variant.deviations or ())
        protocol = protocol.tiny() if variant.tiny else protocol.scaled(variant.schedule)
        if net.times:
            protocol = protocol.scaled(net.times)
        return cls(net=net, variant=variant, protocol=protocol, seed=seed)

    @property
    def source(self) -> RunSpec | None:
        """The run whose trained net this one starts from; None if it starts from scratch."""
        if self.net.start is None:
            return None
        net, protocol = Net(family="plain", depth=self.net.start, shortcut=None), self.protocol
        if protocol.warmup and net.depth < protocol.warmup.from_depth:
            protocol = protocol.model_copy(update={"warmup": None})
        return self.model_copy(update={"net": net, "protocol": protocol})

    @property
    def hash8(self) -> str:
        """Eight hex digits over the canonical spec without its seed.

        None is left out of the canonical form, so that a later optional field, None by default, keeps known ids.
        """
        content = self.model_dump(mode="json", exclude={"seed"}, exclude_none=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    @property
    def run_id(self) -> str:
        """The name of the run's folder."""
        return f"{self.net.name}-{self.variant.dataset}-{self.hash8}-s{self.seed}"

"""What is trained and how: nets, protocols, scales, and what identifies a run. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic import model_validator as validates

DatasetName = Literal["cifar10", "synthetic"]
Precision = Literal["fp32", "tf32", "bf16"]
Split = Literal["full", "45k-5k"]
Shortcut = Literal["A", "B", "C"]

_NET_NAME = re.compile(r"(plain|resnet)-([0-9]{1,5})(?:-([ABC]))?")


class Frozen(BaseModel):
    """Base of every spec: immutable; an unknown key and a number that JSON does not have are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Net(Frozen):
    """One of the paper's nets. Written `plain-20`, `resnet-20` (option A), `resnet-20-B`.

    Attributes:
        family: `plain` has no shortcuts (section 3.3).
        depth: Layers with weights; 6n+2 on CIFAR-10 (section 4.2).
        shortcut: Option A, B or C (section 3.3); None in a plain net.
    """

    family: Literal["plain", "resnet"]
    depth: PositiveInt
    shortcut: Shortcut | None

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
        }

    @validates(mode="after")
    def _plain_means_no_shortcut(self) -> Self:
        if (self.family == "plain") != (self.shortcut is None):
            raise ValueError(f"{self.family}-{self.depth}: a plain net has no shortcut, a residual net has A, B or C")
        return self

    @property
    def name(self) -> str:
        """The net's shortest name: option A, the paper's choice on CIFAR-10, goes without saying."""
        return f"{self.family}-{self.depth}" + (f"-{self.shortcut}" if self.shortcut in ("B", "C") else "")

    @property
    def full_name(self) -> str:
        """The name with its shortcut option spelled out."""
        return f"{self.family}-{self.depth}" + (f"-{self.shortcut}" if self.shortcut else "")

    @property
    def cifar_blocks(self) -> int:
        """Section 4.2's n: blocks at each of the three feature-map sizes; depth = 6n+2.

        Raises:
            ValueError: The depth is not 6n+2 with n >= 1.
        """
        n, remainder = divmod(self.depth - 2, 6)
        if n < 1 or remainder:
            raise ValueError(f"{self.name}: depth {self.depth} is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...)")
        return n


class Warmup(Frozen):
    """Section 4.2, n = 18: start at a lower rate until the training error is below 80%.

    The paper gives no window for "training error"; ours is the mean over the last `window` updates, an assumption.
    That nets deeper than 110 warm up too is read from "trained as described above".
    """

    from_depth: PositiveInt = 110
    learning_rate: PositiveFloat = 0.01
    until_train_error: float = Field(80.0, gt=0, lt=100)
    window: PositiveInt = 100


class Protocol(Frozen):
    """How a net is trained. The defaults are section 4.2, to the update."""

    batch_size: int = Field(128, ge=2)
    learning_rate: PositiveFloat = 0.1
    milestones: tuple[PositiveInt, ...] = (32_000, 48_000)
    iterations: PositiveInt = 64_000
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: Warmup | None = Warmup()

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
            }
        )

    def tiny(self) -> Protocol:
        """A smoke run: eight updates of 16 images, every phase of the schedule included."""
        warmup = self.warmup and self.warmup.model_copy(update={"window": 2})
        return self.model_copy(
            update={"batch_size": 16, "milestones": (4, 6), "iterations": 8, "warmup": warmup},
        )


class Variant(Frozen):
    """What may differ between two answers to one experiment; stands on every table and figure."""

    dataset: DatasetName = "cifar10"
    split: Split = "full"
    schedule: float = Field(1.0, gt=0, le=100)
    tiny: bool = False
    precision: Precision = "fp32"

    @property
    def is_paper(self) -> bool:
        """Whether a number of this variant may stand beside the paper's without a mark."""
        return self == Variant(precision=self.precision)

    @property
    def label(self) -> str:
        """The variant in words, for titles: empty of nothing that differs from the paper."""
        data = {"cifar10": "CIFAR-10", "synthetic": "embedded synthetic set, not CIFAR-10"}[self.dataset]
        if self.tiny:
            scale = "SMOKE RUN (--tiny), not a result"
        elif self.schedule == 1:
            scale = "paper scale"
        else:
            scale = f"schedule {self.schedule:g} of the paper's"
        split = "" if self.split == "full" else "; trained on 45k, error on the 5k held out of training"
        return f"{scale}; {data}{split}; {self.precision}"

    def flags(self, default: DatasetName) -> str:
        """The options that ask for this variant of an experiment on the `default` dataset, each after a space."""
        if self.tiny:
            parts = ["--tiny"]
        else:
            parts = [
                "" if self.dataset == default else f"--dataset {self.dataset}",
                "" if self.schedule == 1 else f"--schedule {self.schedule:g}",
            ]
        parts.append("" if self.split == "full" else f"--split {self.split}")
        parts.append("" if self.precision == "fp32" else f"--precision {self.precision}")
        return "".join(f" {part}" for part in parts if part)

    @property
    def slug(self) -> str:
        """The variant in a file name; empty for the paper's own."""
        parts = [
            "" if self.dataset == "cifar10" or self.tiny else self.dataset,
            "" if self.split == "full" else self.split,
            "tiny" if self.tiny else "" if self.schedule == 1 else f"schedule-{self.schedule:g}",
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
        _ = self.net.cifar_blocks
        return self

    @classmethod
    def of(cls, net: Net, variant: Variant, protocol: Protocol, seed: int) -> RunSpec:
        """The run of one net under an experiment's (unscaled) protocol."""
        if protocol.warmup and net.depth < protocol.warmup.from_depth:
            protocol = protocol.model_copy(update={"warmup": None})
        protocol = protocol.tiny() if variant.tiny else protocol.scaled(variant.schedule)
        return cls(net=net, variant=variant, protocol=protocol, seed=seed)

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

"""What an experiment file may say, and what identifies a run. Imports no torch: planning is instant."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from pydantic import model_validator as validates

from resnet_cli.errors import BadInputError

DatasetName = Literal["cifar10", "synthetic"]
Precision = Literal["fp32", "tf32", "bf16"]
Split = Literal["full", "45k-5k"]
Shortcut = Literal["A", "B", "C"]
Metric = Literal["test_error", "train_error"]

_NET_NAME = re.compile(r"(plain|resnet)-(\d{1,5})(?:-([ABC]))?")


class Frozen(BaseModel):
    """Base of every spec: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    def _milestones_rise(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise: {list(self.milestones)}")
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


class RunGroup(Frozen):
    """Nets to train, each with `seeds` replicates. `{depth}` in a name stands for each of the file's depths."""

    nets: tuple[str, ...] = Field(min_length=1)
    seeds: int = Field(1, ge=1, le=1000)


class Row(Frozen):
    """A row of the paper's table: one of our nets, or a number from the literature. Errors in percent."""

    label: str
    net: Net | None = None
    layers: str = ""
    params: str = ""
    error: float | None = None
    mean: float | None = None
    std: float | None = None


class Less(Frozen):
    """Claim: the left net's error is lower than the right one's (or than a number, in percent)."""

    kind: Literal["less"]
    text: str
    metric: Metric = "test_error"
    left: Net | float
    right: Net | float

    @validates(mode="after")
    def _compares_a_net(self) -> Self:
        if not self.nets:
            raise ValueError("left and right are both numbers; one must be a net")
        return self

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return tuple(side for side in (self.left, self.right) if isinstance(side, Net))


class Within(Frozen):
    """Claim: a net's mean error lies within `tolerance` of the paper's value. Percent."""

    kind: Literal["within"]
    text: str
    metric: Metric = "test_error"
    net: Net
    value: float
    tolerance: PositiveFloat

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return (self.net,)


class Monotone(Frozen):
    """Claim: each net's error is lower than that of the net before it."""

    kind: Literal["monotone"]
    text: str
    metric: Metric = "test_error"
    nets: tuple[Net, ...] = Field(min_length=2)


Claim = Annotated[Less | Within | Monotone, Field(discriminator="kind")]


class Panel(Frozen):
    """One panel of a figure: learning curves of some nets, or the final error against depth."""

    title: str
    kind: Literal["curves", "depth"] = "curves"
    nets: tuple[Net, ...] = ()
    show: Literal["both", "train", "test"] = "both"


class Figure(Frozen):
    """The figure that an experiment draws. `y_max` (percent) holds at paper scale only; short runs err more."""

    title: str
    y_max: float = Field(20.0, gt=0, le=100)
    panels: tuple[Panel, ...] = Field(min_length=1)


class Experiment(Frozen):
    """One table or figure of the paper: a question, the runs that answer it, the paper's answer."""

    name: str
    title: str
    question: str
    section: str
    dataset: DatasetName = "cifar10"
    depths: tuple[PositiveInt, ...] = ()
    protocol: Protocol = Protocol()
    runs: tuple[RunGroup, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = ()
    claims: tuple[Claim, ...] = ()
    figure: Figure | None = None

    @validates(mode="after")
    def _names_are_nets(self) -> Self:
        planned = {net.name for net, _ in self.nets_and_seeds()}
        for row in self.rows:
            if row.net and row.net.name not in planned:
                raise ValueError(f"row '{row.label}': {row.net.name} is in no [[runs]]")
        for net in self.nets_named():
            _ = net.cifar_blocks
        return self

    def nets_named(self) -> list[Net]:
        """Every net that a row, a claim or a panel speaks of, as often as it does."""
        panels = self.figure.panels if self.figure else ()
        spoken_of = [net for part in (*self.claims, *panels) for net in part.nets]
        return [row.net for row in self.rows if row.net] + spoken_of

    def nets_and_seeds(self, depths: tuple[int, ...] | None = None) -> list[tuple[Net, int]]:
        """Every net of the experiment with its number of replicates, in the file's order.

        Raises:
            ValueError: A name is not a net, or its depth is not 6n+2.
        """
        pairs = []
        for group in self.runs:
            for template in group.nets:
                swept = "{depth}" in template
                for depth in (depths or self.depths) if swept else (None,):
                    net = Net.model_validate(template.replace("{depth}", str(depth)))
                    _ = net.cifar_blocks
                    pairs.append((net, group.seeds))
        if not pairs:
            raise ValueError("a name holds {depth}, but depths is empty")
        return pairs


def first_problem(error: ValidationError) -> str:
    """A validation error as one line: the field, and what is wrong with it."""
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ").replace("\n", " ")
    return f"{field}: {message}" if field else message


def experiments_folder() -> Path:
    """The folder of the paper's experiment files: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def experiment_names() -> list[str]:
    """The experiments that come with the program, by name."""
    return sorted(path.stem for path in experiments_folder().glob("*.toml"))


def load_experiment(name_or_path: str) -> Experiment:
    """Reads an experiment: one of the paper's by name, or a user's own file by its path.

    Raises:
        BadInputError: There is no such experiment, or its file cannot be used; the message names file and field.
    """
    own_file = name_or_path.endswith(".toml")
    path = Path(name_or_path) if own_file else experiments_folder() / f"{name_or_path}.toml"
    if not own_file and name_or_path not in experiment_names():
        known = ", ".join(experiment_names())
        raise BadInputError(f"unknown experiment '{name_or_path}'; there are {known}, or give a .toml file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return Experiment.model_validate({"name": path.stem, **content})
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInputError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_problem(error)}") from error

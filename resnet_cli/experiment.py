"""What an experiment file may say, and reading one. Imports no torch: planning is instant."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError
from pydantic import model_validator as validates

from resnet_cli.errors import BadInputError
from resnet_cli.spec import DatasetName, Frozen, Net, Protocol, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

Metric = Literal["test_error", "train_error"]


class RunGroup(Frozen):
    """Nets to train, each with `seeds` replicates."""

    nets: tuple[Net, ...] = Field(min_length=1)
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
    """One table or figure of the paper: a question, the runs that answer it, the paper's answer.

    With `depths`, a name `resnet-{depth}` in a list stands for one net of each depth, and `{shallow}` and `{deep}`
    anywhere for the least and the greatest of them.
    """

    name: str = Field(pattern=r"^[^./\\][^/\\]*$")
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

    @validates(mode="before")
    @classmethod
    def _fill_in_depths(cls, content: Any) -> Any:
        depths = content.get("depths") if isinstance(content, dict) else None
        if not isinstance(depths, list | tuple) or not all(isinstance(depth, int) for depth in depths):
            return content
        return _with_depths(content, depths) if depths else content

    @validates(mode="after")
    def _nets_can_be_built(self) -> Self:
        for net in [*self.nets, *self.nets_named()]:
            _ = net.cifar_blocks
        for row in self.rows:
            if row.net and row.net not in self.nets:
                raise ValueError(f"row '{row.label}': {row.net.name} is in no [[runs]]")
        return self

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets to train, each once, in the file's order."""
        return tuple(dict.fromkeys(net for group in self.runs for net in group.nets))

    @property
    def stem(self) -> str:
        """Its name in the names of files; a sweep's with its depths, so that none overwrites another's."""
        return "-".join([self.name, *map(str, self.depths)])

    def is_paper(self, variant: Variant) -> bool:
        """Whether its numbers at this variant may stand beside the paper's without a mark."""
        return variant.is_paper and self.protocol == Protocol()

    def scale(self, variant: Variant) -> str:
        """The variant in words, for titles; a protocol that is not section 4.2's is named."""
        if self.protocol == Protocol():
            return variant.label
        label = variant.label.replace("paper scale", "its whole schedule").replace("of the paper's", "of its own")
        return f"OWN PROTOCOL, not section 4.2's; {label}"

    def nets_named(self) -> list[Net]:
        """Every net that a row, a claim or a panel speaks of, as often as it does."""
        panels = self.figure.panels if self.figure else ()
        spoken_of = [net for part in (*self.claims, *panels) for net in part.nets]
        return [row.net for row in self.rows if row.net] + spoken_of


def _with_depths(content: Any, depths: Sequence[int]) -> Any:
    """A file's content with `{depth}` in its lists, `{shallow}` and `{deep}` in its texts, filled in."""
    if isinstance(content, str):
        return content.replace("{shallow}", str(min(depths))).replace("{deep}", str(max(depths)))
    if isinstance(content, dict):
        return {key: _with_depths(value, depths) for key, value in content.items()}
    if isinstance(content, list):
        result = []
        for item in content:
            swept = isinstance(item, str) and "{depth}" in item
            copies = [item.replace("{depth}", str(depth)) for depth in depths] if swept else [item]
            result += [_with_depths(copy, depths) for copy in copies]
        return result
    return content


def first_problem(error: ValidationError) -> str:
    """A validation error as one line: the field, and what is wrong with it."""
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return " ".join(f"{field}: {message}".removeprefix(": ").split())


def experiments_folder() -> Path:
    """The folder of the paper's experiment files: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def experiment_names() -> list[str]:
    """The experiments that come with the program, by name."""
    return sorted(path.stem for path in experiments_folder().glob("*.toml"))


def load_experiment(name_or_path: str, depths: Sequence[int] | None = None) -> Experiment:
    """Reads an experiment: one of the paper's by name, or a user's own file by its path.

    Args:
        name_or_path: `table6`, or a path that ends in .toml.
        depths: The depths of a sweep, in place of the file's.

    Raises:
        BadInputError: There is no such experiment, its file cannot be used, or the depths cannot; the message names
            file and field.
    """
    own_file = name_or_path.endswith(".toml")
    path = Path(name_or_path) if own_file else experiments_folder() / f"{name_or_path}.toml"
    if not own_file and name_or_path not in experiment_names():
        known = ", ".join(experiment_names())
        raise BadInputError(f"unknown experiment '{name_or_path}'; there are {known}, or give a .toml file")
    try:
        content = {"name": path.stem, **tomllib.loads(path.read_text(encoding="utf-8"))}
        experiment = Experiment.model_validate(content)
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_problem(error)}") from error
    except (ValueError, RecursionError) as error:  # more than TOMLDecodeError: a number of 5,000 digits, say
        raise BadInputError(f"{path}: not TOML: {error}") from error
    if depths is None:
        return experiment
    if not experiment.depths:
        raise BadInputError(f"--depths: {experiment.name} sweeps no depth; use it with depth or degradation")
    if len(set(depths)) < 2:  # noqa: PLR2004
        raise BadInputError(f"--depths {depths[0]}: give two depths or more")
    try:
        return Experiment.model_validate({**content, "depths": list(dict.fromkeys(depths))})
    except ValidationError as error:
        raise BadInputError(f"--depths: {first_problem(error)}") from error

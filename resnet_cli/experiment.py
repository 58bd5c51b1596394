"""What an experiment file may say, and reading one. Imports no torch: planning is instant."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationError
from pydantic import model_validator as validates

from resnet_cli.errors import BadInputError
from resnet_cli.spec import (
    BENCHMARK_OF,
    PAPER,
    AfterTraining,
    Analysis,
    Benchmark,
    DatasetName,
    Frozen,
    Net,
    Percent,
    Protocol,
    Variant,
    Views,
    spelled_out,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NETS = 1_000
MOST_DEPTHS = 50
LONGEST_STEM = 150  # bytes; a file's name takes 255, and its variant's stands in it too

Line = Annotated[str, Field(max_length=1_000)]
Nets = Annotated[tuple[Net, ...], Field(max_length=MOST_NETS)]

Metric = Literal[
    "test_error",
    "test_error_top5",
    "train_error",
    "early_test_error",
    "updates_to_reach",
    "mean_response",
    "gradient_ratio",
    "training_set_error",
]
# What a metric is read from, where it is not a log.
NEEDS: dict[Metric, Analysis] = {
    "mean_response": "responses",
    "gradient_ratio": "gradients",
    "training_set_error": "training-set",
}


class RunGroup(Frozen):
    """Nets to train, each with `seeds` replicates."""

    nets: Nets = Field(min_length=1)
    seeds: int = Field(1, ge=1, le=1000)


class Row(Frozen):
    """A row of the paper's table: a net of ours, an ensemble of ours, or numbers from the literature. In percent.

    Attributes:
        net: The net whose runs the row shows.
        ensemble: The nets whose averaged scores it shows; one named twice is there with two seeds.
        error: Top-1 error.
        top5: Top-5 error.
        mean: Mean error over several runs, where the paper gives one.
        std: Its standard deviation.
    """

    label: Line
    net: Net | None = None
    ensemble: Nets = ()
    layers: Line = ""
    params: Line = ""
    error: Percent | None = None
    top5: Percent | None = None
    mean: Percent | None = None
    std: Percent | None = None

    @validates(mode="after")
    def _shows_one_thing(self) -> Self:
        if self.net and self.ensemble:
            raise ValueError(f"row '{self.label}': has a net and an ensemble; a row shows one of them")
        return self


class Architecture(Frozen):
    """A net to describe, not to train: its layers, its size, and the multiply-adds that the paper gives for it.

    Attributes:
        net: One of ours, or VGG-16 or VGG-19.
        flops: The paper's multiply-adds.
    """

    label: Line
    net: Net | Literal["vgg-16", "vgg-19"] = Field(union_mode="left_to_right")
    flops: float = Field(ge=1, le=1e18)


class Less(Frozen):
    """Claim: the left net's error is lower than the right one's (or than a number, in percent)."""

    kind: Literal["less"]
    text: Line
    metric: Metric = "test_error"
    left: Net | Percent
    right: Net | Percent

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
    text: Line
    metric: Metric = "test_error"
    net: Net
    value: Percent
    tolerance: float = Field(gt=0, le=100)

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return (self.net,)


class Monotone(Frozen):
    """Claim: each net's error is lower than that of the net before it."""

    kind: Literal["monotone"]
    text: Line
    metric: Metric = "test_error"
    nets: Nets = Field(min_length=2)


class BetterTogether(Frozen):
    """Claim: the averaged scores of several nets err less than the best of them alone, on the same images."""

    kind: Literal["ensemble"]
    text: Line
    metric: Literal["test_error", "test_error_top5"] = "test_error_top5"
    nets: Nets = Field(min_length=2)


class NoAdvantage(Frozen):
    """Claim: the left net's error is not lower than the right one's by `margin` (percent) or more."""

    kind: Literal["no-advantage"]
    text: Line
    metric: Metric = "test_error"
    left: Net
    right: Net
    margin: float = Field(gt=0, le=100)

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return (self.left, self.right)


class SameStart(Frozen):
    """Claim: a net made from a trained one has, before its first update, that one's error on the training set.

    Attributes:
        tolerance: Percent; the added layers are identities but for rounding.
    """

    kind: Literal["same-start"]
    text: Line
    metric: Literal["training_set_error"] = "training_set_error"
    net: Net
    tolerance: float = Field(gt=0, le=100)

    @validates(mode="after")
    def _is_made_from_another(self) -> Self:
        if not self.net.start:
            raise ValueError(f"{self.net.name}: starts from scratch; name a net like plain-56-from-20")
        return self

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets it speaks of."""
        return (self.net,)


Claim = Annotated[
    Less | Within | Monotone | BetterTogether | NoAdvantage | SameStart,
    Field(discriminator="kind"),
]


class Panel(Frozen):
    """One panel of a figure.

    Attributes:
        kind: Learning curves, the final error against depth, or what the analysis found in each layer, in the order of
            the forward pass or of its size (Figure 7).
        nets: All of the experiment's, if it names none.
        show: Which errors.
        weights: Of layers: before the first update or after the last.
    """

    title: Line
    kind: Literal["curves", "depth", "layers", "layers-sorted"] = "curves"
    nets: Nets = ()
    show: Literal["both", "train", "test"] = "both"
    weights: Literal["start", "end"] = "end"

    @property
    def shows_layers(self) -> bool:
        """Whether it is about layers."""
        return self.kind in ("layers", "layers-sorted")


class Figure(Frozen):
    """The figure that an experiment draws. Its limits (percent) hold at paper scale only; short runs err more."""

    title: Line
    y_min: float = Field(0.0, ge=0, lt=100)
    y_max: float = Field(20.0, gt=0, le=100)
    panels: tuple[Panel, ...] = Field(min_length=1, max_length=10)

    @validates(mode="after")
    def _rises(self) -> Self:
        if self.y_min >= self.y_max:
            raise ValueError(f"y_min {self.y_min:g}: must be below y_max, {self.y_max:g}")
        return self


class Experiment(Frozen):
    """One table or figure of the paper: a question, the runs that answer it, the paper's answer.

    With `depths`, a name `resnet-{depth}` in a list stands for one net of each depth, and `{shallow}` and `{deep}`
    anywhere for the least and the greatest of them. On ImageNet a bare `resnet-50` and deeper have option B. What the
    file does not say of the protocol is the paper's for the dataset.

    Attributes:
        test: The views of an image over which the final scores are averaged (section 3.4); CIFAR-10 has one.
        analysis: What is looked at in the trained nets (`evaluate.analyse`).
        reach: Count the updates until the running training error is at most this (percent).
        architectures: Nets to describe; an experiment that only describes trains nothing.
    """

    name: str = Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")
    title: Line
    question: Line
    section: Line
    dataset: DatasetName = "cifar10"
    depths: tuple[PositiveInt, ...] = Field((), max_length=MOST_DEPTHS)
    protocol: Protocol = PAPER["cifar10"]
    test: Views = "1-crop"
    analysis: Analysis | None = None
    reach: Percent | None = None
    runs: tuple[RunGroup, ...] = ()
    architectures: tuple[Architecture, ...] = ()
    rows: tuple[Row, ...] = ()
    claims: tuple[Claim, ...] = ()
    figure: Figure | None = None

    @validates(mode="before")
    @classmethod
    def _paper_unless_said(cls, content: Any) -> Any:
        benchmark = _benchmark(content)
        protocol = content.get("protocol", {}) if benchmark else None
        if benchmark is None or not isinstance(protocol, dict):
            return content
        content = {**content, "protocol": {**PAPER[benchmark].model_dump(), **protocol}}
        return _with_options(content) if benchmark == "imagenet" else content

    @validates(mode="before")
    @classmethod
    def _fill_in_depths(cls, content: Any) -> Any:
        depths = content.get("depths") if isinstance(content, dict) else None
        if not isinstance(depths, list | tuple) or not all(isinstance(depth, int) for depth in depths):
            return content
        if len(depths) > MOST_DEPTHS:  # is refused, and would take hours to fill in
            return content
        return _with_depths(content, depths) if depths else content

    @validates(mode="after")
    def _names_files(self) -> Self:
        length = len(self.stem.encode())
        if length > LONGEST_STEM:
            raise ValueError(f"name and depths: {length} bytes together; a file's name has room for {LONGEST_STEM}")
        return self

    @validates(mode="after")
    def _nets_can_be_built(self) -> Self:
        if not self.runs and not self.architectures:
            raise ValueError("has neither [[runs]] to make nor [[architectures]] to describe")
        if self.benchmark == "cifar10" and self.test != "1-crop":
            raise ValueError(f"test: {self.test} is for ImageNet; CIFAR-10 is tested on the single view (section 4.2)")
        if (self.protocol.photos is None) == (self.benchmark == "imagenet"):
            raise ValueError("protocol.photos: for ImageNet, and only that")
        described = [each.net for each in self.architectures if isinstance(each.net, Net)]
        for net in [*self.nets, *self.nets_named(), *described]:
            net.blocks(self.benchmark)
        for row in self.rows:
            if row.net and row.net not in self.nets:
                raise ValueError(f"row '{row.label}': {row.net.name} is in no [[runs]]")
            for net, count in Counter(row.ensemble).items():
                seeds = max((group.seeds for group in self.runs if net in group.nets), default=0)
                if count > seeds:
                    raise ValueError(f"row '{row.label}': {net.name} stands there {count} times, in [[runs]] {seeds}")
        return self

    @validates(mode="after")
    def _measures_what_it_claims(self) -> Self:
        if self.analysis and self.test != "1-crop":
            raise ValueError(f"analysis: takes the place of a test; leave out test {self.test}")
        if self.analysis == "training-set" and self.benchmark == "imagenet":
            raise ValueError("analysis: training-set is for CIFAR-10")
        for panel in self.figure.panels if self.figure else ():
            looks_at = "responses or gradients" if panel.weights == "end" else "gradients"
            if panel.shows_layers and (self.analysis or "none") not in looks_at:
                raise ValueError(f"figure: panel '{panel.title}' of layers needs analysis = {looks_at}")
        for claim in self.claims:
            needed = NEEDS.get(claim.metric)
            if needed and needed != self.analysis:
                raise ValueError(f"claim '{claim.text}': {claim.metric} needs analysis = \"{needed}\"")
            if claim.metric == "updates_to_reach" and self.reach is None:
                raise ValueError(f"claim '{claim.text}': say which error, by reach")
        return self

    @property
    def after_training(self) -> AfterTraining:
        """What is made of its trained nets."""
        return self.analysis or self.test

    @property
    def benchmark(self) -> Benchmark:
        """Whose nets and protocol it is about."""
        return BENCHMARK_OF[self.dataset]

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets to train, each once, in the file's order."""
        return tuple(dict.fromkeys(net for group in self.runs for net in group.nets))

    @property
    def stem(self) -> str:
        """Its name in the names of files; a sweep's with its depths, so that none overwrites another's."""
        return "-".join([self.name, *map(str, self.depths)])

    def fewest_seeds(self, net: Net) -> int:
        """Runs of a net without which some row stays empty: one, or as many as an ensemble names it."""
        return max([1, *(row.ensemble.count(net) for row in self.rows)])

    def suits(self, variant: Variant) -> bool:
        """Whether its nets can be run so: on their own benchmark, in batches that can be parted as asked."""
        return variant.benchmark == self.benchmark and self.batch_size(variant) % (variant.accumulate or 1) == 0

    def batch_size(self, variant: Variant) -> int:
        """Images of an update of its runs."""
        return (self.protocol.tiny() if variant.tiny else self.protocol).batch_size

    def is_paper(self, variant: Variant) -> bool:
        """Whether its numbers at this variant may stand beside the paper's without a mark."""
        return variant.is_paper and self.protocol == PAPER[self.benchmark]

    def scale(self, variant: Variant) -> str:
        """The variant in words, for titles; a protocol that is not the paper's is named."""
        if self.protocol == PAPER[self.benchmark]:
            return variant.label
        label = variant.label.replace("paper scale", "its whole schedule").replace("of the paper's", "of its own")
        section = {"cifar10": "4.2", "imagenet": "3.4"}[self.benchmark]
        return f"OWN PROTOCOL, not section {section}'s; {label}"

    def nets_named(self) -> list[Net]:
        """Every net that a row, a claim or a panel speaks of, as often as it does."""
        panels = self.figure.panels if self.figure else ()
        spoken_of = [net for part in (*self.claims, *panels) for net in part.nets]
        in_rows = [net for row in self.rows for net in ((row.net,) if row.net else row.ensemble)]
        return in_rows + spoken_of


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


def _benchmark(content: Any) -> Benchmark | None:
    """The benchmark of a file's content; None if it names no dataset that there is."""
    dataset = content.get("dataset", "cifar10") if isinstance(content, dict) else None
    return BENCHMARK_OF.get(dataset) if isinstance(dataset, str) else None  # type: ignore[call-overload]


def _with_options(content: Any) -> Any:
    """A file's content with option B said for each `resnet-50` and deeper that says none."""
    if isinstance(content, str):
        return spelled_out(content)
    if isinstance(content, dict):
        return {key: _with_options(value) for key, value in content.items()}
    return [_with_options(item) for item in content] if isinstance(content, list) else content


def first_problem(error: ValueError) -> str:
    """An error as one line; of a validation the first field that is wrong, and how."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    # Where a value may be one of several things, pydantic names its own functions among the fields.
    field = ".".join(part for part in map(str, problem["loc"]) if not part.startswith("function-"))
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
        raise BadInputError(f"--depths: {experiment.name} sweeps no depth, as depth or degradation do")
    if len(set(depths)) < 2:  # noqa: PLR2004
        raise BadInputError(f"--depths {depths[0]}: give two depths or more")
    try:
        return Experiment.model_validate({**content, "depths": list(dict.fromkeys(depths))})
    except ValidationError as error:
        raise BadInputError(f"--depths: {first_problem(error)}") from error

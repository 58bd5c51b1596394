"""The schema of experiment files. Imports no torch, so that planning takes no time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, PositiveInt
from pydantic import model_validator as validates

from resnet_cli import tasks
from resnet_cli.analyses import ANALYSES, analysis_of, analysis_with
from resnet_cli.claims import Claim
from resnet_cli.claims.claim import Line, Nets
from resnet_cli.identity.ensemble import ensemble_key
from resnet_cli.spec import Frozen, Net, Percent, Protocol, naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.identity import Variant
    from resnet_cli.tasks.metric import Metric
    from resnet_cli.tasks.task import Task

MOST_DEPTHS = 50
LONGEST_STEM = 150  # bytes; a file's name may have 255, and the variant's name is part of it


class RunGroup(Frozen):
    """Nets to train, each with `seeds` replicates."""

    nets: Nets = Field(min_length=1)
    seeds: int = Field(1, ge=1, le=1000)


class Row(Frozen):
    """A row of the paper's table: a net of ours, an ensemble of ours, or numbers from the literature. In percent.

    Attributes:
        net: The net whose runs the row shows.
        ensemble: The nets of the ensemble that the row shows; a net named twice takes part with two seeds.
        error: Top-1 error.
        top5: Top-5 error.
        mean: Mean error over several runs, if the paper gives one.
        std: Its standard deviation.
        values: The paper's values of the task's other metrics, by key.
        read_off: To within how much the numbers were read off, where the paper gives them only in a figure.
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
    values: dict[str, float] = Field(default_factory=dict)
    read_off: float | None = Field(None, gt=0)

    def paper(self, metric: Metric) -> float | None:
        """The paper's value of a metric, for its best run; None if it gives none."""
        if metric.row == "error":
            return self.error
        return self.top5 if metric.row == "top5" else self.told(metric)

    def told(self, metric: Metric) -> float | None:
        """The value in `values` of a metric, or of an analysis's number; None if there is none."""
        return self.values.get(metric.key)

    @validates(mode="after")
    def _shows_one_thing(self) -> Self:
        if self.net and self.ensemble:
            raise ValueError(f"row '{self.label}': has a net and an ensemble; a row shows one of them")
        return self


class Architecture(Frozen):
    """A net to describe, not to train: its layers, its size, and the multiply-adds that the paper gives for it.

    Attributes:
        net: One of our nets, or VGG-16 or VGG-19.
        flops: The paper's multiply-adds.
    """

    label: Line
    net: Net | Literal["vgg-16", "vgg-19"] = Field(union_mode="left_to_right")
    flops: float = Field(ge=1, le=1e18)


class Panel(Frozen):
    """One panel of a figure.

    Attributes:
        kind: Learning curves; the final error against depth; the analysis's value for each layer, in forward order or
            sorted by size (Figure 7); or its value at each signal-to-noise ratio.
        nets: The nets that it shows; empty: all nets of the experiment.
        show: Training error, test error, or both.
        weights: In panels of layers: before the first update, or after the last.
    """

    title: Line
    kind: Literal["curves", "depth", "layers", "layers-sorted", "noise"] = "curves"
    nets: Nets = ()
    show: Literal["both", "train", "test"] = "both"
    weights: Literal["start", "end"] = "end"

    @property
    def shows_layers(self) -> bool:
        """Whether it shows values of the analysis."""
        return self.kind in ("layers", "layers-sorted", "noise")

    @property
    def along(self) -> str:
        """The column of the analysis that is its x axis."""
        return "snr" if self.kind == "noise" else "layer"


class Figure(Frozen):
    """The figure of an experiment. Its limits (percent) apply at paper scale only: short runs have higher errors."""

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
    anywhere stand for the least and the greatest depth. The task decides which net a name means (`Task.parse`).
    Settings of the protocol that the file leaves out are the paper's for the dataset.

    Attributes:
        test: The views of an image over which the final scores are averaged (section 3.4), one of the task's.
        analysis: The analysis of the trained nets (`analyses`).
        reach: Updates are counted until the running training error is at most this (percent).
        architectures: Nets to describe; an experiment that only describes trains nothing.
    """

    name: str = Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")
    title: Line
    question: Line
    section: Line
    dataset: str = tasks.TASKS[0].dataset
    depths: tuple[PositiveInt, ...] = Field((), max_length=MOST_DEPTHS)
    protocol: Protocol
    test: str = "1-crop"
    analysis: str | None = None
    reach: Percent | None = None
    runs: tuple[RunGroup, ...] = ()
    architectures: tuple[Architecture, ...] = ()
    rows: tuple[Row, ...] = ()
    claims: tuple[Claim, ...] = ()
    figure: Figure | None = None

    @validates(mode="wrap")
    @classmethod
    def _as_its_task_says(cls, content: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Settings that the file leaves out are the paper's; the task gives meaning to the names of nets."""
        if not isinstance(content, dict):
            return handler(content)
        task = tasks.task_of(str(content.get("dataset", tasks.TASKS[0].dataset)))
        protocol, claims = content.get("protocol", {}), content.get("claims", ())
        if isinstance(protocol, dict):
            content = {**content, "protocol": {**task.protocol.model_dump(), **protocol}}
        if isinstance(claims, list | tuple):
            content = {**content, "claims": [_about(task.metric.key, each) for each in claims]}
        with naming(task.parse):
            return handler(content)

    @validates(mode="before")
    @classmethod
    def _fill_in_depths(cls, content: Any) -> Any:
        depths = content.get("depths") if isinstance(content, dict) else None
        if not isinstance(depths, list | tuple) or not all(isinstance(depth, int) for depth in depths):
            return content
        if len(depths) > MOST_DEPTHS:  # refused by the field's limit; filling them in could take hours
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
        if self.test not in self.task.views:
            whose = tasks.titles(lambda task: self.test in task.views)
            own = "the single view" if len(self.task.views) == 1 else ", ".join(self.task.views)
            raise ValueError(
                f"test: {self.test} is for {whose}; {self.task.title} is tested on {own} (section {self.task.section})"
            )
        if (self.protocol.photos is None) != (self.task.protocol.photos is None):
            raise ValueError(f"protocol.photos: only for {tasks.titles(lambda task: task.protocol.photos)}")
        described = [each.net for each in self.architectures if isinstance(each.net, Net)]
        for net in [*self.nets, *self.nets_named(), *described]:
            self.task.check(net)
        for row in self.rows:
            if row.net and row.net not in self.nets:
                raise ValueError(f"row '{row.label}': {row.net.name} is in no [[runs]]")
            self._check_ensemble(f"row '{row.label}'", row.ensemble)
        for claim in self.claims:
            if claim.kind == "ensemble":
                self._check_ensemble(f"claim '{claim.text}'", claim.nets)
                if claim.metric not in self._of_ensembles():
                    raise ValueError(f"claim '{claim.text}': metric: use one of {', '.join(self._of_ensembles())}")
        return self

    def _check_ensemble(self, where: str, nets: Nets) -> None:
        for net, count in Counter(nets).items():
            seeds = max((group.seeds for group in self.runs if net in group.nets), default=0)
            if count > seeds:
                raise ValueError(f"{where}: names {net.name} {count} times; its seeds in [[runs]]: {seeds}")

    def _of_ensembles(self) -> list[str]:
        """The metrics that an ensemble has."""
        known = self.analysis is not None and self.analysis in self.task.analyses
        step = analysis_of(str(self.analysis)).ensemble_step if known else ""
        return [ensemble_key(step, metric.key) for metric in self.task.metrics]

    @validates(mode="after")
    def _measures_what_it_claims(self) -> Self:
        if self.analysis and self.test != self.task.views[0]:
            raise ValueError(f"analysis: replaces the test; leave out test = {self.test}")
        if self.analysis and self.analysis not in self.task.analyses:
            raise ValueError(
                f"analysis: {self.analysis} is for {tasks.titles(lambda task: self.analysis in task.analyses)}"
            )
        for panel in self.figure.panels if self.figure else ():
            shown = [
                each.name
                for each in ANALYSES
                if each.value and each.along == panel.along and (panel.weights == "end" or "weights" in each.columns)
            ]
            if panel.shows_layers and self.analysis not in shown:
                what = "layers" if panel.along == "layer" else panel.kind
                raise ValueError(f"figure: panel '{panel.title}' of {what} needs analysis = {' or '.join(shown)}")
        for claim in self.claims:
            needed = analysis_with(claim.metric)
            if needed and needed.name != self.analysis:
                raise ValueError(f"claim '{claim.text}': {claim.metric} needs analysis = \"{needed.name}\"")
            if not needed and claim.metric not in self._metrics():
                raise ValueError(f"claim '{claim.text}': metric: use one of {', '.join(self._metrics())}")
            if claim.metric == "updates_to_reach" and self.reach is None:
                raise ValueError(f"claim '{claim.text}': updates_to_reach needs reach, in percent")
            if claim.kind == "less" and self.task.is_higher_better(claim.metric):
                raise ValueError(f"claim '{claim.text}': a higher {claim.metric} is better; use kind = \"better\"")
        return self

    def _metrics(self) -> list[str]:
        """The metrics that every run of the task has, and that claims may be about."""
        keys = [metric.key for metric in (*self.task.metrics, self.task.trained)]
        return [*keys, f"early_{self.task.metric.key}", "updates_to_reach"]

    @property
    def after_training(self) -> str:
        """What is done with its trained nets: the analysis, or the test."""
        return self.analysis or self.test

    @property
    def task(self) -> Task:
        """The task that its nets learn."""
        return tasks.task_of(self.dataset)

    @property
    def nets(self) -> tuple[Net, ...]:
        """The nets to train, each once, in the file's order."""
        return tuple(dict.fromkeys(net for group in self.runs for net in group.nets))

    @property
    def stem(self) -> str:
        """Its name in file names; a sweep's has the depths, so that sweeps do not overwrite each other's files."""
        return "-".join([self.name, *map(str, self.depths)])

    @property
    def ensembles(self) -> tuple[Nets, ...]:
        """The nets of each ensemble that a row or a claim names, each once."""
        of_rows = [row.ensemble for row in self.rows if row.ensemble]
        return tuple(dict.fromkeys([*of_rows, *(claim.nets for claim in self.claims if claim.kind == "ensemble")]))

    def fewest_seeds(self, net: Net) -> int:
        """The fewest runs of a net that fill every row and claim: one, or as many as an ensemble needs."""
        return max([1, *(nets.count(net) for nets in self.ensembles)])

    def suits(self, variant: Variant) -> bool:
        """Whether its nets can be run with this variant: the task's dataset, and batches that can be split as asked."""
        return variant.task is self.task and self.batch_size(variant) % (variant.accumulate or 1) == 0

    def batch_size(self, variant: Variant) -> int:
        """Images per update of its runs."""
        return (self.protocol.tiny() if variant.tiny else self.protocol).batch_size

    def is_paper(self, variant: Variant) -> bool:
        """Whether its numbers at this variant may stand beside the paper's without a mark."""
        return variant.is_paper and self.protocol == self.task.protocol

    def scale(self, variant: Variant) -> str:
        """The variant in words, for titles; it mentions a protocol that is not the paper's."""
        return variant.label if self.protocol == self.task.protocol else variant.own_label

    def nets_named(self) -> list[Net]:
        """Every net that a row, a claim or a panel names; repeated if it is named more than once."""
        panels = self.figure.panels if self.figure else ()
        shown = [net for part in panels for net in part.nets]
        spoken_of = [*(net for claim in self.claims for net in claim.named), *shown]
        in_rows = [net for row in self.rows for net in ((row.net,) if row.net else row.ensemble)]
        return in_rows + spoken_of


def _about(metric: str, claim: Any) -> Any:
    """Gives a claim without a metric this one, unless its kind has a default of its own."""
    if not isinstance(claim, dict) or claim.get("kind") in ("ensemble", "same-start"):
        return claim
    return {"metric": metric, **claim}


def _with_depths(content: Any, depths: Sequence[int]) -> Any:
    """A file's content with `{depth}` filled in in lists, and `{shallow}` and `{deep}` in texts."""
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

"""What a figure's panels show, independent of the plotting library: lines, colours and axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import cycle
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from resnet_cli.analyses import analysis_of
from resnet_cli.report.curves import learning_curves, paper_curve, paper_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from resnet_cli.experiment import Experiment, Panel
    from resnet_cli.report.curves import LearningCurves
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Net
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks.task import Task

# Okabe and Ito's colours, which colour-blind readers can tell apart; for depths without a colour from the task.
OTHER_COLOURS = ("#0072B2", "#999999", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#000000", "#CC79A7")
SERIES_COLOURS = {
    "plain": "#D55E00",
    "residual": "#0072B2",
    "residual, B": "#009E73",
    "residual, C": "#CC79A7",
    "single layer": "#56B4E9",
    "highway": "#E69F00",
}
FEW_POINTS = 10
WIDE_SPAN = 20  # deepest to shallowest; beyond this ratio a linear axis would press the shallow nets together
WIDE = 10  # greatest to least value of a layer; the paper's values, all between 0 and 3, are on a linear axis


@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        name: The net's; against depth, that of a family of nets.
        colour: As #rrggbb.
        points: Column mean. Learning curves: indexed by iteration; also low and high, except for the paper's. Against
            depth: also std and n, indexed by depth. Layers: also the layer's number, indexed by its position from 1.
        is_dashed: True for training curves, and for plain nets in panels of layers.
        shown: `train` or `test`; empty in panels of layers.
        n: Runs behind a learning curve.
        is_unfinished: Whether these runs have not ended.
        is_averaged: Whether a test curve was measured with averaged statistics of batch normalisation.
        runs: Depth and value of each run, for nets with several runs.
        figure: The paper's figure that it was read off, `fig6`; empty for our own lines.
    """

    name: str
    colour: str
    points: pd.DataFrame
    is_dashed: bool
    shown: str = ""
    n: int = 1
    is_unfinished: bool = False
    is_averaged: bool = False
    runs: Sequence[tuple[int, float]] = ()
    figure: str = ""

    @property
    def is_paper(self) -> bool:
        """Whether it is the paper's."""
        return bool(self.figure)

    @property
    def label(self) -> str:
        """Whose line it is, in a list of lines."""
        return f"{self.name}, the paper" if self.is_paper else self.name

    @property
    def needs_markers(self) -> bool:
        """Whether it has so few points that each needs a marker."""
        return len(self.points) < FEW_POINTS


@dataclass(frozen=True)
class Plot:
    """A panel with what it shows.

    Attributes:
        panel: As the experiment describes it.
        lines: In the order of the panel's nets; a net's training curve comes before its test curve, which covers it.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        unit: Of the y axis.
        part: In panels of layers, what each value belongs to: a layer, or a block.
        limits: Of the y axis: both, only the lower one, or None, where the values decide.
        iterations: Of learning curves, the updates of the longest runs.
        depths: The ticks of an axis of depth.
        papers: Depth and the paper's mean (or its best run, if it gives no mean) of each net.
        paper_lines: At the paper's scale, the paper's own beside learning curves (test curves, or training curves where
            the panel shows only these) and beside the layers of trained nets.
        is_log: Whether depths, or layers' values, differ so much that the axis must be logarithmic.
    """

    panel: Panel
    lines: Sequence[Line]
    x_label: str
    y_label: str
    unit: str = ""
    part: str = ""
    limits: tuple[float, float | None] | None = None
    iterations: int = 0
    depths: Sequence[int] = ()
    papers: Sequence[tuple[int, float]] = ()
    paper_lines: Sequence[Line] = ()
    is_log: bool = False


def make_plots(store: Store, summary: Summary) -> list[Plot]:
    """The panels of the experiment's figure that have something to show, in the file's order."""
    panels = panels_of(summary.experiment)
    # From all panels, with or without data, so that a net keeps its colour when others have been trained.
    colours = net_colours([panel for panel in panels if panel.kind != "depth"], summary.task)
    of_curves = dict.fromkeys(net for panel in panels if panel.kind == "curves" for net in panel.nets)
    of_layers = dict.fromkeys(net for panel in panels if panel.shows_layers for net in panel.nets)
    curves = {net: found for net in of_curves if (found := learning_curves(summary, net))}
    layers = {net: values for net in of_layers if (values := layer_values(store, summary, net)) is not None}
    plots = []
    for panel in panels:
        if panel.kind == "curves":
            plot = _curves(panel, summary, curves, colours)
        elif panel.kind == "depth":
            plot = _depth(panel, summary)
        else:
            plot = _layers(panel, summary, layers, colours)
        if plot.lines:
            plots.append(plot)
    limits = _limits(summary, [plot for plot in plots if plot.panel.kind == "curves"])
    return [replace(plot, limits=limits) if plot.panel.kind == "curves" else plot for plot in plots]


def panels_of(experiment: Experiment) -> list[Panel]:
    """The panels of an experiment's figure, if it has one; a panel without nets shows all nets."""
    panels = experiment.figure.panels if experiment.figure else ()
    return [panel.model_copy(update={"nets": panel.nets or experiment.nets}) for panel in panels]


def net_colours(panels: Sequence[Panel], task: Task) -> dict[Net, str]:
    """A colour for each net: by depth, so that plain-20 and resnet-20 have the same, or else by shortcut.

    If neither distinguishes the nets of each panel, each net has its own colour. In panels of layers the line's style
    also distinguishes plain and residual nets.
    """
    nets = list(dict.fromkeys(net for panel in panels for net in panel.nets))
    others = cycle(OTHER_COLOURS)
    depths = sorted({net.depth for net in nets})
    of_depth = {depth: task.depth_colours.get(depth) or next(others) for depth in depths}
    by_depth = {net: of_depth[net.depth] for net in nets}
    by_series = {net: _series_colour(_series(net)) for net in nets}
    for colours in (by_depth, by_series):
        looks = [[(colours[net], panel.shows_layers and net.family) for net in panel.nets] for panel in panels]
        if all(len(set(each)) == len(each) for each in looks):
            return colours
    return dict(zip(nets, cycle(SERIES_COLOURS.values()), strict=False))


def _curves(panel: Panel, summary: Summary, curves: Mapping[Net, LearningCurves], colours: Mapping[Net, str]) -> Plot:
    """Learning curves."""
    lines = [
        Line(
            net.name,
            colours[net],
            spread,
            shown == "train",
            shown,
            curves[net].n,
            curves[net].unfinished,
            curves[net].averaged,
        )
        for net in panel.nets
        if net in curves
        for shown, spread in (("train", curves[net].train), ("test", curves[net].test))
        if panel.show in (shown, "both") and not spread.empty
    ]
    iterations = max(summary.planned[net].protocol.iterations for net in panel.nets)
    shown: Literal["train", "test"] = "train" if panel.show == "train" else "test"
    drawn = {line.name for line in lines if line.shown == shown}
    papers = [(net, paper_curve(summary, net, shown)) for net in panel.nets if net.name in drawn]
    return Plot(
        panel,
        lines,
        "iterations",
        _metric_label(summary),
        summary.task.metric.unit,
        iterations=iterations,
        paper_lines=[
            Line(
                net.name, colours[net], curve.points.to_frame("mean"), is_dashed=False, shown=shown, figure=curve.figure
            )
            for net, curve in papers
            if curve
        ],
    )


def _depth(panel: Panel, summary: Summary) -> Plot:
    """The final metrics against depth, one line per family of nets."""
    lines, metric = [], summary.task.metric
    for shown, key in (("train", summary.task.trained.key), ("test", metric.key)):
        for series in dict.fromkeys(map(_series, panel.nets)):
            have = [net for net in panel.nets if _series(net) == series and net.name in summary.by_net.index]
            nets = sorted(have, key=lambda net: net.depth)
            if nets and panel.show in (shown, "both"):
                table = summary.by_net.loc[[net.name for net in nets]].set_axis([net.depth for net in nets])
                points = pd.DataFrame({"mean": table[key], "std": table[f"{key}_std"].fillna(0), "n": table["n"]})
                found = [(net.depth, summary.values(net, key)) for net in nets]
                runs = [(depth, value) for depth, values in found if len(values) > 1 for value in values]
                lines.append(Line(series, _series_colour(series), points, shown == "train", shown, runs=runs))
    depths = sorted({net.depth for net in panel.nets})
    is_log = depths[-1] > WIDE_SPAN * depths[0]
    rows = [row for row in summary.experiment.rows if row.net in panel.nets and panel.show != "train"]
    means = [(row.net, row.paper(metric) if row.mean is None else row.mean) for row in rows]
    return Plot(
        panel,
        lines,
        "layers (logarithmic)" if is_log else "layers",
        _metric_label(summary),
        metric.unit,
        limits=(0.0, None),
        depths=depths,
        papers=[(net.depth, value) for net, value in means if net and value is not None],
        is_log=is_log,
    )


def _layers(panel: Panel, summary: Summary, layers: Mapping[Net, pd.DataFrame], colours: Mapping[Net, str]) -> Plot:
    """The analysis's value for each layer, in forward order or by size, or for each signal-to-noise ratio."""

    def line(net: Net, values: pd.Series[float], figure: str = "") -> Line:
        if panel.kind == "layers-sorted":
            values = values.sort_values(ascending=False)
        places = values.index if panel.kind == "noise" else range(1, len(values) + 1)
        points = pd.DataFrame({"mean": values.to_numpy(), "layer": values.index}, places)
        return Line(net.name, colours[net], points, net.family == "plain", figure=figure)

    lines = [line(net, layers[net][panel.weights]) for net in panel.nets if net in layers]
    papers = [(net, paper_layers(summary, net)) for net in panel.nets if net in layers and panel.weights == "end"]
    assert summary.experiment.analysis
    analysis, is_log = analysis_of(summary.experiment.analysis), bool(layers) and is_wide(layers.values())
    part, limits = analysis.part, None if is_log else (0.0, None)
    x_labels = {"layers": f"{part}, from the first", "layers-sorted": f"{part}s, by size"}
    x_label = x_labels.get(panel.kind, "signal-to-noise ratio (dB)")
    return Plot(
        panel,
        lines,
        x_label,
        analysis.axis,
        part=part,
        limits=limits,
        paper_lines=[line(net, paper.points, paper.figure) for net, paper in papers if paper],
        is_log=is_log,
    )


def layer_values(store: Store, summary: Summary, net: Net) -> pd.DataFrame | None:
    """The value of the experiment's analysis for each layer of a net, averaged over its finished runs.

    Returns:
        Columns start and end, or only end, indexed by the analysis's column `along`: the layer's number, say. None if
        no run has the analysis.
    """
    runs = summary.finished.get(net, ())
    if not (runs and summary.experiment.analysis in summary.task.analyses_of(net)):
        return None
    analysis = analysis_of(summary.experiment.analysis)
    table = pd.concat([store.analysis(run, analysis) for run in runs])
    return table.assign(weights=table.get("weights", "end")).pivot_table(
        index=analysis.along, columns="weights", values=analysis.value
    )


def is_wide(values: Iterable[pd.DataFrame]) -> bool:
    """Whether the layers' values differ so much that the scale must be logarithmic."""
    numbers = np.concatenate([np.ravel(each) for each in values])
    return bool(0 < WIDE * numbers.min() < numbers.max())


def _metric_label(summary: Summary) -> str:
    unit = summary.task.metric.unit
    return f"{summary.axis} ({unit})" if unit else summary.axis


def _limits(summary: Summary, plots: Sequence[Plot]) -> tuple[float, float]:
    """At paper scale the paper's limits; else those of all values but the first tenth's, which would dwarf the rest."""
    if summary.is_paper and summary.experiment.figure:
        return summary.experiment.figure.y_min, summary.experiment.figure.y_max
    late = [line.points["high"][line.points.index > plot.iterations / 10] for plot in plots for line in plot.lines]
    return 0.0, 1.05 * max((float(value) for values in late for value in values), default=0.0) or 100.0


def _series(net: Net) -> str:
    """The line that a net belongs to where depth is an axis."""
    if net.family != "resnet":
        return net.family
    if net.single:
        return "single layer"
    return "residual" if net.shortcut == "A" else f"residual, {net.shortcut}"


def _series_colour(series: str) -> str:
    return SERIES_COLOURS.get(series, OTHER_COLOURS[0])

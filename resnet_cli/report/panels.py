"""One panel of a figure: learning curves of some nets, or their final error against depth."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from resnet_cli.experiment import Panel
    from resnet_cli.report.curves import LearningCurves
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Net
    from resnet_cli.tasks.task import Task

# Okabe and Ito's colours, which colour-blind readers tell apart; of depths that a task gives none.
OTHER_COLOURS = ("#0072B2", "#999999", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#000000", "#CC79A7")
SERIES_COLOURS = {
    "plain": "#D55E00",
    "residual": "#0072B2",
    "residual, B": "#009E73",
    "residual, C": "#CC79A7",
    "single layer": "#56B4E9",
    "highway": "#E69F00",
}

TRAIN_STYLE: dict[str, Any] = {"linestyle": "--", "linewidth": 0.8, "zorder": 2}
TEST_STYLE: dict[str, Any] = {"linestyle": "-", "linewidth": 1.5, "zorder": 3}

LABEL_SIZE = 6.5  # points
FEW_POINTS = 10
WIDE_SPAN = 20  # deepest to shallowest; from here on a linear axis would press the shallow nets together


def net_colours(panels: Iterable[Panel], task: Task) -> dict[Net, str]:
    """A colour for each net: by depth, so that plain-20 and resnet-20 agree; by shortcut if a panel has one depth.

    Where neither tells the nets of each panel apart, each net has its own. In panels of layers the line's style tells
    plain and residual nets apart too.
    """
    panels = list(panels)
    nets = list(dict.fromkeys(net for panel in panels for net in panel.nets))
    others = cycle(OTHER_COLOURS)
    depths = sorted({net.depth for net in nets})
    of_depth = {depth: task.depth_colours.get(depth) or next(others) for depth in depths}
    by_depth = {net: of_depth[net.depth] for net in nets}
    by_series = {net: series_colour(series_of(net)) for net in nets}
    for colours in (by_depth, by_series):
        looks = [[(colours[net], panel.shows_layers and net.family) for net in panel.nets] for panel in panels]
        if all(len(set(each)) == len(each) for each in looks):
            return colours
    return dict(zip(nets, cycle(SERIES_COLOURS.values()), strict=False))


def draw_curves(
    axes: Axes, panel: Panel, curves: Mapping[Net, LearningCurves], colours: dict[Net, str], iterations: int
) -> None:
    """Draws learning curves: training dashed, test bold, between lowest and highest run a band."""
    unit, label = next(
        (unit, label)
        for least, unit, label in ((20_000, 1e4, " (1e4)"), (2_000, 1e3, " (1e3)"), (0, 1, ""))
        if iterations >= least
    )
    axes.set_xlabel(f"iterations{label}")
    axes.set_xlim(0, 1.01 * iterations / unit)  # room for the last point's marker
    for net in panel.nets:
        if net not in curves:
            continue
        for metric, spread, style in (
            ("train", curves[net].train, TRAIN_STYLE),
            ("test", curves[net].test, TEST_STYLE),
        ):
            if panel.show not in (metric, "both") or spread.empty:
                continue
            x = spread.index.to_numpy() / unit
            marker = "." if len(x) < FEW_POINTS else ""
            label = f"{net.name} {metric}"
            axes.plot(x, spread["mean"].to_numpy(), color=colours[net], marker=marker, label=label, **style)
            if curves[net].n > 1:
                axes.fill_between(x, spread["low"], spread["high"], color=colours[net], alpha=0.2, linewidth=0)


def label_ends(axes: Axes, panel: Panel) -> None:
    """Names each net in the right margin, beside the end of its (bold, if there are two) line.

    Where lines end together the names are pushed apart, by the panel's height, so its layout must be known; an arrow
    marks a line that ends above or below the panel.
    """
    low, high = axes.get_ylim()
    lines: dict[str, Line2D] = {}
    for line in axes.lines:
        # Of a net's two lines the test's is drawn last, so it is the one that stays.
        lines[str(line.get_label()).rpartition(" ")[0]] = line
    ends = {name: _end(lines[name]) for net in panel.nets if (name := net.name) in lines}
    if not ends:
        return
    points = axes.get_window_extent().height * 72 / axes.figure.dpi
    spacing = 1.3 * LABEL_SIZE / points * (high - low)
    # The places nearest to the ends that keep the names' order and distance: an isotonic regression.
    names = sorted(ends, key=lambda name: ends[name][1])
    steps = spacing * np.arange(len(names))
    nearest = isotonic_regression([ends[name][1] for name in names] - steps).x
    for name, place in zip(names, np.clip(nearest, low, high - steps[-1]) + steps, strict=True):
        x, y = ends[name]
        colour = lines[name].get_color()
        arrow = " ↑" if y > high else " ↓" if y < low else ""
        axes.annotate(
            f"{name}{arrow}",
            xy=(x, np.clip(y, low, high)),
            xytext=(1.05, (place - low) / (high - low)),
            textcoords="axes fraction",
            color=colour,
            fontsize=LABEL_SIZE,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "relpos": (0, 0.5), "shrinkB": 0},
        )


def highest_after_start(axes: Axes) -> float:
    """The highest error a panel's curves reach in the last nine tenths of the training; 0 if there are none."""
    start = axes.get_xlim()[1] / 10
    points = [point for line in axes.lines for point in np.asarray(line.get_xydata())]
    return max((float(y) for x, y in points if x > start), default=0.0)


def draw_depth(axes: Axes, panel: Panel, summary: Summary) -> None:
    """Draws the final error against depth, a series a family of nets, and the paper's numbers as open squares."""
    for shown, metric in (("train", summary.task.trained), ("test", summary.task.metric)):
        if panel.show not in (shown, "both"):
            continue
        for series in dict.fromkeys(series_of(net) for net in panel.nets):
            _draw_depth_series(
                axes, [net for net in panel.nets if series_of(net) == series], summary, metric.key, shown
            )
    paper = papers(panel, summary)
    if panel.show != "train" and paper:
        style: dict[str, Any] = {"linestyle": "", "marker": "s", "markersize": 6, "fillstyle": "none", "zorder": 4}
        axes.plot(*zip(*paper, strict=True), color="black", label="paper", markeredgewidth=0.7, **style)
    depths = sorted({net.depth for net in panel.nets})
    wide = depths[-1] > WIDE_SPAN * depths[0]
    axes.set_xlabel("layers (logarithmic)" if wide else "layers")
    axes.set_xscale("log" if wide else "linear")
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(depth) for depth in depths])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def papers(panel: Panel, summary: Summary) -> list[tuple[int, float]]:
    """Depth and the paper's mean, else its best run, of the panel's nets."""
    rows = [row for row in summary.experiment.rows if row.net in panel.nets]
    means = [(row.net, row.paper(summary.task.metric) if row.mean is None else row.mean) for row in rows]
    return [(net.depth, value) for net, value in means if net and value is not None]


def series_of(net: Net) -> str:
    """The family of nets that a net belongs to where depth is an axis."""
    if net.family != "resnet":
        return net.family
    if net.single:
        return "single layer"
    return "residual" if net.shortcut == "A" else f"residual, {net.shortcut}"


def series_colour(series: str) -> str:
    """The colour of a family of nets."""
    return SERIES_COLOURS.get(series, OTHER_COLOURS[0])


def _end(line: Line2D) -> tuple[float, float]:
    x, y = np.asarray(line.get_xydata())[-1]
    return float(x), float(y)


def _draw_depth_series(axes: Axes, nets: list[Net], summary: Summary, metric: str, shown: str) -> None:
    have = sorted((net for net in nets if net.name in summary.by_net.index), key=lambda net: net.depth)
    if not have:
        return
    rows = summary.by_net.loc[[net.name for net in have]]
    series = series_of(have[0])
    axes.errorbar(
        [net.depth for net in have],
        rows[metric],
        yerr=rows[f"{metric}_std"].fillna(0),
        color=series_colour(series),
        marker="o",
        markersize=3.5,
        capsize=2,
        label=f"{series} {shown}",
        **(TRAIN_STYLE if shown == "train" else TEST_STYLE),
    )
    runs = [(net.depth, value) for net in have for value in summary.values(net, metric)]
    # Beside the mean, which would cover them.
    beside = axes.transData + ScaledTranslation(4 / 72, 0, axes.figure.dpi_scale_trans)
    axes.plot(
        *zip(*runs, strict=True), linestyle="", marker=".", markersize=2, color=series_colour(series), transform=beside
    )

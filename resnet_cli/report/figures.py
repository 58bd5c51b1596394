"""The paper's figures from our runs, by matplotlib."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from scipy.optimize import isotonic_regression

from resnet_cli.report.caption import caption
from resnet_cli.report.panels import make_plots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from resnet_cli.report.panels import Plot
    from resnet_cli.report.summarize import Summary
    from resnet_cli.storage.store import Store

FigureFormat = Literal["png", "pdf", "svg"]

COLUMN_WIDTH, PAGE_WIDTH = 3.5, 7.0  # inches, of a two-column paper

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    # A dollar sign in an experiment's title does not start a formula.
    "text.parse_math": False,
    # The same numbers give the same file: ids in an SVG derive from this salt instead of being random.
    "svg.hashsalt": "resnet",
    "pdf.fonttype": 42,
}
UNDATED: dict[FigureFormat, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Date": None, "Creator": None},
}

STYLES: dict[str, dict[str, Any]] = {
    "train": {"linestyle": "--", "linewidth": 0.8, "zorder": 2},
    "test": {"linestyle": "-", "linewidth": 1.5, "zorder": 3},
    "paper": {"linestyle": ":", "linewidth": 0.9, "zorder": 4},
}
LABEL_SIZE = 6.5  # points


def draw(store: Store, summary: Summary) -> Figure | None:
    """The experiment's figure; see `draw_plots`."""
    return draw_plots(summary, make_plots(store, summary))


def draw_plots(summary: Summary, plots: Sequence[Plot]) -> Figure | None:
    """The experiment's figure, panel by panel, with its variant in the title and definitions below.

    A panel without data is left out; the footnote lists its nets as not run.

    Returns:
        None if no panel has data.
    """
    if not plots:
        return None
    assert summary.experiment.figure
    width = PAGE_WIDTH if len(plots) > 1 else COLUMN_WIDTH
    with mpl.rc_context(STYLE):
        footnote = textwrap.fill(caption(summary, plots, "dots"), int(22.5 * width))
        figure = Figure(figsize=(width, 2.8 + 0.1 * footnote.count("\n")), layout="constrained")
        _fill_panels(figure, plots)
        scale, title = summary.scale, summary.experiment.figure.title
        heading = "\n".join(textwrap.fill(line, int(15 * width)) for line in (title, scale))
        figure.suptitle(heading, fontsize=8, color="black" if summary.is_paper else "#B00000")
        figure.supxlabel(footnote, x=0.01, ha="left", fontsize=5.5)
        figure.draw_without_rendering()
        for axes, plot in zip(figure.axes, plots, strict=True):
            if plot.panel.kind == "curves":
                _label_ends(axes, plot)
        if summary.variant.tiny:
            centre: dict[str, Any] = {"ha": "center", "va": "center"}
            figure.text(0.5, 0.5, "SMOKE", fontsize=9 * width, color="red", alpha=0.2, rotation=20, zorder=10, **centre)
    return figure


def figure_bytes(figure: Figure, form: FigureFormat, dpi: int = 300) -> bytes:
    """The figure as a file's content; the same for the same numbers."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=form, dpi=dpi, metadata=UNDATED[form])
    return buffer.getvalue()


def _fill_panels(figure: Figure, plots: Sequence[Plot]) -> None:
    share = len({plot.panel.shows_layers for plot in plots}) == 1 and all(plot.panel.kind != "depth" for plot in plots)
    all_axes = figure.subplots(1, len(plots), sharey=share, squeeze=False)[0]
    label = ""
    for axes, plot in zip(all_axes, plots, strict=True):
        axes.set_title(plot.panel.title)
        axes.set_xlabel(plot.x_label)
        axes.grid(visible=True, axis="y")
        if not plot.panel.shows_layers:
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        draw_lines = {"curves": _draw_curves, "depth": _draw_depth}.get(plot.panel.kind, _draw_layers)
        draw_lines(axes, plot)
        if plot.y_label != label:
            axes.set_ylabel(label := plot.y_label)
    for axes, plot in zip(all_axes, plots, strict=True):
        if plot.limits:
            axes.set_ylim(*plot.limits)
    of_layers = [axes for axes, plot in zip(all_axes, plots, strict=True) if plot.panel.shows_layers]
    if of_layers:
        of_layers[0].legend(loc="best", fontsize=6)


def _unit(iterations: int) -> tuple[float, str]:
    """The unit of the axis of iterations, and its label."""
    return next(
        (unit, label)
        for least, unit, label in ((20_000, 1e4, " (1e4)"), (2_000, 1e3, " (1e3)"), (0, 1, ""))
        if iterations >= least
    )


def _draw_curves(axes: Axes, plot: Plot) -> None:
    """Draws learning curves: training dashed, test bold, the paper's dotted; a band from lowest to highest run."""
    unit, label = _unit(plot.iterations)
    axes.set_xlabel(f"{plot.x_label}{label}")
    axes.set_xlim(0, 1.01 * plot.iterations / unit)  # room for the last point's marker
    for line in (*plot.lines, *plot.paper_lines):
        x, marker = line.points.index.to_numpy() / unit, "." if line.needs_markers else ""
        style = STYLES["paper" if line.is_paper else line.shown]
        name = line.label if line.is_paper else f"{line.name} {line.shown}"
        axes.plot(x, line.points["mean"].to_numpy(), color=line.colour, marker=marker, label=name, **style)
        if line.n > 1:
            axes.fill_between(x, line.points["low"], line.points["high"], color=line.colour, alpha=0.2, linewidth=0)


def _label_ends(axes: Axes, plot: Plot) -> None:
    """Writes each net's name in the right margin, at the end of its line (of two lines, the bold one).

    Names of lines that end close together are moved apart. The distance depends on the panel's height, so the layout
    must be known. An arrow marks a line that ends above or below the panel.
    """
    low, high = axes.get_ylim()
    # A net's test curve comes after its training curve, so the dict keeps the test curve.
    lines = {line.name: line for line in plot.lines}
    ends = {name: float(line.points["mean"].iloc[-1]) for name, line in lines.items()}
    points = axes.get_window_extent().height * 72 / axes.figure.dpi
    spacing = 1.3 * LABEL_SIZE / points * (high - low)
    # Isotonic regression: the positions nearest to the lines' ends that keep the names' order and distance.
    names = sorted(ends, key=ends.__getitem__)
    steps = spacing * np.arange(len(names))
    nearest = isotonic_regression([ends[name] for name in names] - steps).x
    for name, place in zip(names, np.clip(nearest, low, high - steps[-1]) + steps, strict=True):
        x, y, colour = lines[name].points.index[-1] / _unit(plot.iterations)[0], ends[name], lines[name].colour
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


def _draw_depth(axes: Axes, plot: Plot) -> None:
    """Draws final metrics against depth: means, single runs as dots, and the paper's numbers as open squares."""
    for line in plot.lines:
        axes.errorbar(
            line.points.index,
            line.points["mean"],
            yerr=line.points["std"],
            color=line.colour,
            marker="o",
            markersize=3.5,
            capsize=2,
            label=f"{line.name} {line.shown}",
            **STYLES[line.shown],
        )
        # Shifted to the side, or the marker of the mean would cover them.
        beside = axes.transData + ScaledTranslation(4 / 72, 0, axes.figure.dpi_scale_trans)
        if line.runs:
            depths, values = zip(*line.runs, strict=True)
            axes.plot(depths, values, ".", markersize=2, color=line.colour, transform=beside)
    if plot.papers:
        style: dict[str, Any] = {"markersize": 6, "fillstyle": "none", "zorder": 4, "markeredgewidth": 0.7}
        axes.plot(*zip(*plot.papers, strict=True), "s", color="black", label="paper", **style)
    axes.set_xscale("log" if plot.is_log else "linear")
    axes.xaxis.set_major_locator(FixedLocator(plot.depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(depth) for depth in plot.depths])
    axes.legend(loc="best")


def _draw_layers(axes: Axes, plot: Plot) -> None:
    """Draws one line per net, plain nets dashed, residual nets with markers; the paper's dotted, not in the legend."""
    for line in (*plot.lines, *plot.paper_lines):
        style: dict[str, Any] = {"linestyle": "--"} if line.is_dashed else {"marker": ".", "markersize": 3}
        style |= STYLES["paper"] if line.is_paper else {"linewidth": 1, "label": line.name}
        points = line.points["mean"]
        axes.plot(points.index, points.to_numpy(), color=line.colour, **style)
    if plot.is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

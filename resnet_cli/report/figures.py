"""The paper's figures from our runs, for a screen or a paper."""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_cli.analyses import analysis_of
from resnet_cli.report.curves import evaluations_in_words, learning_curves
from resnet_cli.report.layers import draw_layers, is_wide, layer_values
from resnet_cli.report.panels import draw_curves, draw_depth, highest_after_start, label_ends, net_colours
from resnet_cli.report.summarize import window_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from resnet_cli.experiment import Panel
    from resnet_cli.report.curves import LearningCurves
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Net
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
    # A dollar sign in an experiment's title is a dollar sign.
    "text.parse_math": False,
    # Same numbers, same file: ids in an SVG come from this and not from chance.
    "svg.hashsalt": "resnet",
    "pdf.fonttype": 42,
}
UNDATED: dict[FigureFormat, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Date": None, "Creator": None},
}


@dataclass(frozen=True)
class FigureData:
    """What a figure shows, read once for all its forms.

    Attributes:
        panels: In the file's order, each with the nets that it shows.
        curves: Of the nets of panels of learning curves, those that have any.
        layers: Of the nets of panels of layers, those that were analysed.
    """

    panels: tuple[Panel, ...] = ()
    curves: Mapping[Net, LearningCurves] = field(default_factory=dict)
    layers: Mapping[Net, pd.DataFrame] = field(default_factory=dict)


def figure_data(store: Store, summary: Summary) -> FigureData:
    """Reads what the experiment's figure shows; nothing if it describes none."""
    experiment = summary.experiment
    if experiment.figure is None:
        return FigureData()
    # A panel that names no nets shows all.
    panels = [panel.model_copy(update={"nets": panel.nets or experiment.nets}) for panel in experiment.figure.panels]
    of_curves = dict.fromkeys(net for panel in panels for net in panel.nets if panel.kind == "curves")
    of_layers = dict.fromkeys(net for panel in panels for net in panel.nets if panel.shows_layers)
    curves = {net: learning_curves(summary, net) for net in of_curves}
    layers = {net: layer_values(store, summary, net) for net in of_layers}
    return FigureData(
        tuple(panels),
        {net: found for net, found in curves.items() if found},
        {net: values for net, values in layers.items() if values is not None},
    )


def draw(store: Store, summary: Summary) -> Figure | None:
    """The experiment's figure; see `draw_data`."""
    return draw_data(summary, figure_data(store, summary))


def draw_data(summary: Summary, data: FigureData) -> Figure | None:
    """The experiment's figure, panel by panel, with its variant in the title and its definitions below.

    A panel none of whose nets has data is left out; the footnote names its nets as not run.

    Returns:
        None if the experiment describes no figure, or none of the figure's runs has data.
    """
    drawn = [panel for panel in data.panels if _has_data(panel, summary, data)]
    if not drawn:
        return None
    assert summary.experiment.figure
    width = PAGE_WIDTH if len(drawn) > 1 else COLUMN_WIDTH
    with mpl.rc_context(STYLE):
        footnote = textwrap.fill(_footnote(summary, data), int(22.5 * width))
        figure = Figure(figsize=(width, 2.8 + 0.1 * footnote.count("\n")), layout="constrained")
        _fill_panels(figure, drawn, summary, data)
        scale, title = summary.scale, summary.experiment.figure.title
        heading = "\n".join(textwrap.fill(line, int(15 * width)) for line in (title, scale))
        figure.suptitle(heading, fontsize=8, color="black" if summary.is_paper else "#B00000")
        figure.supxlabel(footnote, x=0.01, ha="left", fontsize=5.5)
        figure.draw_without_rendering()
        for axes, panel in zip(figure.axes, drawn, strict=True):
            if panel.kind == "curves":
                label_ends(axes, panel)
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


def _has_data(panel: Panel, summary: Summary, data: FigureData) -> bool:
    if panel.kind == "curves":
        return not data.curves.keys().isdisjoint(panel.nets)
    if panel.shows_layers:
        return not data.layers.keys().isdisjoint(panel.nets)
    return not {net.name for net in panel.nets}.isdisjoint(summary.by_net.index)


def _fill_panels(figure: Figure, panels: list[Panel], summary: Summary, data: FigureData) -> None:
    of_curves = [panel for panel in panels if panel.kind == "curves"]
    of_layers = [panel for panel in panels if panel.shows_layers]
    share = len(panels) in (len(of_curves), len(of_layers))
    all_axes = figure.subplots(1, len(panels), sharey=share, squeeze=False)[0]
    colours = net_colours([*of_curves, *of_layers], summary.experiment.task)
    pairs = list(zip(all_axes, panels, strict=True))
    for axes, panel in pairs:
        axes.set_title(panel.title)
        axes.grid(visible=True, axis="y")
        if not panel.shows_layers:
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        if panel.kind == "depth":
            draw_depth(axes, panel, summary)
            axes.set_ylim(bottom=0)
        elif panel.kind == "curves":
            draw_curves(axes, panel, data.curves, colours, iterations(summary, panel))
        else:
            draw_layers(axes, panel, data.layers, colours, logarithmic=is_wide(data.layers.values()))
    all_axes[0].set_ylabel(y_axis(summary, panels[0]))
    if of_layers:
        next(axes for axes, panel in pairs if panel.shows_layers).legend(loc="best", fontsize=6)
    # At paper scale the paper's own limits; a short run errs more, and its first tenth would hide the rest.
    assert summary.experiment.figure
    bottom, top = summary.experiment.figure.y_min, summary.experiment.figure.y_max
    if not summary.is_paper:
        bottom = 0.0
        top = 1.05 * max((highest_after_start(axes) for axes, panel in pairs if panel in of_curves), default=0) or 100.0
    for axes, panel in pairs:
        if panel.kind == "curves":
            axes.set_ylim(bottom, top)


def y_axis(summary: Summary, panel: Panel) -> str:
    """What a panel's height shows."""
    if panel.shows_layers and summary.experiment.analysis:
        return analysis_of(summary.experiment.analysis).axis
    unit = f" ({unit})" if (unit := summary.task.metric.unit) else ""
    return f"{summary.axis.lower()}{unit}"


def iterations(summary: Summary, panel: Panel) -> int:
    """The updates of the panel's longest runs."""
    return max(summary.planned[net].protocol.iterations for net in panel.nets)


def _footnote(summary: Summary, data: FigureData) -> str:
    panels, curves, trained = data.panels, data.curves, summary.task.trained.heading
    nets = dict.fromkeys(net for panel in panels for net in panel.nets)
    updates = window_in_words(summary, nets)
    counts = {net.name: int(summary.by_net["n"][net.name]) for net in nets if net.name in summary.by_net.index}
    several = max([*counts.values(), *(found.n for found in curves.values())], default=1) > 1
    mean = "Mean over n runs" if several else "One run each"
    shows_depth = any(panel.kind == "depth" for panel in panels)
    sentences = []
    if curves:
        assert summary.experiment.figure
        evaluations = evaluations_in_words(curves.values())
        crop = "of the centre crop, " if summary.experiment.protocol.photos else ""
        band = ", the band from the lowest to the highest" if several else ""
        sentences += [
            f"{trained.capitalize()} (dashed): running, on augmented batches, trailing mean over {updates}.",
            f"{summary.task.metric.heading.capitalize()} (bold): {crop}{evaluations}. {mean}{band}.",
        ]
        if summary.is_paper:
            sentences.append(f"Cut off above {summary.experiment.figure.y_max:g}%.")
    if any(panel.shows_layers for panel in panels) and summary.experiment.analysis:
        sentences.append(f"{analysis_of(summary.experiment.analysis).definition} {mean}.")
    if shows_depth:
        sentences.append(
            f"{summary.axis} against depth: after the last update, mean and standard deviation over n runs; dots are "
            f"runs. {trained.capitalize()}: running, on augmented batches, mean over the last {updates}."
        )
    if counts and (several or shows_depth):
        usual = Counter(counts.values()).most_common(1)[0][0]
        others = ", ".join(f"{name} {n}" for name, n in counts.items() if n != usual)
        sentences.append(f"n = {usual} ({others})." if others else f"n = {usual}.")
    partial = [net.name for net, found in curves.items() if found.unfinished]
    if partial:
        sentences.append(f"Unfinished, drawn as far as they got: {', '.join(partial)}.")
    if summary.unfinished:
        sentences.append(f"Runs without a result: {summary.unfinished_text}.")
    missing = [net.name for net in nets if net not in curves and net.name not in counts]
    if missing:
        sentences.append(f"Not run: {', '.join(missing)}.")
    return " ".join(sentences)

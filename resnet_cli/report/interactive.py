"""A figure's panels for a browser: the curves and colours of `panels.py` as Plotly figures, to hover, zoom and hide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from resnet_cli.analyses import analysis_of
from resnet_cli.report.curves import evaluations_in_words
from resnet_cli.report.figures import iterations, y_axis
from resnet_cli.report.layers import ORDER, is_wide, lines_of, places
from resnet_cli.report.panels import FEW_POINTS, WIDE_SPAN, net_colours, papers, series_colour, series_of
from resnet_cli.report.summarize import window_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from resnet_cli.experiment import Panel
    from resnet_cli.report.curves import LearningCurves
    from resnet_cli.report.figures import FigureData
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Net

DIGITS = 4  # after the decimal point of a percentage; a test error over 10,000 images has two

INK = "#000000"  # the page's script puts the text's colour in its place, or it would not be seen on a dark page
LINES: dict[str, dict[str, Any]] = {"train": {"dash": "dash", "width": 1.2}, "test": {"dash": "solid", "width": 2.4}}


@dataclass(frozen=True)
class InteractivePanel:
    """A panel of a figure.

    Attributes:
        title: The file's, as it is; escaping it is for the page.
        figure: Plotly's data and layout as JSON that can stand in an HTML element: it holds no `<`.
    """

    title: str
    figure: str


@dataclass(frozen=True)
class InteractiveFigure:
    """An experiment's panels that have data.

    Attributes:
        panels: In the file's order.
        caption: What the lines are.
    """

    panels: tuple[InteractivePanel, ...] = ()
    caption: str = ""


def interactive_figure(summary: Summary, data: FigureData) -> InteractiveFigure:
    """The experiment's figure, without panels that have no data; empty if it has none."""
    of_curves = [panel for panel in data.panels if panel.kind == "curves"]
    of_layers = [panel for panel in data.panels if panel.shows_layers]
    colours = net_colours([*of_curves, *of_layers], summary.experiment.task)
    limits = _limits(summary, of_curves, data.curves)
    made = []
    for panel in data.panels:
        figure = go.Figure()
        if panel.kind == "curves":
            _add_curves(figure, panel, data.curves, colours)
            figure.update_xaxes(title="iterations", range=[0, 1.01 * iterations(summary, panel)], tickformat="~s")
            figure.update_yaxes(range=limits)
        elif panel.kind == "depth":
            _add_depth(figure, panel, summary)
            figure.update_yaxes(rangemode="tozero")
        else:
            _add_layers(figure, panel, data.layers, colours)
        if figure.data:
            figure.update_layout(template=None, hovermode="closest", uirevision="kept", height=430)
            figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top"})
            figure.update_layout(margin={"l": 56, "r": 12, "t": 34, "b": 48})
            figure.update_yaxes(title=y_axis(summary, panel))
            # The module of the standard library, whatever else is installed: the same numbers, the same bytes.
            made.append(InteractivePanel(panel.title, figure.to_json(engine="json")))
    return InteractiveFigure(tuple(made), _caption(summary, data))


def _limits(summary: Summary, panels: list[Panel], curves: Mapping[Net, LearningCurves]) -> list[float]:
    """At paper scale the paper's own limits; of a shorter run all but its first tenth, which would hide the rest."""
    if summary.is_paper and summary.experiment.figure:
        return [summary.experiment.figure.y_min, summary.experiment.figure.y_max]
    highest = 0.0
    for panel in panels:
        for net in curves.keys() & set(panel.nets):
            for metric in ("train", "test"):
                spread: pd.DataFrame = getattr(curves[net], metric)
                if panel.show in (metric, "both") and len(spread):
                    highest = max(highest, spread["high"][spread.index > iterations(summary, panel) / 10].max())
    return [0.0, 1.05 * highest or 100.0]


def _add_curves(figure: go.Figure, panel: Panel, curves: Mapping[Net, LearningCurves], colours: dict[Net, str]) -> None:
    """Adds learning curves: training dashed, test bold, between lowest and highest run a band; a net is one group."""
    for net in panel.nets:
        if net not in curves:
            continue
        n, named = curves[net].n, False
        for metric, spread in (("test", curves[net].test), ("train", curves[net].train)):
            if panel.show not in (metric, "both") or spread.empty:
                continue
            x = [int(iteration) for iteration in spread.index]
            mean, low, high = (_rounded(spread[column]) for column in ("mean", "low", "high"))
            several = f" (mean of {n} runs)<br>lowest %{{customdata[0]:.2f}}, highest %{{customdata[1]:.2f}}"
            if n > 1:
                figure.add_scatter(
                    x=x + x[::-1],
                    y=high + low[::-1],
                    mode="lines",
                    line={"width": 0},
                    fill="toself",
                    fillcolor=colours[net],
                    opacity=0.2,
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=net.name,
                    name=f"{net.name} {metric}, lowest to highest",
                )
            figure.add_scatter(
                x=x,
                y=mean,
                customdata=list(zip(low, high, strict=True)) if n > 1 else None,
                mode="lines+markers" if len(x) < FEW_POINTS else "lines",
                line={"color": colours[net], **LINES[metric]},
                legendgroup=net.name,
                showlegend=not named,
                name=f"{net.name}{' (unfinished)' if curves[net].unfinished else ''}",
                meta=metric,
                hovertemplate=f"<b>{net.name}</b>, {metric}<br>iteration %{{x:,}}<br>%{{y:.2f}}%"
                f"{several if n > 1 else ''}<extra></extra>",
            )
            named = True


def _add_depth(figure: go.Figure, panel: Panel, summary: Summary) -> None:
    """Adds the final error against depth, a series a family of nets, each run a dash; the paper's as open squares."""
    for shown, metric in (("train", summary.task.trained), ("test", summary.task.metric)):
        if panel.show not in (shown, "both"):
            continue
        for series in dict.fromkeys(series_of(net) for net in panel.nets):
            nets = [net for net in panel.nets if series_of(net) == series and net.name in summary.by_net.index]
            if nets:
                _add_series(figure, series, sorted(nets, key=lambda net: net.depth), summary, metric.key, shown)
    paper = papers(panel, summary)
    if figure.data and panel.show != "train" and paper:
        figure.add_scatter(
            x=[depth for depth, _ in paper],
            y=[error for _, error in paper],
            mode="markers",
            marker={"symbol": "square-open", "size": 11, "color": INK},
            name="paper",
            hovertemplate="<b>the paper</b>, %{x} layers<br>%{y:.2f}%<extra></extra>",
        )
    depths = sorted({net.depth for net in panel.nets})
    wide = depths[-1] > WIDE_SPAN * depths[0]
    figure.update_xaxes(
        title="layers (logarithmic)" if wide else "layers",
        type="log" if wide else "linear",
        tickvals=depths,
        ticktext=[str(depth) for depth in depths],
    )


def _add_series(figure: go.Figure, series: str, nets: list[Net], summary: Summary, metric: str, shown: str) -> None:
    rows = summary.by_net.loc[[net.name for net in nets]]
    spread = _rounded(rows[f"{metric}_std"].fillna(0))
    counts = [int(n) for n in rows["n"]]
    common: dict[str, Any] = {"legendgroup": f"{series} {shown}"}
    figure.add_scatter(
        x=[net.depth for net in nets],
        y=_rounded(rows[metric]),
        error_y={"type": "data", "array": spread, "thickness": 1.2, "width": 0},  # a cap would look like a run
        customdata=list(zip(spread, counts, strict=True)),
        mode="lines+markers",
        line={"color": series_colour(series), **LINES[shown]},
        marker={"size": 7},
        name=f"{series}, {shown}",
        meta=shown,
        hovertemplate=f"<b>{series}</b>, %{{x}} layers, {shown}<br>%{{y:.2f}} ± %{{customdata[0]:.2f}}% "
        "(n = %{customdata[1]})<extra></extra>",
        **common,
    )
    of_several = [net for net, n in zip(nets, counts, strict=True) if n > 1]
    runs = [(net.depth, value) for net in of_several for value in summary.values(net, metric)]
    if runs:
        figure.add_scatter(
            x=[depth for depth, _ in runs],
            y=[round(value, DIGITS) for _, value in runs],
            mode="markers",
            # As wide as to be seen, and touched, on both sides of the mean.
            marker={"symbol": "line-ew-open", "size": 16, "color": series_colour(series), "line": {"width": 1}},
            name=f"{series}, {shown}, each run",
            showlegend=False,
            hovertemplate=f"<b>{series}</b>, %{{x}} layers, {shown}, one run<br>%{{y:.2f}}%<extra></extra>",
            **common,
        )


def _add_layers(figure: go.Figure, panel: Panel, layers: Mapping[Net, pd.DataFrame], colours: dict[Net, str]) -> None:
    """Adds what the analysis found in each layer, plain nets dashed."""
    what = "dB" if panel.kind == "noise" else "layer"
    for net, line in lines_of(panel, layers).items():
        figure.add_scatter(
            x=places(panel, line),
            y=[float(f"{value:.4g}") for value in line],
            customdata=[int(layer) for layer in line.index],
            mode="lines+markers",
            line={"color": colours[net], "width": 1.5, "dash": "dash" if net.family == "plain" else "solid"},
            marker={"size": 4},
            name=net.name,
            legendgroup=net.name,
            hovertemplate=f"<b>{net.name}</b>, {what} %{{customdata}}<br>%{{y:.4g}}<extra></extra>",
        )
    figure.update_xaxes(title=ORDER[panel.kind])
    figure.update_yaxes(type="log" if layers and is_wide(layers.values()) else "linear")


def _caption(summary: Summary, data: FigureData) -> str:
    """What the lines are."""
    panels, curves, sentences = data.panels, data.curves, []
    of_curves = [panel for panel in panels if panel.kind == "curves"]
    if curves:
        nets = dict.fromkeys(net for panel in of_curves for net in panel.nets)
        test = summary.task.metric.heading.capitalize()
        if any(panel.show != "test" for panel in of_curves):
            sentences.append(
                f"{summary.task.trained.heading.capitalize()}, dashed: running, on augmented batches, trailing mean "
                f"over {window_in_words(summary, nets)}."
            )
        if any(panel.show != "train" for panel in of_curves):
            crop = " of the centre crop" if summary.experiment.protocol.photos else ""
            sentences.append(f"{test}{crop}, bold: {evaluations_in_words(curves.values())}.")
        if any(each.n > 1 for each in curves.values()):
            sentences.append("Mean over the runs of a net, the band from the lowest to the highest.")
    if any(panel.shows_layers for panel in panels) and summary.experiment.analysis:
        sentences.append(
            f"{analysis_of(summary.experiment.analysis).definition} Plain nets dashed. Mean over the runs of a net."
        )
    if any(panel.kind == "depth" for panel in panels):
        sentences.append(
            f"{summary.axis} against depth: after the last update, mean and standard deviation over the runs of a net; "
            "dashes are runs, open squares the paper's numbers."
        )
    return " ".join(sentences)


def _rounded(values: pd.Series[float]) -> list[float]:
    return [round(float(value), DIGITS) for value in values]

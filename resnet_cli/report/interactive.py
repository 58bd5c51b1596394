"""A figure's panels for a browser, by Plotly: lines can be hovered, zoomed and hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from resnet_cli.report.caption import caption

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from resnet_cli.report.panels import Line, Plot
    from resnet_cli.report.summarize import Summary

DIGITS = 4  # after the decimal point of a percentage; a test error over 10,000 images has two

INK = "#000000"  # the page's script replaces it by the text's colour, so that it is visible on a dark page
WIDTHS = {"train": 1.2, "test": 2.4, "paper": 1.2, "": 1.5}


@dataclass(frozen=True)
class InteractivePanel:
    """A panel of a figure.

    Attributes:
        title: The title in the experiment's file; the page escapes it.
        figure: Plotly's data and layout as JSON that is safe in an HTML element: it contains no `<`.
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


def interactive_figure(summary: Summary, plots: Sequence[Plot]) -> InteractiveFigure:
    """The experiment's figure; empty if no panel has data."""
    return InteractiveFigure(tuple(map(_panel, plots)), caption(summary, plots, "dashes"))


def _panel(plot: Plot) -> InteractivePanel:
    figure = go.Figure()
    figure.update_layout(template=None, hovermode="closest", uirevision="kept", height=430)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top"})
    figure.update_layout(margin={"l": 56, "r": 12, "t": 34, "b": 48})
    figure.update_xaxes(title=plot.x_label)
    figure.update_yaxes(title=plot.y_label)
    if plot.limits:
        low, high = plot.limits
        figure.update_yaxes(**({"rangemode": "tozero"} if high is None else {"range": [low, high]}))
    add_lines = {"curves": _add_curves, "depth": _add_depth}.get(plot.panel.kind, _add_layers)
    add_lines(figure, plot)
    # The standard library's json module, whatever else is installed: the same numbers give the same bytes.
    return InteractivePanel(plot.panel.title, figure.to_json(engine="json"))


def _style(line: Line) -> dict[str, Any]:
    if line.is_paper:
        return {"color": line.colour, "width": WIDTHS["paper"], "dash": "dot"}
    return {"color": line.colour, "width": WIDTHS[line.shown], "dash": "dash" if line.is_dashed else "solid"}


def _add_curves(figure: go.Figure, plot: Plot) -> None:
    """Adds learning curves: training dashed, test bold, the paper's dotted, a band over runs; one group per net."""
    last = {line.name: line for line in plot.lines}
    for line in (*plot.lines, *plot.paper_lines):
        x = [int(iteration) for iteration in line.points.index]
        several, ranges = "", None
        if line.n > 1:
            low, high = (_rounded(line.points[column]) for column in ("low", "high"))
            several = f" (mean of {line.n} runs)<br>lowest %{{customdata[0]:.2f}}, highest %{{customdata[1]:.2f}}"
            ranges = list(zip(low, high, strict=True))
            figure.add_scatter(
                x=x + x[::-1],
                y=high + low[::-1],
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor=line.colour,
                opacity=0.2,
                hoverinfo="skip",
                showlegend=False,
                legendgroup=line.name,
                name=f"{line.name} {line.shown}, lowest to highest",
            )
        figure.add_scatter(
            x=x,
            y=_rounded(line.points["mean"]),
            customdata=ranges,
            mode="lines+markers" if line.needs_markers else "lines",
            line=_style(line),
            legendgroup=line.name,
            showlegend=line is last[line.name],
            name=f"{line.label}{' (unfinished)' if line.is_unfinished else ''}",
            meta=line.shown,
            hovertemplate=f"<b>{line.label}</b>, {line.shown}<br>iteration %{{x:,}}<br>%{{y:.2f}}{plot.unit}"
            f"{several}<extra></extra>",
        )
    figure.update_xaxes(range=[0, 1.01 * plot.iterations], tickformat="~s")


def _add_depth(figure: go.Figure, plot: Plot) -> None:
    """Adds final metrics against depth: means, single runs as dashes, and the paper's numbers as open squares."""
    for line in plot.lines:
        spread, counts = _rounded(line.points["std"]), [int(n) for n in line.points["n"]]
        told = f"<b>{line.name}</b>, %{{x}} layers, {line.shown}"
        common: dict[str, Any] = {"legendgroup": f"{line.name} {line.shown}"}
        figure.add_scatter(
            x=[int(depth) for depth in line.points.index],
            y=_rounded(line.points["mean"]),
            error_y={"type": "data", "array": spread, "thickness": 1.2, "width": 0},  # a cap would look like a run
            customdata=list(zip(spread, counts, strict=True)),
            mode="lines+markers",
            line=_style(line),
            marker={"size": 7},
            name=f"{line.name}, {line.shown}",
            meta=line.shown,
            hovertemplate=f"{told}<br>%{{y:.2f}} ± %{{customdata[0]:.2f}}{plot.unit} "
            "(n = %{customdata[1]})<extra></extra>",
            **common,
        )
        if line.runs:
            figure.add_scatter(
                x=[depth for depth, _ in line.runs],
                y=[round(value, DIGITS) for _, value in line.runs],
                mode="markers",
                # Wide enough to be visible, and touchable, on both sides of the mean's marker.
                marker={"symbol": "line-ew-open", "size": 16, "color": line.colour, "line": {"width": 1}},
                name=f"{line.name}, {line.shown}, each run",
                showlegend=False,
                hovertemplate=f"{told}, one run<br>%{{y:.2f}}{plot.unit}<extra></extra>",
                **common,
            )
    if plot.papers:
        figure.add_scatter(
            x=[depth for depth, _ in plot.papers],
            y=[value for _, value in plot.papers],
            mode="markers",
            marker={"symbol": "square-open", "size": 11, "color": INK},
            name="paper",
            hovertemplate=f"<b>the paper</b>, %{{x}} layers<br>%{{y:.2f}}{plot.unit}<extra></extra>",
        )
    figure.update_xaxes(
        type="log" if plot.is_log else "linear",
        tickvals=list(plot.depths),
        ticktext=[str(depth) for depth in plot.depths],
    )


def _add_layers(figure: go.Figure, plot: Plot) -> None:
    """Adds what the analysis found in each layer, plain nets dashed; the paper's dotted."""
    for line in (*plot.lines, *plot.paper_lines):
        figure.add_scatter(
            x=[int(place) for place in line.points.index],
            y=[float(f"{value:.4g}") for value in line.points["mean"]],
            customdata=[int(layer) for layer in line.points["layer"]],
            mode="lines" if line.is_paper and line.is_dashed else "lines+markers",
            line=_style(line),
            marker={"size": 3 if line.is_paper else 4},
            name=line.label,
            legendgroup=line.name,
            showlegend=not line.is_paper,
            hovertemplate=f"<b>{line.label}</b>, {plot.part} %{{customdata}}<br>%{{y:.4g}}<extra></extra>",
        )
    figure.update_yaxes(type="log" if plot.is_log else "linear")


def _rounded(values: pd.Series[float]) -> list[float]:
    return [round(float(value), DIGITS) for value in values]

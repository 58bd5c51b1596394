"""A panel of Figure 7: a number of each 3x3 layer, in the order of the forward pass or of its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from resnet_cli.analyses import analysis_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.axes import Axes

    from resnet_cli.experiment import Panel
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Net
    from resnet_cli.storage.store import Store

WIDE = 10  # greatest to least number; the paper's, all between 0 and 3, stand on a linear axis
ORDER = {
    "layers": "layer, from the first",
    "layers-sorted": "layers, by size",
    "noise": "signal-to-noise ratio (dB)",
}


def layer_values(store: Store, summary: Summary, net: Net) -> pd.DataFrame | None:
    """What the experiment's analysis found in each layer of a net, averaged over its finished runs.

    Returns:
        Columns start and end, or end alone, indexed by the layer's number, or what else the analysis goes along; None
        if no run has it.
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
    """Whether the layers' numbers differ so much that only a logarithmic scale shows them all."""
    numbers = np.concatenate([np.ravel(each) for each in values])
    return bool(0 < WIDE * numbers.min() < numbers.max())


def lines_of(panel: Panel, values: Mapping[Net, pd.DataFrame]) -> dict[Net, pd.Series[float]]:
    """The panel's line for each of its nets that has values, in the panel's order; indexed by the layer's number."""
    lines = {net: values[net][panel.weights] for net in panel.nets if net in values}
    if panel.kind == "layers-sorted":
        return {net: line.sort_values(ascending=False) for net, line in lines.items()}
    return lines


def places(panel: Panel, line: pd.Series[float]) -> list[int]:
    """Where the values of a line stand on the panel's axis: in their order, or at their ratios."""
    return [int(each) for each in line.index] if panel.kind == "noise" else list(range(1, len(line) + 1))


def draw_layers(
    axes: Axes, panel: Panel, values: Mapping[Net, pd.DataFrame], colours: dict[Net, str], *, logarithmic: bool
) -> None:
    """Draws a line a net: plain nets dashed."""
    for net, line in lines_of(panel, values).items():
        style: dict[str, Any] = {"linestyle": "--"} if net.family == "plain" else {"marker": ".", "markersize": 3}
        axes.plot(places(panel, line), line.to_numpy(), color=colours[net], linewidth=1, label=net.name, **style)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(ORDER[panel.kind])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

"""The caption below a figure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from resnet_cli.analyses import analysis_of
from resnet_cli.report.panels import panels_of
from resnet_cli.report.summarize import window_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.report.panels import Line, Plot
    from resnet_cli.report.summarize import Summary


def caption(summary: Summary, plots: Sequence[Plot], mark: str) -> str:
    """The caption: what the lines of a figure are, how many runs they show, and what is missing.

    Args:
        summary: The numbers of the experiment's runs.
        plots: The figure's panels that have data.
        mark: The marks that show single runs in a plot against depth: `dots`, say.
    """
    experiment, metric, trained = summary.experiment, summary.task.metric, _capital(summary.task.trained.heading)
    if not (plots and experiment.figure):
        return ""
    nets = dict.fromkeys(net for panel in panels_of(experiment) for net in panel.nets)
    counts = {net.name: int(summary.by_net["n"][net.name]) for net in nets if net.name in summary.by_net.index}
    lines = [(plot.panel.kind, line) for plot in plots for line in plot.lines]
    curves, depth = ({line.shown for kind, line in lines if kind == each} for each in ("curves", "depth"))
    several = max([*counts.values(), *(line.n for _, line in lines)], default=1) > 1
    usual = Counter(counts.values()).most_common(1)[0][0] if counts else 0
    others = ", ".join(f"{name} {n}" for name, n in counts.items() if n != usual)
    partial = dict.fromkeys(line.name for _, line in lines if line.is_unfinished)
    begun = {*counts, *partial, *(name for name, _ in summary.unfinished)}
    missing = ", ".join(net.name for net in nets if net.name not in begun)
    updates, mean = window_in_words(summary, nets), "Mean over n runs" if several else "One run each"
    headings = {"train": summary.task.trained.heading, "test": metric.heading}
    dotted = [line for plot in plots for line in plot.paper_lines]
    papers = dict.fromkeys(headings.get(line.shown, "values") for line in dotted)
    figures = dict.fromkeys(line.figure.replace("fig", "Figure ") for line in dotted)
    band = "; the band is from the lowest to the highest run" if several else ""
    crop = "of the centre crop, " if experiment.protocol.photos else ""
    runs = f"; {mark} are single runs" if any(line.runs for _, line in lines) else ""
    marked = "; residual nets with markers" if any(not line.shown for line in dotted) else ""
    layers = analysis_of(experiment.analysis).definition if experiment.analysis else ""
    training = f"{trained} (dashed): running, on augmented batches, trailing mean over {updates}."
    final = (
        f"{_capital(summary.axis)} against depth: after the last update, mean and standard deviation over n runs{runs}."
    )
    sentences: tuple[tuple[object, str], ...] = (
        ("train" in curves, training),
        ("test" in curves, f"{_capital(metric.heading)} (bold): {crop}{_evaluations(lines)}."),
        (curves, f"{mean}{band}."),
        (curves and summary.is_paper, f"Cut off above {experiment.figure.y_max:g}{metric.unit}."),
        (any(plot.panel.shows_layers for plot in plots), layers if curves else f"{layers} {mean}."),
        (papers, f"Dotted: the paper's {' and '.join(papers)}, read off {' and '.join(figures)}{marked}."),
        (depth, final),
        ("train" in depth, f"{trained}: running, on augmented batches, mean over the last {updates}."),
        (counts and (several or depth), f"n = {usual} ({others})." if others else f"n = {usual}."),
        (partial, f"Unfinished, drawn as far as they got: {', '.join(partial)}."),
        (summary.unfinished, f"Runs without a result: {summary.unfinished_text}."),
        (missing, f"Not run: {missing}."),
    )
    return " ".join(sentence for holds, sentence in sentences if holds)


def _capital(heading: str) -> str:
    """A heading with a capital first letter; the other letters stay as they are (`mAP@.5`)."""
    return heading[:1].upper() + heading[1:]


def _evaluations(lines: Sequence[tuple[str, Line]]) -> str:
    """When the test curves were measured, and with which statistics of batch normalisation.

    Statistics are not mentioned if all curves use running ones.
    """
    tests = [line for kind, line in lines if kind == "curves" and line.shown == "test"]
    running = dict.fromkeys(line.name for line in tests if not line.is_averaged)
    if all(line.name in running for line in tests):
        return "at each evaluation"
    others = f" ({', '.join(running)}: running statistics)" if running else ""
    return f"at each evaluation with averaged statistics of batch normalisation{others}"

"""A net's learning curves: over its runs, and the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import pandas as pd

from resnet_cli.analyses import analysis_of
from resnet_cli.experiment import experiments_folder
from resnet_cli.report.summarize import averaging_window

if TYPE_CHECKING:
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Net

POINTS_PER_CURVE = 500


@dataclass(frozen=True)
class ReadOff:
    """What was read off one of the paper's figures for a net.

    Attributes:
        figure: The figure's experiment: `fig6`.
        points: Indexed by iteration or by layer.
    """

    figure: str
    points: pd.Series[float]


@dataclass(frozen=True)
class LearningCurves:
    """A net's learning curves: mean over its runs, lowest and highest. Percent.

    Attributes:
        test: Test error at each evaluation; columns mean, low, high; indexed by iteration.
        train: Running training error, trailing mean over `averaging_window` updates; same columns and index.
        n: Runs behind them.
        unfinished: Whether these runs have not ended; they are shown only if the net has no finished run.
        averaged: Whether `test` was measured with averaged statistics of batch normalisation, as all these runs were.
    """

    test: pd.DataFrame
    train: pd.DataFrame
    n: int
    unfinished: bool
    averaged: bool = False


def learning_curves(summary: Summary, net: Net) -> LearningCurves | None:
    """The learning curves of a net's finished runs; without any, of its other runs, up to the update that all reached.

    Returns:
        None if no run of this net has logged anything.
    """
    task, protocol = summary.task, summary.planned[net].protocol
    of_net = [logs for run, logs in summary.logs.items() if run.net == net]
    done = [logs for logs in of_net if logs.is_done]
    shown = done or of_net
    window = averaging_window(protocol, task.training_images)
    tests = [logs.evaluations.set_index("iteration") for logs in shown if len(logs.evaluations)]
    column = task.metric.averaged.key
    averaged = bool(tests) and all(column in each and each[column].notna().any() for each in tests)
    test = _spread([each[column if averaged else task.metric.key] for each in tests])
    updates = [logs.updates.set_index("iteration")[task.trained.key] for logs in shown if len(logs.updates)]
    train = _spread([log.rolling(window).mean() for log in updates])
    if test.empty and train.empty:
        return None
    # Neighbouring values of a trailing mean hardly differ, so few points are enough. The last is always among them.
    step = max(1, protocol.iterations // POINTS_PER_CURVE)
    points = train.iloc[(len(train) - 1) % step :: step]
    return LearningCurves(test, points, len(updates), unfinished=not done, averaged=averaged)


def paper_curve(summary: Summary, net: Net, shown: Literal["train", "test"]) -> ReadOff | None:
    """The paper's error (percent) of a net, by iteration; None if the paper does not draw it, or at another scale."""
    figure = summary.task.read_off
    curves = _read_off(summary, figure, net)
    curves = curves[curves["shown"] == shown] if len(curves) else curves
    return ReadOff(figure, curves.set_index("iteration")["error"]) if len(curves) else None


def paper_layers(summary: Summary, net: Net) -> ReadOff | None:
    """The paper's value of the experiment's analysis for each layer of a net, from 1; None as `paper_curve`."""
    figure = analysis_of(summary.experiment.analysis).read_off if summary.experiment.analysis else ""
    layers = _read_off(summary, figure, net)
    return ReadOff(figure, layers.set_index("layer")["std"]) if len(layers) else None


def _read_off(summary: Summary, figure: str, net: Net) -> pd.DataFrame:
    """A net's rows of a figure's file; none without a figure, or at another scale than the paper's."""
    if not (figure and summary.is_paper):
        return pd.DataFrame()
    points = _read(figure)
    return points[points["net"] == net.name]


@cache
def _read(figure: str) -> pd.DataFrame:
    return pd.read_csv(experiments_folder() / "curves" / f"{figure}.csv", comment="#")


def _spread(series: list[pd.Series[float]]) -> pd.DataFrame:
    together = pd.concat(series, axis=1).dropna() if series else pd.DataFrame()
    return pd.DataFrame({"mean": together.mean(axis=1), "low": together.min(axis=1), "high": together.max(axis=1)})

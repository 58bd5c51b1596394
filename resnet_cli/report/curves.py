"""A net's learning curves over its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from resnet_cli.report.summarize import averaging_window

if TYPE_CHECKING:
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Net

POINTS_PER_CURVE = 500


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


def _spread(series: list[pd.Series[float]]) -> pd.DataFrame:
    together = pd.concat(series, axis=1).dropna() if series else pd.DataFrame()
    return pd.DataFrame({"mean": together.mean(axis=1), "low": together.min(axis=1), "high": together.max(axis=1)})

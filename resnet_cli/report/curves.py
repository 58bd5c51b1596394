"""A net's learning curves: over its runs, and the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import pandas as pd

from resnet_cli.experiment import experiments_folder
from resnet_cli.report.summarize import averaging_window

if TYPE_CHECKING:
    from pathlib import Path

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


def paper_curve(summary: Summary, net: Net, shown: Literal["train", "test"]) -> pd.Series[float] | None:
    """The paper's error (percent) of a net, indexed by iteration, as read off its figures.

    Returns:
        None if the paper draws no such curve, or if the summary is not at the paper's scale.
    """
    curves = _read_off(summary, "")
    of_net = curves[(curves["net"] == net.name) & (curves["shown"] == shown)]
    return of_net.set_index("iteration")["error"] if len(of_net) else None


def paper_layers(summary: Summary, net: Net) -> pd.Series[float] | None:
    """The paper's value of the experiment's analysis for each layer of a net, indexed from 1; None as `paper_curve`."""
    values = _read_off(summary, f"-{summary.experiment.analysis}")
    of_net = values[values["net"] == net.name]
    return of_net.set_index("layer").iloc[:, -1] if len(of_net) else None


def _read_off(summary: Summary, part: str) -> pd.DataFrame:
    """A file with what was read off the paper's figures; empty if there is none. Its head says where it is from."""
    path = experiments_folder() / "curves" / f"{summary.experiment.dataset}{part}.csv"
    is_there = summary.is_paper and path.exists()
    return _read(path) if is_there else pd.DataFrame(columns=["net", "shown"])


@cache
def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, comment="#")


def _spread(series: list[pd.Series[float]]) -> pd.DataFrame:
    together = pd.concat(series, axis=1).dropna() if series else pd.DataFrame()
    return pd.DataFrame({"mean": together.mean(axis=1), "low": together.min(axis=1), "high": together.max(axis=1)})

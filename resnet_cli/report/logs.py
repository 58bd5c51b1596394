"""Reads a run's logs and checks them for impossible values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store


@dataclass(frozen=True)
class Logs:
    """A run's evaluations and updates so far; see `Store.eval_log` and `Store.train_log`."""

    evaluations: pd.DataFrame
    updates: pd.DataFrame
    is_done: bool


def read_logs(store: Store, run: RunSpec, *, is_done: bool = True) -> Logs:
    """A run's logs, checked by `check_log`.

    Raises:
        BadInputError: They are incomplete or wrong, though the run is done. Those of a run in progress may end in half
            a line.
    """

    def read(name: str) -> pd.DataFrame:
        try:
            log = (store.eval_log if name == run_folder.EVAL_CSV else store.train_log)(run)
            check_log(log, store.folder(run) / name, run)
        except BadInputError:
            if is_done:
                raise
            return pd.DataFrame()
        return log

    return Logs(read(run_folder.EVAL_CSV), read(run_folder.TRAIN_CSV), is_done)


def check_log(log: pd.DataFrame, path: Path, run: RunSpec) -> None:
    """Looks for impossible values: an iteration that does not rise, an error of 4,000%, a negative loss.

    Raises:
        BadInputError: There is such a value; the message names file, row and column.
    """
    log = log.astype(float)
    percentages = {metric.key for metric in (*run.task.metrics, run.task.trained) if metric.unit == "%"}
    averaged = {metric.key for metric in run.task.averaged_metrics if metric.unit == "%"}
    signed = {metric.key for metric in (*run.task.metrics, run.task.trained) if metric.is_signed}
    rise = log["iteration"].diff().fillna(log["iteration"])
    rises = (rise == 1) if path.name == run_folder.TRAIN_CSV else (rise > 0) & (log["iteration"] % 1 == 0)
    right = {"iteration": rises & (log["iteration"] <= run.protocol.iterations)}
    for column in log.columns.drop("iteration"):
        values = log[column]
        if column in percentages:
            right[column] = values.between(0, 100)
        elif column in averaged:  # empty at evaluations without averaged statistics
            right[column] = values.between(0, 100) | values.isna()
        elif column in signed:
            right[column] = values.notna()
        elif column == "images":
            right[column] = (values >= 1) & (values % 1 == 0)
        else:  # a loss may be infinite or NaN
            right[column] = ~(values < 0)
    for column, each in right.items():
        if not each.all():
            row = int((~each).to_numpy().argmax())
            raise BadInputError(
                f"{path}: row {row + 1}: {column} {log[column].iloc[row]:g}: no run writes this; restore the file, or "
                "remove the run's folder and run it again"
            )

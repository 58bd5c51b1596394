"""The base class of analyses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.metric import Metric

WEIGHTS = ("start", "end")  # before the first update, and after the last


class Analysis:
    """An analysis of trained nets. Methods import torch or pandas only when they need them.

    Attributes:
        name: Its name in experiments, and in the name of the file in a run's folder.
        columns: The columns of that file; `weights` and `name` are texts.
        may_be_nan: Columns that may have NaN, for nets whose logits overflow.
        numbers: The numbers that sum it up for a run, in the order of the table's columns.
        besides: Other keys of `sum_up`, which no table shows.
        ensemble_step: How the nets of an ensemble answer, if the table has an ensemble; see `EnsembleSpec.step`.
        tasks: Names of the tasks whose tables have its numbers; empty: all tasks.
        note: Explains the numbers below the table.
        value: The column that panels of layers show; None if it has no such column.
        read_off: The paper's figure whose values are in `experiments/curves/`; empty if there is none.
        part: What each row of that column is about: a layer, a block, or a noise level.
        along: The column on the x axis of those panels: the number of the layer, or the ratios of `noise`.
        axis: The label of the value's axis.
        definition: Explains the value below the figure.
    """

    name: str
    columns: tuple[str, ...]
    may_be_nan: tuple[str, ...]
    numbers: tuple[Metric, ...]
    note: str
    value: str | None = None
    read_off: str = ""
    part: str = "layer"
    along: str = "layer"
    axis: str = ""
    definition: str = ""

    besides: tuple[str, ...] = ()
    ensemble_step: str = ""
    tasks: tuple[str, ...] = ()

    @property
    def sums(self) -> tuple[str, ...]:
        """The keys of `sum_up`."""
        return *(number.key for number in self.numbers), *self.besides

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """Analyses a finished run's net, in fp32.

        Args:
            run: The run.
            folder: Its folder.
            data: The dataset, on the device to compute on.
            source: The folder of `run.source`.
            progress: Called with the number of examples done so far.

        Raises:
            BadInputError: Weights are missing or damaged.
        """
        raise NotImplementedError

    def weights(self, run: RunSpec) -> set[str]:
        """The values of the column `weights`, if there is one."""
        return {"end"}

    def is_right(self, table: pd.DataFrame, run: RunSpec) -> bool:
        """Whether the table is plausible: it has all weights, and each layer once."""
        parts = [part for _, part in table.groupby("weights")] if "weights" in table else [table]
        right = len(table) > 0 and ("weights" not in table or set(table["weights"]) == self.weights(run))
        if "layer" in table:
            right = right and all(list(part["layer"]) == list(range(1, len(part) + 1)) for part in parts)
        return right

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The numbers of a run, by key."""
        raise NotImplementedError

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """The estimated duration in seconds.

        Args:
            run: The run.
            test: Seconds of a test on the test set, in fp32 by the plain step.
            update: Seconds of an update, in the same way.
            epoch_tests: The size of the training set, in test sets.
        """
        raise NotImplementedError

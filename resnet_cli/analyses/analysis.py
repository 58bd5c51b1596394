"""What the rest of the program asks of an analysis."""

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
    """Something that is looked at in a trained net. Methods that need torch or pandas load them.

    Attributes:
        name: As experiments ask for it, and of the file in a run's folder.
        columns: Of that file; `weights` and `name` are texts.
        may_be_nan: Columns that may hold no number: of a net whose logits overflow.
        numbers: In which it is summed up, one each run, in the order of the table's columns.
        besides: Other keys of `sum_up`, which no table shows.
        ensemble_step: How the nets of an ensemble answer, where the table has numbers of it; see `EnsembleSpec.step`.
        tasks: Whose tables have its numbers, by name; empty: every task's.
        note: What these are, below the table.
        value: The column that panels of layers show; None if it has none for them.
        part: What of a net, or of its test, each row of that column is about.
        along: The column that those panels show it along: the parts' numbers, or the ratios of `noise`.
        axis: What the value is, beside the panel's axis.
        definition: And below the figure.
    """

    name: str
    columns: tuple[str, ...]
    may_be_nan: tuple[str, ...]
    numbers: tuple[Metric, ...]
    note: str
    value: str | None = None
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
        """Looks at a finished run's net, in fp32.

        Args:
            run: The run.
            folder: Its folder.
            data: On the device to compute on.
            source: The folder of `run.source`.
            progress: Called with the number of examples done so far.

        Raises:
            BadInputError: Weights are missing or damaged.
        """
        raise NotImplementedError

    def weights(self, run: RunSpec) -> set[str]:
        """What the column `weights` holds, if there is one."""
        return {"end"}

    def is_right(self, table: pd.DataFrame, run: RunSpec) -> bool:
        """Whether it may have written this table: all that it is to hold, and no layer twice."""
        parts = [part for _, part in table.groupby("weights")] if "weights" in table else [table]
        right = len(table) > 0 and ("weights" not in table or set(table["weights"]) == self.weights(run))
        if "layer" in table:
            right = right and all(list(part["layer"]) == list(range(1, len(part) + 1)) for part in parts)
        return right

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The numbers of a run, by key."""
        raise NotImplementedError

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """How long it takes.

        Args:
            run: The run.
            test: Seconds of a test of the test set, in fp32 by the plain step.
            update: Seconds of an update, so too.
            epoch_tests: Tests that take as long as one of the training set.
        """
        raise NotImplementedError

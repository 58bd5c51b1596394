"""A number by which nets are judged: what it is called, in which unit it is, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Metric:
    """A number of a trained net, or of an update.

    Attributes:
        key: The column in logs and tables: `test_error`.
        heading: In words, for titles and notes.
        header: Of its column in tables, where that is another.
        unit: `%`: of a batch's, or a test set's, examples, between 0 and 100. Else the metric's own.
        higher_is_better: Of an accuracy, say.
        digits: After the decimal point, for people.
        row: The field of an experiment's row that holds the paper's value; None: it stands in the row's `values`.
    """

    key: str
    heading: str
    unit: str = "%"
    higher_is_better: bool = False
    digits: int = 2
    row: str | None = None
    header: str = ""

    @property
    def best(self) -> str:
        """How the best of several values is found: `min` or `max`."""
        return "max" if self.higher_is_better else "min"

    @property
    def averaged(self) -> Metric:
        """The same of a test with averaged statistics of batch normalisation."""
        return replace(self, key=f"averaged_{self.key}")

    def of(self, count: float, examples: int) -> float:
        """Its value where it was counted: a percentage of the examples, or the number as it is."""
        return 100 * count / examples if self.unit == "%" else count

"""A number by which nets are judged: its name, its unit, and whether higher or lower is better."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Metric:
    """A number of a trained net, or of an update.

    Attributes:
        key: The column in logs and tables: `test_error`.
        heading: In words, for titles and notes.
        header: The header of its column in tables, if different.
        unit: `%` of the examples of a batch or a test set, between 0 and 100; else the metric's own unit.
        higher_is_better: True for an accuracy, for example.
        digits: Digits after the decimal point, for people.
        is_signed: A difference, which may be below 0.
        row: The field of an experiment's row that holds the paper's value; None: it stands in the row's `values`.
    """

    key: str
    heading: str
    unit: str = "%"
    higher_is_better: bool = False
    digits: int = 2
    is_signed: bool = False
    row: str | None = None
    header: str = ""

    @property
    def best(self) -> str:
        """How the best of several values is found: `min` or `max`."""
        return "max" if self.higher_is_better else "min"

    @property
    def averaged(self) -> Metric:
        """The same metric of a test with averaged statistics of batch normalisation."""
        return replace(self, key=f"averaged_{self.key}")

    def of(self, count: float, examples: int) -> float:
        """The metric's value from a count: a percentage of the examples, or the number as it is."""
        return 100 * count / examples if self.unit == "%" else count

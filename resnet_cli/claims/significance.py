"""Tests, intervals and effect sizes, as functions of numbers; independent of runs and nets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
DECIMALS = 9  # smaller differences are rounding


@dataclass(frozen=True)
class Sample:
    """A metric over the runs of a net, or a number that a claim compares with (n = 0, no std). Percent."""

    name: str
    n: int
    mean: float | None
    std: float | None

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> Sample:
        """The sample of these values; its standard deviation is the sample's (n-1), None for a single value."""
        values = [round(value, DECIMALS) for value in values]
        if len(values) < 2:  # noqa: PLR2004  a spread takes two
            return cls(name, len(values), values[0] if values else None, None)
        # Equal values have no spread, though rounding of their mean could give one.
        if min(values) == max(values):
            return cls(name, len(values), values[0], 0.0)
        return cls(name, len(values), float(np.mean(values)), float(np.std(values, ddof=1)))

    def __str__(self) -> str:
        if self.n == 0:
            return f"{self.name} (n=0)" if self.mean is None else self.name
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        return f"{self.name} {self.mean:.2f}{spread} (n={self.n})"


@dataclass(frozen=True)
class Difference:
    """A difference of means, left minus right, with its standard error and that error's degrees of freedom."""

    value: float
    error: float
    df: float

    @classmethod
    def between(cls, left: Sample, right: Sample) -> Difference:
        """The difference of two samples, by Welch and Satterthwaite, or of a sample and a number, with df = n - 1.

        At least one side must vary, and no side may have a single value.
        """
        assert left.mean is not None
        assert right.mean is not None
        variances = [(side.std**2 / side.n, side.n - 1) for side in (left, right) if side.std is not None]
        total = sum(variance for variance, _ in variances)
        df = 1 / sum((variance / total) ** 2 / df for variance, df in variances)
        return cls(left.mean - right.mean, math.sqrt(total), df)

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided 95% confidence interval."""
        reach = float(special.stdtrit(self.df, (1 + CONFIDENCE) / 2)) * self.error
        return self.value - reach, self.value + reach

    def p_below(self, bound: float = 0.0) -> float:
        """The p of the one-sided t-test that the difference is below `bound`; small if it is."""
        return float(special.stdtr(self.df, (self.value - bound) / self.error))

    def p_within(self, tolerance: float) -> float:
        """The p of the equivalence test that |difference| < `tolerance`: the greater p of two one-sided tests.

        A p above 1 - alpha means that the difference is significantly beyond one of the two ends.
        """
        p_above = float(special.stdtr(self.df, (-tolerance - self.value) / self.error))
        return max(self.p_below(tolerance), p_above)


def hedges_g(left: Sample, right: Sample) -> float | None:
    """The difference of means, left minus right, in pooled standard deviations, corrected for the bias of Cohen's d.

    Returns:
        None if no side varies, or with one degree of freedom, for which there is no unbiased estimate.
    """
    assert left.mean is not None
    assert right.mean is not None
    spreads = [(side.n - 1, side.std) for side in (left, right) if side.std is not None]
    df = sum(each for each, _ in spreads)
    pooled = math.sqrt(sum(each * std**2 for each, std in spreads) / df) if df else 0.0
    if not pooled or df == 1:
        return None
    unbiased = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
    return unbiased * (left.mean - right.mean) / pooled


def holm(p: Sequence[float]) -> list[float]:
    """Each p corrected for the number of them by Holm's step-down method (1979), in the order given."""
    corrected = [0.0] * len(p)
    greatest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        greatest = max(greatest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = greatest
    return corrected


@dataclass(frozen=True)
class SignTest:
    """Two sets of answers, compared by the images that only one gets right, or by the classes in which one is better.

    Attributes:
        left: The name of the first net.
        right: The name of the second net.
        images: The number of images, or classes, that both answered.
        only_left: Images that only the left net gets right, or classes in which it is better.
        only_right: The same for the right net.
        p: That of the exact one-sided sign test (McNemar's) that left is better more often; 1 if they never differ.
        of_classes: Whether it compares classes instead of images.
    """

    left: str
    right: str
    images: int
    only_left: int
    only_right: int
    p: float
    of_classes: bool = False

    @classmethod
    def of(cls, left: str, right: str, left_wrong: np.ndarray, right_wrong: np.ndarray) -> SignTest:
        """Compares two nets by the images that each gets wrong, (images,) bool."""
        won, lost = int((right_wrong & ~left_wrong).sum()), int((left_wrong & ~right_wrong).sum())
        return cls(left, right, len(left_wrong), won, lost, _sign_test(won, lost))

    @classmethod
    def of_class_values(cls, left: str, right: str, ours: np.ndarray, its: np.ndarray, sign: int) -> SignTest:
        """Compares two nets by a metric of each class, (classes,); lower is better, or higher if the sign is -1.

        A class in which either value is NaN does not count.
        """
        won, lost = int((sign * ours < sign * its).sum()), int((sign * ours > sign * its).sum())
        return cls(left, right, int(np.isfinite(ours + its).sum()), won, lost, _sign_test(won, lost), of_classes=True)

    def __str__(self) -> str:
        if self.of_classes:
            return (
                f"in {self.images:,} classes: {self.left} is better in {self.only_left:,}, {self.right} in "
                f"{self.only_right:,}: sign test, {p_in_words(self.p)}"
            )
        return (
            f"on {self.images:,} images: {self.left} alone is right on {self.only_left:,}, {self.right} alone on "
            f"{self.only_right:,}: sign test, {p_in_words(self.p)}"
        )


def _sign_test(won: int, lost: int) -> float:
    return float(stats.binomtest(won, won + lost, alternative="greater").pvalue) if won + lost else 1.0


def p_in_words(p: float) -> str:
    """A p to two digits."""
    return f"p = {p:.2g}" if p >= 10**-DECIMALS else f"p < {10**-DECIMALS:g}"

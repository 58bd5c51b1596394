"""One comparison behind a verdict: two samples, and the test between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from resnet_cli.claims.significance import DECIMALS, Difference, Sample, SignTest, hedges_g, p_in_words
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from resnet_cli.claims.numbers import Numbers

Verdict = Literal["reproduced", "not reproduced", "too few runs", "not run"]

SIGNIFICANCE = 0.05
ENOUGH_RUNS = 5


@dataclass(frozen=True)
class Comparison:
    """One comparison behind a verdict. Values that were not computed are None.

    Attributes:
        left: The first side; in most claims the one that is said to be better.
        right: The other side.
        test: The test that decided, in words.
        p: The test's p.
        verdict: The verdict if this were the only comparison.
        difference: The difference of the means, left minus right; points.
        interval: Its 95% confidence interval.
        g: Hedges' g: the difference in standard deviations.
        by_image: The sign test on the two sides' answers to the same images; it decides only if it is the `test`.
        not_by_image: Why two nets of one run each have no `by_image`; empty otherwise.
    """

    left: Sample
    right: Sample
    test: str | None
    p: float | None
    verdict: Verdict
    difference: float | None = None
    interval: tuple[float, float] | None = None
    g: float | None = None
    by_image: SignTest | None = None
    not_by_image: str = ""

    @property
    def sides(self) -> str:
        """Both sides with their means, deviations and n."""
        return f"{self.left} against {self.right}"

    @property
    def outcome(self) -> str:
        """The difference and the test's result; empty if there is nothing to compare."""
        if self.difference is None:
            return ""
        effect = f"difference {self.difference:z.2f}"
        if self.interval:
            low, high = self.interval
            effect += f" (95% CI {low:z.2f} to {high:z.2f})"
        if self.g is not None:
            effect += f", g = {self.g:z.2f}"
        if self.by_image:
            whose = "" if self.test else "for these two nets, "
            return f"{effect}; {whose}{self.by_image}"
        if self.test is None:
            return effect
        return f"{effect}; {self.test}" + ("" if self.p is None else f", {p_in_words(self.p)}")

    def __str__(self) -> str:
        return f"{self.sides}: {self.outcome}" if self.outcome else self.sides


def sample(summary: Numbers, side: Net | float, metric: str) -> Sample:
    """The sample of a net's runs, or of a number."""
    if isinstance(side, Net):
        return Sample.of(side.name, summary.values(side, metric))
    return Sample(f"{side:g}", 0, side, None)


def better(summary: Numbers, metric: str, left: Net | float, right: Net | float) -> Comparison:
    """Whether left is better than right by a metric; for single runs also their comparison image by image."""
    one, other = (sample(summary, side, metric) for side in (left, right))
    comparison = _beyond(one, other, summary.sign(metric))
    if comparison.verdict != "not run" and summary.nobody_reached(
        metric, [side for side in (left, right) if isinstance(side, Net)]
    ):
        return replace(comparison, test=None, p=None, interval=None, g=None, verdict="too few runs")
    pair = next((pair for pair in summary.pairs if pair.nets == (left, right)), None)
    if pair is None or metric != summary.task.metric.key:
        return comparison
    return replace(comparison, by_image=pair.test, not_by_image=pair.problem)


def _beyond(left: Sample, right: Sample, sign: int) -> Comparison:
    """Whether left is lower than right, or higher if the sign is -1; each is a net's runs or a number."""
    if left.mean is None or right.mean is None:
        return Comparison(left, right, None, None, "not run")
    if 1 in (left.n, right.n):
        return Comparison(left, right, None, None, "too few runs", left.mean - right.mean)
    if not left.std and not right.std:
        return _by_value(left, right, holds=sign * left.mean < sign * right.mean)
    difference = Difference.between(left, right)
    test = "one-sample t-test" if 0 in (left.n, right.n) else "Welch's t-test"
    p = difference.p_below() if sign > 0 else 1 - difference.p_below()
    return _by_t(left, right, test, p, difference)


def within(net: Sample, value: Sample, tolerance: float) -> Comparison:
    """Whether a net's mean lies within the tolerance of a value."""
    if net.mean is None or value.mean is None:
        return Comparison(net, value, None, None, "not run")
    if net.std is None:
        return Comparison(net, value, None, None, "too few runs", net.mean - value.mean)
    if not net.std:
        # Rounded, since binary numbers are not exact: 7.11 - 6.61 is above 0.5.
        return _by_value(net, value, holds=round(abs(net.mean - value.mean), DECIMALS) <= tolerance)
    difference = Difference.between(net, value)
    return _by_t(net, value, f"equivalence test (within {tolerance:g})", difference.p_within(tolerance), difference)


def _by_value(left: Sample, right: Sample, *, holds: bool) -> Comparison:
    assert left.mean is not None
    assert right.mean is not None
    verdict: Verdict = "reproduced" if holds else "not reproduced"
    return Comparison(left, right, "no spread, values compared", None, verdict, left.mean - right.mean)


def _by_t(left: Sample, right: Sample, test: str, p: float, difference: Difference) -> Comparison:
    verdict: Verdict = "too few runs"
    if p < SIGNIFICANCE:
        verdict = "reproduced"
    elif p > 1 - SIGNIFICANCE or min(side.n for side in (left, right) if side.n) >= ENOUGH_RUNS:
        verdict = "not reproduced"
    g = hedges_g(left, right)
    return Comparison(left, right, test, p, verdict, difference.value, difference.interval, g)


def not_better(left: Sample, right: Sample, margin: float, sign: int) -> Comparison:
    """Whether left is not better than right by the margin or more; lower is better, or higher if the sign is -1."""
    if left.mean is None or right.mean is None or 1 in (left.n, right.n):
        return _beyond(left, right, sign)  # here its verdict is "not run" or "too few runs"
    if not left.std and not right.std:
        return _by_value(left, right, holds=round(sign * (right.mean - left.mean), DECIMALS) < margin)
    difference = Difference.between(left, right)
    test = f"Welch's t-test (not better by {margin:g})"
    p = difference.p_below(-sign * margin)
    return _by_t(left, right, test, 1 - p if sign > 0 else p, difference)

"""Verdicts on an experiment's claims, with the figures behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np
from scipy import stats

from resnet_cli.experiment import BetterTogether, Less, Monotone, NoAdvantage, SameStart, Within
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from resnet_cli.experiment import Claim
    from resnet_cli.report.ensemble import Ensemble
    from resnet_cli.report.summarize import Summary

Verdict = Literal["reproduced", "not reproduced", "too few runs", "not run"]

SIGNIFICANCE = 0.05
ENOUGH_RUNS = 5

RULE = (
    "'Lower' is a one-sided t-test over runs (Welch's between two nets, one-sample against a number): reproduced if "
    f"p < {SIGNIFICANCE}, not reproduced if p > {1 - SIGNIFICANCE} or if {ENOUGH_RUNS} runs a side decide nothing; a "
    "sequence needs every neighbouring pair, without correction for their number. 'Within' compares the mean. Fewer "
    "than two runs, or a smoke run, decide nothing. An ensemble and its best member are compared image by image: a "
    "one-sided sign test, which speaks of these very nets and of no others."
)


@dataclass(frozen=True)
class Sample:
    """A metric over the runs of a net, or a number a claim compares with (n = 0, no std). Percent."""

    name: str
    n: int
    mean: float | None
    std: float | None

    def __str__(self) -> str:
        if self.n == 0:
            return f"{self.name} (n=0)" if self.mean is None else self.name
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        return f"{self.name} {self.mean:.2f}{spread} (n={self.n})"


@dataclass(frozen=True)
class Comparison:
    """One comparison behind a verdict: the two sides, the test and its p; None where no test was made."""

    left: Sample
    right: Sample
    test: str | None
    p: float | None
    verdict: Verdict

    def __str__(self) -> str:
        if self.test is None:
            return f"{self.left} against {self.right}"
        outcome = "" if self.p is None else f", p = {self.p:.2g}"
        return f"{self.left} against {self.right}: {self.test}{outcome}"


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim, why, the comparisons behind it, and the error that it is about."""

    claim: Claim
    verdict: Verdict
    reason: str
    comparisons: tuple[Comparison, ...]
    metric_in_words: str

    def as_json(self) -> dict[str, Any]:
        """The judgement as plain values for JSON."""
        return {
            "claim": self.claim.text,
            "metric": self.claim.metric,
            "verdict": self.verdict,
            "reason": self.reason,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def judge(summary: Summary) -> list[Judgement]:
    """A verdict for each of the experiment's claims, in the file's order.

    Less, between two nets: one-sided Welch t-test over runs; p < 0.05 is reproduced, p > 0.95 not reproduced. What
    lies between is too few runs while a side has fewer than five, and not reproduced from there on. Against a number:
    the one-sample t-test, by the same rule. A side with fewer than two runs is too few. If no side varies, the values
    themselves are compared. Within: whether the mean of two runs or more lies within the tolerance. Monotone: Less
    for every neighbouring pair; one pair not reproduced decides, then one with too few runs. Ensemble: the exact
    one-sided sign test on the images that only one of the two gets right, the ensemble or the member that errs least
    on the same images; p < 0.05 is reproduced, all else not. A claim about a net without a finished run is not run. A
    smoke run reproduces nothing and refutes nothing: too few runs.
    """
    return [_judge(claim, summary) for claim in summary.experiment.claims]


def _judge(claim: Claim, summary: Summary) -> Judgement:
    def sample(side: Net | float) -> Sample:
        if isinstance(side, Net):
            return _sample(side.name, summary.values(side, claim.metric))
        return Sample(f"{side:g}", 0, side, None)

    match claim:
        case Less():
            comparisons = [_lower(sample(claim.left), sample(claim.right))]
        case Within():
            comparisons = [_within(sample(claim.net), sample(claim.value), claim.tolerance)]
        case Monotone():
            comparisons = [_lower(sample(later), sample(former)) for former, later in pairwise(claim.nets)]
        case NoAdvantage():
            comparisons = [_not_better(sample(claim.left), sample(claim.right), claim.margin)]
        case SameStart():
            source = _sample(f"plain-{claim.net.start}", summary.values(claim.net, "source_error"))
            start = _sample(f"{claim.net.name} before its first update", summary.values(claim.net, "start_error"))
            comparisons = [_same(start, source, claim.tolerance)]
        case BetterTogether():
            comparisons = [_better_together(summary.ensemble(claim.nets), claim.metric)]
        case _:
            assert_never(claim)
    if summary.variant.tiny:
        comparisons = [
            comparison if comparison.verdict == "not run" else replace(comparison, verdict="too few runs")
            for comparison in comparisons
        ]
    order: tuple[Verdict, ...] = ("not run", "not reproduced", "too few runs", "reproduced")
    verdict = min((comparison.verdict for comparison in comparisons), key=order.index)
    return Judgement(
        claim, verdict, _reason(verdict, claim, comparisons, summary), tuple(comparisons), _words(summary, claim)
    )


def _words(summary: Summary, claim: Claim) -> str:
    after_training = summary.test_error_in_words
    return {
        "test_error": after_training,
        "test_error_top5": f"top-5 {after_training}",
        "train_error": "training error",
        "early_test_error": f"{after_training}, mean over the first quarter",
        "updates_to_reach": f"updates to {summary.experiment.reach or 0:g}% training error",
        "mean_response": "mean response",
        "gradient_ratio": "backward signal, first layer over last",
        "training_set_error": "error on the training set",
    }[claim.metric]


def _sample(name: str, values: list[float]) -> Sample:
    if not values:
        return Sample(name, 0, None, None)
    if len(values) == 1:
        return Sample(name, 1, values[0], None)
    # Equal values have no spread, whatever rounding makes of their mean.
    if min(values) == max(values):
        return Sample(name, len(values), values[0], 0.0)
    return Sample(name, len(values), float(np.mean(values)), float(np.std(values, ddof=1)))


def _lower(left: Sample, right: Sample) -> Comparison:
    """Whether left is lower than right, each a net's runs or a number."""
    if left.mean is None or right.mean is None:
        return Comparison(left, right, None, None, "not run")
    if 1 in (left.n, right.n):
        return Comparison(left, right, None, None, "too few runs")
    if not left.std and not right.std:
        verdict: Verdict = "reproduced" if left.mean < right.mean else "not reproduced"
        return Comparison(left, right, "no spread, values compared", None, verdict)
    if left.std is not None and right.std is not None:
        test = "Welch's t-test"
        p = stats.ttest_ind_from_stats(
            left.mean, left.std, left.n, right.mean, right.std, right.n, equal_var=False, alternative="less"
        ).pvalue
    else:
        test = "one-sample t-test"
        net = left if left.std else right
        assert net.std is not None
        p = stats.t.cdf((left.mean - right.mean) / (net.std / net.n**0.5), df=net.n - 1)
    runs = min(side.n for side in (left, right) if side.std is not None)
    return Comparison(left, right, test, float(p), _verdict(float(p), runs))


def _verdict(p: float, runs: int) -> Verdict:
    if p < SIGNIFICANCE:
        return "reproduced"
    if p > 1 - SIGNIFICANCE or runs >= ENOUGH_RUNS:
        return "not reproduced"
    return "too few runs"


def _within(net: Sample, value: Sample, tolerance: float) -> Comparison:
    test = f"mean within {tolerance:g}"
    if net.mean is None or value.mean is None:
        return Comparison(net, value, None, None, "not run")
    if net.n < 2:  # noqa: PLR2004  a mean takes two
        return Comparison(net, value, None, None, "too few runs")
    # The claim is in decimals, which binary numbers miss by a little: 7.11 - 6.61 is above 0.5.
    close = round(abs(net.mean - value.mean), 9) <= tolerance
    return Comparison(net, value, test, None, "reproduced" if close else "not reproduced")


def _not_better(left: Sample, right: Sample, margin: float) -> Comparison:
    """Whether left is not lower than right by the margin or more: right less the margin is lower than left."""
    result = _lower(right if right.mean is None else replace(right, mean=right.mean - margin), left)
    test = result.test and f"better by less than {margin:g}: {result.test}"
    return replace(result, left=left, right=right, test=test)


def _same(start: Sample, source: Sample, tolerance: float) -> Comparison:
    """Whether two errors are the same but for rounding; a construction, so nothing is left to chance."""
    if start.mean is None or source.mean is None:
        return Comparison(start, source, None, None, "not run")
    same = abs(start.mean - source.mean) <= tolerance
    return Comparison(start, source, f"the same within {tolerance:g}", None, "reproduced" if same else "not reproduced")


def _better_together(ensemble: Ensemble, metric: str) -> Comparison:
    """Whether an ensemble errs less than its best member, on the same images."""
    together = f"{len(ensemble.nets)} nets together"
    if ensemble.missing:
        return Comparison(
            Sample(together, 0, None, None), Sample("the best of them", 0, None, None), None, None, "not run"
        )
    best = ensemble.best_member(metric)
    ours, its = ensemble.wrong[metric][-1], ensemble.wrong[metric][best]
    won, lost = int((its & ~ours).sum()), int((ours & ~its).sum())
    p = float(stats.binomtest(won, won + lost, alternative="greater").pvalue) if won + lost else 1.0
    return Comparison(
        Sample(together, 1, 100 * float(ours.mean()), None),
        Sample(ensemble.members[best], 1, 100 * float(its.mean()), None),
        f"on {len(ours):,} images; {won} that only the ensemble gets right, {lost} only the net: sign test",
        p,
        "reproduced" if p < SIGNIFICANCE else "not reproduced",
    )


def _reason(verdict: Verdict, claim: Claim, comparisons: list[Comparison], summary: Summary) -> str:
    """What a reader must know beside the figures; empty where they say it all."""
    if verdict == "not run" and isinstance(claim, BetterTogether):
        return f"tested runs are missing: {summary.ensemble(claim.nets).missing}"
    if verdict == "not run":
        sides = [side for comparison in comparisons for side in (comparison.left, comparison.right)]
        missing = dict.fromkeys(side.name for side in sides if side.mean is None)
        early = " with an evaluation in the first quarter" if claim.metric == "early_test_error" else ""
        return f"no finished run of {', '.join(missing)}{early}"
    if summary.variant.tiny:
        return "smoke run"
    if verdict == "too few runs":
        needed = 2 if isinstance(claim, Within) else ENOUGH_RUNS
        undecided = [comparison for comparison in comparisons if comparison.verdict == verdict]
        sides = [side for comparison in undecided for side in (comparison.left, comparison.right)]
        have = dict.fromkeys(f"{side.name} has {side.n}" for side in sides if 0 < side.n < needed)
        return f"{needed} runs decide (--seeds {needed}); {', '.join(have)}"
    return ""

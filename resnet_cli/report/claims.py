"""Verdicts on an experiment's claims, with the figures behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, assert_never

from resnet_cli.experiment import NEEDS, BetterTogether, Less, Monotone, NoAdvantage, SameStart, Within
from resnet_cli.report.significance import DECIMALS, Difference, Sample, SignTest, hedges_g, holm, p_in_words
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from resnet_cli.experiment import Claim
    from resnet_cli.report.ensemble import Ensemble
    from resnet_cli.report.summarize import Summary

Verdict = Literal["reproduced", "not reproduced", "too few runs", "not run"]

SIGNIFICANCE = 0.05
ENOUGH_RUNS = 5
ORDER: tuple[Verdict, ...] = ("not run", "not reproduced", "too few runs", "reproduced")

RULE = (
    "'Lower' is a one-sided t-test over runs, Welch's between two nets; a sequence has the greatest p of its pairs; "
    "'within' is an equivalence test, two one-sided t-tests; 'no advantage' a t-test against a margin. Holm corrects "
    f"all p of a table: reproduced if the corrected p < {SIGNIFICANCE}, not reproduced if the plain p > "
    f"{1 - SIGNIFICANCE} or if {ENOUGH_RUNS} runs a side do not reproduce it, else too few runs; fewer than two runs a "
    "side, or a smoke run, decide nothing (but of a constructed start each run must agree). Differences are in points, "
    "or in the metric's own unit; g is Hedges'. A sign test compares two answers image by image and speaks of these "
    "very nets only: an ensemble's decides, that of two single runs does not. Choose the seeds before they run "
    "(`resnet check --power` "
    "says how many): adding some until a claim is reproduced is not covered."
)


@dataclass(frozen=True)
class Comparison:
    """One comparison behind a verdict. What was not computed is None.

    Attributes:
        left: The side that a claim says is lower, or near the right one.
        right: The other one.
        test: What decided, in words.
        p: Its p.
        verdict: What this comparison would say as the only one.
        difference: The means', left minus right; points.
        interval: Its 95% confidence interval.
        g: Hedges' g, the same in standard deviations.
        by_image: The two sides' answers to the same images; decides only where it is the `test`.
        not_by_image: Why two nets of one run each have none; empty otherwise.
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
        """The difference and what the test said of it; empty where there is nothing to compare."""
        if self.difference is None:
            return ""
        effect = f"difference {self.difference:z.2f}"
        if self.interval:
            low, high = self.interval
            effect += f" (95% CI {low:z.2f} to {high:z.2f})"
        if self.g is not None:
            effect += f", g = {self.g:z.2f}"
        if self.by_image:
            whose = "" if self.test else "these two nets, "
            return f"{effect}; {whose}{self.by_image}"
        if self.test is None:
            return effect
        return f"{effect}; {self.test}" + ("" if self.p is None else f", {p_in_words(self.p)}")

    def __str__(self) -> str:
        return f"{self.sides}: {self.outcome}" if self.outcome else self.sides


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim, why, the comparisons behind it, and the error that it is about.

    Attributes:
        p: The claim's, before the correction; None if no test decides it, or a part of it waits for runs.
        corrected_p: The same by Holm's method, for all claims of the table that have one.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    comparisons: tuple[Comparison, ...]
    metric_in_words: str
    p: float | None
    corrected_p: float | None

    def as_json(self) -> dict[str, Any]:
        """The judgement as plain values for JSON."""
        return {
            "claim": self.claim.text,
            "metric": self.claim.metric,
            "verdict": self.verdict,
            "reason": self.reason,
            "p": self.p,
            "corrected_p": self.corrected_p,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def judge(summary: Summary) -> list[Judgement]:
    """A verdict for each of the experiment's claims, in the file's order.

    Each claim gets a p. Less, between two nets: the one-sided Welch t-test over runs; against a number: the one-sample
    t-test. Within: the equivalence test, which is two one-sided one-sample t-tests, one against each end of the
    tolerance; its p is the greater of theirs. Monotone: Less for every neighbouring pair; its p is the greatest of
    theirs, for the claim says that all of them hold (an intersection-union test, which needs no correction within).
    No advantage: Welch's test of the left net's being better by less than the margin. Ensemble: the exact one-sided
    sign test on the images that only one of the two gets right, the ensemble or the member that errs least on the same
    images. A constructed start has no p: it has its source's error in each run, be it one, or it has not.

    The p of all claims are corrected together by Holm's method, so that a table in which no claim is true has a
    'reproduced' in at most one case of twenty. Corrected p < 0.05 is reproduced. Plain p > 0.95 is not reproduced: the
    opposite is significant. What lies between is not reproduced if every side has five runs or more, or if a pair with
    as many has p >= 0.05 by itself; else too few runs. An ensemble has no side to add runs to: not reproduced.

    Welch's test is not exact. Of two equal nets with as many runs each, one is called lower in 3 to 5% of the cases
    where one spreads at most three times as much as the other, in 5.7% at ten times; with two runs against five or
    ten it may be 8%. So give all nets as many seeds.

    A side with fewer than two runs is too few; the saved answers of two such nets are compared image by image, but
    that test knows nothing of how runs differ, and decides nothing. If no side varies, the values themselves are
    compared, and there is no p. A claim about a net without a finished run is not run. A smoke run reproduces nothing
    and refutes nothing: too few runs.
    """
    compared = [(claim, _compare(claim, summary)) for claim in summary.experiment.claims]
    plain = [_greatest_p(comparisons) for _, comparisons in compared]
    corrections = iter(holm([p for p in plain if p is not None]))
    corrected = [None if p is None else next(corrections) for p in plain]
    return [
        _judgement(claim, comparisons, p, corrected_p, summary)
        for (claim, comparisons), p, corrected_p in zip(compared, plain, corrected, strict=True)
    ]


def _compare(claim: Claim, summary: Summary) -> list[Comparison]:
    def lower(left: Net | float, right: Net | float) -> Comparison:
        comparison = _lower(_sample(summary, left, claim.metric), _sample(summary, right, claim.metric))
        if comparison.verdict != "not run" and _nobody_reached(summary, claim):
            return replace(comparison, test=None, p=None, interval=None, g=None, verdict="too few runs")
        pair = next((pair for pair in summary.pairs if pair.nets == (left, right)), None)
        if pair is None or claim.metric != "test_error":
            return comparison
        return replace(comparison, by_image=pair.test, not_by_image=pair.problem)

    match claim:
        case Less():
            return [lower(claim.left, claim.right)]
        case Within():
            net, value = (_sample(summary, side, claim.metric) for side in (claim.net, claim.value))
            return [_within(net, value, claim.tolerance)]
        case Monotone():
            return [lower(later, former) for former, later in pairwise(claim.nets)]
        case NoAdvantage():
            left, right = (_sample(summary, side, claim.metric) for side in claim.nets)
            return [_not_better(left, right, claim.margin)]
        case SameStart():
            return [_same_start(summary, claim)]
        case BetterTogether():
            return [_better_together(summary.ensemble(claim.nets), claim.metric)]
        case _:
            assert_never(claim)


def _nobody_reached(summary: Summary, claim: Claim) -> bool:
    """Whether updates are counted to an error that no run of the claim's nets got to: then nothing was measured."""
    return claim.metric == "updates_to_reach" and not summary.reached(claim.nets)


def _sample(summary: Summary, side: Net | float, metric: str) -> Sample:
    """A net's runs, or a number."""
    if isinstance(side, Net):
        return Sample.of(side.name, summary.values(side, metric))
    return Sample(f"{side:g}", 0, side, None)


def _greatest_p(comparisons: list[Comparison]) -> float | None:
    """The p of a claim that all of these hold; None if one has none, unless it needed none to be reproduced."""
    if any(comparison.p is None and comparison.verdict != "reproduced" for comparison in comparisons):
        return None
    return max((comparison.p for comparison in comparisons if comparison.p is not None), default=None)


def _judgement(
    claim: Claim, comparisons: list[Comparison], p: float | None, corrected_p: float | None, summary: Summary
) -> Judgement:
    if summary.variant.tiny:
        comparisons = [
            comparison if comparison.verdict == "not run" else replace(comparison, verdict="too few runs")
            for comparison in comparisons
        ]
    verdict = min((comparison.verdict for comparison in comparisons), key=ORDER.index)
    if verdict == "reproduced" and corrected_p is not None and corrected_p >= SIGNIFICANCE:
        sides = [side for comparison in comparisons for side in (comparison.left, comparison.right)]
        more_runs_help = not isinstance(claim, BetterTogether) and any(0 < side.n < ENOUGH_RUNS for side in sides)
        verdict = "too few runs" if more_runs_help else "not reproduced"
    reason = _reason(verdict, claim, comparisons, summary)
    if p is not None and corrected_p is not None and not summary.variant.tiny:
        correction = f"{p_in_words(p)}, corrected {corrected_p:.2g}" if f"{p:.2g}" != f"{corrected_p:.2g}" else ""
        reason = "; ".join(part for part in (reason, correction) if part)
    return Judgement(claim, verdict, reason, tuple(comparisons), metric_in_words(summary, claim), p, corrected_p)


def metric_in_words(summary: Summary, claim: Claim) -> str:
    """The error that a claim is about."""
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


def _lower(left: Sample, right: Sample) -> Comparison:
    """Whether left is lower than right, each a net's runs or a number."""
    if left.mean is None or right.mean is None:
        return Comparison(left, right, None, None, "not run")
    if 1 in (left.n, right.n):
        return Comparison(left, right, None, None, "too few runs", left.mean - right.mean)
    if not left.std and not right.std:
        return _by_value(left, right, holds=left.mean < right.mean)
    difference = Difference.between(left, right)
    test = "one-sample t-test" if 0 in (left.n, right.n) else "Welch's t-test"
    return _by_t(left, right, test, difference.p_below(), difference)


def _within(net: Sample, value: Sample, tolerance: float) -> Comparison:
    """Whether a net's mean lies within the tolerance of a value."""
    if net.mean is None or value.mean is None:
        return Comparison(net, value, None, None, "not run")
    if net.std is None:
        return Comparison(net, value, None, None, "too few runs", net.mean - value.mean)
    if not net.std:
        # The claim is in decimals, which binary numbers miss by a little: 7.11 - 6.61 is above 0.5.
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


def _not_better(left: Sample, right: Sample, margin: float) -> Comparison:
    """Whether left is lower than right by less than the margin, if at all."""
    if left.mean is None or right.mean is None or 1 in (left.n, right.n):
        return _lower(left, right)  # which decides nothing
    if not left.std and not right.std:
        return _by_value(left, right, holds=round(right.mean - left.mean, DECIMALS) < margin)
    difference = Difference.between(left, right)
    test = f"Welch's t-test (not better by {margin:g})"
    return _by_t(left, right, test, 1 - difference.p_below(-margin), difference)


def _same_start(summary: Summary, claim: SameStart) -> Comparison:
    """Whether a construction has its source's error but for rounding; nothing in it is left to chance."""
    errors = [summary.values(claim.net, metric) for metric in ("start_error", "source_error")]
    start = Sample.of(f"{claim.net.name} before its first update", errors[0])
    source = Sample.of(f"plain-{claim.net.start}", errors[1])
    if start.mean is None or source.mean is None:
        return Comparison(start, source, None, None, "not run")
    greatest = max((round(one - other, DECIMALS) for one, other in zip(*errors, strict=True)), key=abs)
    verdict: Verdict = "reproduced" if abs(greatest) <= claim.tolerance else "not reproduced"
    return Comparison(start, source, f"the same within {claim.tolerance:g} in each run", None, verdict, greatest)


def _better_together(ensemble: Ensemble, metric: str) -> Comparison:
    """Whether an ensemble errs less than its best member, on the same images."""
    together = f"{len(ensemble.nets)} nets together"
    if ensemble.missing:
        return Comparison(
            Sample(together, 0, None, None), Sample("the best of them", 0, None, None), None, None, "not run"
        )
    best = ensemble.best_member(metric)
    ours, its = ensemble.wrong[metric][-1], ensemble.wrong[metric][best]
    test = SignTest.of("the ensemble", "the net", ours, its)
    left = Sample(together, 1, 100 * float(ours.mean()), None)
    right = Sample(ensemble.members[best], 1, 100 * float(its.mean()), None)
    return Comparison(
        left,
        right,
        "sign test",
        test.p,
        "reproduced" if test.p < SIGNIFICANCE else "not reproduced",
        100 * float(ours.mean() - its.mean()),
        by_image=test,
    )


def _reason(verdict: Verdict, claim: Claim, comparisons: list[Comparison], summary: Summary) -> str:
    """What a reader must know beside the figures; empty where they say it all."""
    sides = [side for comparison in comparisons for side in (comparison.left, comparison.right)]
    if verdict == "not run":
        return _why_not_run(claim, [side.name for side in sides if side.mean is None], summary)
    if summary.variant.tiny:
        return "smoke run"
    if verdict == "too few runs" and _nobody_reached(summary, claim):
        return f"no run reached {summary.experiment.reach:g}%"
    if verdict == "too few runs":
        have = dict.fromkeys(f"{side.name} has {side.n}" for side in sides if 0 < side.n < ENOUGH_RUNS)
        reason = f"{ENOUGH_RUNS} runs decide (--seeds {ENOUGH_RUNS}); {', '.join(have)}"
        problems = dict.fromkeys(each.not_by_image for each in comparisons if each.not_by_image)
        return f"{reason}; not compared by image: {'; '.join(problems)}" if problems else reason
    return ""


def _why_not_run(claim: Claim, missing: list[str], summary: Summary) -> str:
    """Which nets a claim waits for, and for what of them."""
    if isinstance(claim, BetterTogether):
        return f"tested runs are missing: {summary.ensemble(claim.nets).missing}"
    nets = ", ".join(dict.fromkeys(missing))
    if analysis := NEEDS.get(claim.metric):
        return f"no run of {nets} with its {analysis}; 'resnet run {summary.experiment.name}' makes it"
    early = " with an evaluation in the first quarter" if claim.metric == "early_test_error" else ""
    return f"no finished run of {nets}{early}"

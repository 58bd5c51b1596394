"""Verdicts on an experiment's claims, with the numbers behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from resnet_cli.claims.comparison import ENOUGH_RUNS, SIGNIFICANCE, Comparison, Verdict
from resnet_cli.claims.significance import holm, p_in_words

if TYPE_CHECKING:
    from resnet_cli.claims import Claim
    from resnet_cli.claims.numbers import Numbers

ORDER: tuple[Verdict, ...] = ("not run", "not reproduced", "too few runs", "reproduced")

RULE = (
    "'Lower' is a one-sided t-test over runs (Welch's between two nets). A sequence of nets has the largest p of its "
    "pairs; 'within' is an equivalence test (two one-sided t-tests); 'no advantage' is a t-test against a margin. "
    f"Holm's method corrects all p of a table. Reproduced: the corrected p is below {SIGNIFICANCE}. Not reproduced: "
    f"the uncorrected p is above {1 - SIGNIFICANCE}, or {ENOUGH_RUNS} runs per net do not reproduce the claim. "
    "Otherwise: too few runs. Fewer than two runs per net, or a smoke run, never decide a claim (except one about a "
    "constructed start, for which each run must agree). Differences are in points, or in the metric's own unit; g is "
    "Hedges' g. A sign test compares two sets of answers image by image (for detectors, class by class) and is about "
    "these trained nets only: it decides for an ensemble, not for two single runs. Choose the number of seeds before "
    "you train (`resnet check --power` computes it): the correction does not cover adding runs until a claim holds."
)


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim, the reason, the comparisons behind it, and the metric that it is about.

    Attributes:
        p: The claim's p before the correction; None if no test decides it, or if a comparison needs more runs.
        corrected_p: The p corrected by Holm's method for all claims of the table that have one.
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


def judge(summary: Numbers) -> list[Judgement]:
    """A verdict for each of the experiment's claims, in the file's order.

    Each claim gets a p from its own test; see its kind.

    The p of all claims are corrected together by Holm's method: if no claim of a table is true, a claim is called
    reproduced in at most one case of twenty. A corrected p < 0.05 is reproduced. An uncorrected p > 0.95 is not
    reproduced: the opposite is significant. Between these, a claim is not reproduced if every side has five runs or
    more, or if a pair with that many has p >= 0.05 by itself; else it has too few runs. An ensemble's claim is then not
    reproduced, since more runs cannot change it.

    Welch's test is not exact. Of two equal nets with equally many runs, one is called lower in 3 to 5% of the cases
    if its standard deviation is at most three times the other's, and in 5.7% at ten times; with two runs against five
    or ten it may be 8%. So give all nets the same number of seeds.

    A side with one run has too few. The saved answers of two such nets are compared image by image, but that test does
    not know how runs vary, and decides nothing. If neither side varies, the values themselves are compared, and there
    is no p. A claim about a net without a finished run is not run. A smoke run neither reproduces nor refutes a claim:
    too few runs.
    """
    compared = [(claim, claim.compare(summary)) for claim in summary.experiment.claims]
    plain = [_greatest_p(comparisons) for _, comparisons in compared]
    corrections = iter(holm([p for p in plain if p is not None]))
    corrected = [None if p is None else next(corrections) for p in plain]
    return [
        _judgement(claim, comparisons, p, corrected_p, summary)
        for (claim, comparisons), p, corrected_p in zip(compared, plain, corrected, strict=True)
    ]


def _greatest_p(comparisons: list[Comparison]) -> float | None:
    """The p of a claim that needs all comparisons; None if one has no p, unless it is reproduced without one."""
    if any(comparison.p is None and comparison.verdict != "reproduced" for comparison in comparisons):
        return None
    return max((comparison.p for comparison in comparisons if comparison.p is not None), default=None)


def _judgement(
    claim: Claim, comparisons: list[Comparison], p: float | None, corrected_p: float | None, summary: Numbers
) -> Judgement:
    if summary.variant.tiny:
        comparisons = [
            comparison if comparison.verdict == "not run" else replace(comparison, verdict="too few runs")
            for comparison in comparisons
        ]
    verdict = min((comparison.verdict for comparison in comparisons), key=ORDER.index)
    if verdict == "reproduced" and corrected_p is not None and corrected_p >= SIGNIFICANCE:
        sides = [side for comparison in comparisons for side in (comparison.left, comparison.right)]
        more_runs_help = claim.runs_help and any(0 < side.n < ENOUGH_RUNS for side in sides)
        verdict = "too few runs" if more_runs_help else "not reproduced"
    reason = _reason(verdict, claim, comparisons, summary)
    if p is not None and corrected_p is not None and not summary.variant.tiny:
        correction = f"{p_in_words(p)}, corrected {corrected_p:.2g}" if f"{p:.2g}" != f"{corrected_p:.2g}" else ""
        reason = "; ".join(part for part in (reason, correction) if part)
    return Judgement(claim, verdict, reason, tuple(comparisons), summary.in_words(claim.metric), p, corrected_p)


def _reason(verdict: Verdict, claim: Claim, comparisons: list[Comparison], summary: Numbers) -> str:
    """What a reader must know besides the numbers; empty if these are enough."""
    sides = [side for comparison in comparisons for side in (comparison.left, comparison.right)]
    if verdict == "not run":
        missing = dict.fromkeys(side.name for side in sides if side.mean is None)
        return claim.why_not_run(", ".join(missing), summary)
    if summary.variant.tiny:
        return "smoke run"
    if verdict == "too few runs" and summary.nobody_reached(claim.metric, claim.named):
        return f"no run reached {summary.experiment.reach:g}%"
    if verdict == "too few runs":
        have = dict.fromkeys(f"{side.name} has {side.n}" for side in sides if 0 < side.n < ENOUGH_RUNS)
        reason = f"{ENOUGH_RUNS} runs per net decide (--seeds {ENOUGH_RUNS}); {', '.join(have)}"
        problems = dict.fromkeys(each.not_by_image for each in comparisons if each.not_by_image)
        return f"{reason}; not compared by image: {'; '.join(problems)}" if problems else reason
    return ""

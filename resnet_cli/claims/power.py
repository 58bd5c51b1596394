"""How many seeds a claim needs: the power of its test, before the runs are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from resnet_cli.claims.comparison import ENOUGH_RUNS, SIGNIFICANCE, sample
from resnet_cli.claims.significance import DECIMALS
from resnet_cli.spec import Net
from resnet_cli.tasks import titles

if TYPE_CHECKING:
    from collections.abc import Callable

    from resnet_cli.claims.numbers import Numbers

POWER = 0.8
MINUS = "−"  # noqa: RUF001  a minus sign
MOST_SEEDS = 1_000
CERTAIN = 1e5  # standard errors; far beyond, the series for the noncentral t does not converge

RULE = (
    "p<: the number of seeds per net for 80% power, if gap and std over runs (points) are the true ones. p < 0.05 is "
    "for a table with one claim; the other level is the strictest of Holm's method. n=: the power of that many seeds "
    "per net at that level. In a sequence each pair must hold: it needs at least as many seeds as its most demanding "
    f"pair. 'paper': from the paper's numbers; its only std is ResNet-110's on {titles(lambda task: task.spreads)}. "
    "'ours': from our runs at this scale."
)

# Points and weights of Gauss-Legendre quadrature over the quantiles of a distribution, from 0 to 1.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(100)
SHARES, WEIGHTS = (_POINTS + 1) / 2, _WEIGHTS / 2


def power_between_nets(gap: float, std: float, seeds: int, alpha: float) -> float:
    """The power of the one-sided Welch test between two nets of `seeds` runs each, with the same spread.

    Exact. At equal n, Welch's t equals that of the pooled test: noncentral, with 2(n-1) degrees of freedom. Its
    critical value differs, since Welch's degrees of freedom depend on how the observed variance is shared between the
    two nets. That share is independent of t and has a beta distribution, over which the power is integrated.

    Args:
        gap: By how much the left net's true mean is lower; points.
        std: The standard deviation of either net's runs; points.
        seeds: Runs per side, two or more.
        alpha: The level of the test.
    """
    df = seeds - 1
    share = stats.beta.ppf(SHARES, df / 2, df / 2)
    critical = special.stdtrit(df / (share**2 + (1 - share) ** 2), 1 - alpha)
    return float(WEIGHTS @ stats.nct.sf(critical, 2 * df, min(gap / std * np.sqrt(seeds / 2), CERTAIN)))


def power_against_number(gap: float, std: float, seeds: int, alpha: float) -> float:
    """The power of the one-sided one-sample t-test; arguments as of `power_between_nets`. Exact."""
    critical = special.stdtrit(seeds - 1, 1 - alpha)
    return float(stats.nct.sf(critical, seeds - 1, min(gap / std * np.sqrt(seeds), CERTAIN)))


def power_within(gap: float, std: float, seeds: int, alpha: float, *, tolerance: float) -> float:
    """The power of the equivalence test for a net whose true mean is `gap` away from the value. Exact.

    Both one-sided tests reject if the mean is closer to the value than the tolerance minus the critical t in standard
    errors. The probability of this is integrated over the standard deviations that the runs may show.
    """
    df, root = seeds - 1, np.sqrt(seeds) / std
    critical = special.stdtrit(df, 1 - alpha)
    greatest = special.chdtr(df, df * (tolerance * root / critical) ** 2)  # probability that the spread leaves any room
    seen = np.sqrt(stats.chi2.ppf(greatest * SHARES, df) / df)
    room = tolerance * root - critical * seen
    return float(greatest * (WEIGHTS @ (special.ndtr(room - gap * root) - special.ndtr(-room - gap * root))))


def fewest_seeds(power: Callable[[int], float]) -> int | None:
    """The least number of seeds, at least two, with 80% power; None if 1,000 are not enough."""
    enough = 2
    while power(enough) < POWER:
        if enough == MOST_SEEDS:
            return None
        enough = min(2 * enough, MOST_SEEDS)
    few = max(1, enough // 2)  # too few, or a number below two
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if power(middle) >= POWER else (middle, enough)
    return enough


@dataclass(frozen=True)
class Need:
    """How many seeds per side one comparison of a claim needs.

    Attributes:
        claim: The claim in words.
        comparison: `resnet-32 < resnet-20`.
        metric: The metric's key.
        metric_in_words: The metric's name for people.
        gap: By how much the claim is expected to hold, in points; for 'within', how far the mean is from the value;
            None if unknown.
        gap_from: Whose numbers the gap is from: `paper` or `ours`.
        std: The expected standard deviation over runs, points; None if unknown.
        std_from: Whose numbers it is from.
        seeds: For 80% power as the table's only claim; None if more than 1,000 or unknown.
        strict_seeds: The same at the strictest level of Holm's correction.
        power: Power by number of seeds, at the strictest level; empty if unknown.
        problem: Why there is no number of seeds; empty if there is one.
    """

    claim: str
    comparison: str
    metric: str
    metric_in_words: str
    gap: float | None
    gap_from: str
    std: float | None
    std_from: str
    seeds: int | None
    strict_seeds: int | None
    power: dict[int, float]
    problem: str

    def as_json(self) -> dict[str, Any]:
        """The need as plain values for JSON."""
        return asdict(self)


def strictest_level(experiment: Any) -> float:
    """The level at which Holm's correction tests the smallest p of the experiment's claims."""
    tested: int = sum(claim.has_p for claim in experiment.claims)
    return SIGNIFICANCE / max(1, tested)


def seeds_shown(experiment: Any) -> list[int]:
    """The numbers of seeds for which the power is shown: 2, 3, 5, and the most that the experiment's file asks for."""
    return sorted({2, 3, ENOUGH_RUNS, max([2, *(group.seeds for group in experiment.runs)])})


def needs(summary: Numbers) -> list[Need]:
    """What each claim about runs needs; a sequence has one need per neighbouring pair, and needs them all."""
    return [need for claim in summary.experiment.claims for need in claim.needs(summary)]


def need_better(summary: Numbers, about: tuple[str, str], left: Net | float, right: Net | float) -> Need:
    """What it takes to show that left is better than right."""
    sign, known = summary.sign(about[1]), _Known.of(summary, about, left, right)
    gap = None if known.difference is None else -sign * known.difference
    both = isinstance(left, Net) and isinstance(right, Net)
    name = f"{known.left} {'<' if sign > 0 else '>'} {known.right}"
    return known.need(name, gap, power_between_nets if both else power_against_number)


def need_no_advantage(summary: Numbers, about: tuple[str, str], left: Net, right: Net, margin: float) -> Need:
    """What it takes to show that left is not better than right by the margin."""
    sign, known = summary.sign(about[1]), _Known.of(summary, about, left, right)
    gap = None if known.difference is None else margin + sign * known.difference
    beyond = f"> {known.right} {MINUS}" if sign > 0 else f"< {known.right} +"
    return known.need(f"{known.left} {beyond} {margin:g}", gap, power_between_nets)


def need_within(summary: Numbers, about: tuple[str, str], net: Net, value: float, tolerance: float) -> Need:
    """What it takes to show that a net is within the tolerance of a value."""
    known = _Known.of(summary, about, net, value)
    gap = None if known.difference is None else abs(known.difference)
    name = f"{known.left} = {known.right} ± {tolerance:g}"
    return known.need(name, gap, partial(power_within, tolerance=tolerance), tolerance)


@dataclass(frozen=True)
class _Known:
    """What to expect of two sides: the difference of their means, their spread, and whose numbers these are from."""

    summary: Numbers
    about: tuple[str, str]
    left: str
    right: str
    difference: float | None
    gap_from: str
    std: float | None
    std_from: str

    @classmethod
    def of(cls, summary: Numbers, about: tuple[str, str], left: Net | float, right: Net | float) -> _Known:
        """The expectation for these sides."""
        one, other = (side.name if isinstance(side, Net) else f"{side:g}" for side in (left, right))
        difference = _difference(summary, about[1], left, right)
        std = _std(summary, about[1], [side for side in (left, right) if isinstance(side, Net)])
        return cls(summary, about, one, other, *difference, *std)

    def need(
        self, comparison: str, gap: float | None, power: Callable[..., float], tolerance: float | None = None
    ) -> Need:
        """The seeds that the test needs; `power` takes gap, std, seeds and alpha."""
        (text, metric), problem = self.about, _problem(gap, self.gap_from, self.std, tolerance)
        words = self.summary.in_words(metric)
        whose = (gap, self.gap_from, self.std, self.std_from)
        known = Need(text, comparison, metric, words, *whose, None, None, {}, problem)
        if gap is None or self.std is None or problem:
            return known
        of = partial(power, gap, self.std)
        strictest = strictest_level(self.summary.experiment)
        return replace(
            known,
            seeds=fewest_seeds(partial(of, alpha=SIGNIFICANCE)),
            strict_seeds=fewest_seeds(partial(of, alpha=strictest)),
            power={seeds: of(seeds, alpha=strictest) for seeds in seeds_shown(self.summary.experiment)},
        )


def _problem(gap: float | None, gap_from: str, std: float | None, tolerance: float | None) -> str:
    if gap is None:
        return "gap unknown"
    if gap <= 0 if tolerance is None else gap >= tolerance:
        return "the paper's own numbers say otherwise" if gap_from == "paper" else "our own numbers say otherwise"
    return "spread unknown" if std is None else ""


def _difference(summary: Numbers, metric: str, left: Net | float, right: Net | float) -> tuple[float | None, str]:
    """The expected difference of means, and whose numbers it is from.

    For runs at the paper's scale the paper's numbers come first, else ours: shorter runs differ by other amounts.
    """
    ours = tuple(sample(summary, side, metric).mean for side in (left, right))
    papers = tuple(_papers_mean(summary, side, metric) for side in (left, right))
    sources = [(papers, "paper"), (ours, "ours")]
    for (one, other), source in sources if summary.is_paper else reversed(sources):
        if one is not None and other is not None:
            return round(one - other, DECIMALS), source
    return None, ""


def _papers_mean(summary: Numbers, side: Net | float, metric: str) -> float | None:
    if not isinstance(side, Net):
        return side
    row = next((row for row in summary.experiment.rows if row.net == side), None)
    known = {each.key: each for each in summary.task.metrics}
    if row is None or metric not in known:
        return None
    value: float | None = row.paper(known[metric])
    return row.mean if metric == summary.task.metric.key and row.mean is not None else value


def _std(summary: Numbers, metric: str, nets: list[Net]) -> tuple[float | None, str]:
    """The expected standard deviation, and whose it is: ours, pooled, else the paper's, if it has one here."""
    samples = [sample(summary, net, metric) for net in nets]
    if all(each.std is not None for each in samples):
        df = sum(each.n - 1 for each in samples)
        variance = sum((each.n - 1) * (each.std or 0.0) ** 2 for each in samples) / df
        if variance:
            return float(np.sqrt(variance)), "ours"
    spread = summary.experiment.task.spreads.get(metric)
    return (None, "") if spread is None else (spread, "paper")

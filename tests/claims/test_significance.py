from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from resnet_cli.claims.significance import Difference, Sample, SignTest, hedges_g, holm, p_in_words

# Percentages of 10,000 images, as test errors are.
errors = st.integers(0, 10_000).map(lambda wrong: wrong / 100)
several = st.lists(errors, min_size=2, max_size=8).filter(lambda values: min(values) < max(values))
some_p = st.lists(st.floats(0, 1), max_size=8)


def number(value: float) -> Sample:
    """A number that a claim compares with."""
    return Sample(f"{value:g}", 0, value, None)


@pytest.mark.parametrize(
    ("values", "sample"),
    [
        ([], (0, None, None)),
        ([8.7], (1, 8.7, None)),
        ([6.43, 6.43, 6.43], (3, 6.43, 0.0)),
        ([7.0, 8.0, 9.0], (3, 8.0, 1.0)),
        ([0.1 + 0.2, 0.3], (2, 0.3, 0.0)),
        ([0.0, 100.0], (2, 50.0, 5000**0.5)),
    ],
)
def test_sample(values: list[float], sample: tuple[int, float | None, float | None]) -> None:
    """A sample is n, mean and the sample's deviation; what is equal but for rounding has none."""
    found = Sample.of("net", values)

    assert sample == (found.n, found.mean, found.std)


@settings(max_examples=200, deadline=None)
@given(left=several, right=several)
def test_welch_is_scipys(left: list[float], right: list[float]) -> None:
    """Between two samples, p and 95% interval are those of scipy's Welch test on the values themselves."""
    found = Difference.between(Sample.of("left", left), Sample.of("right", right))
    welch = stats.ttest_ind(left, right, equal_var=False, alternative="less")
    interval = stats.ttest_ind(left, right, equal_var=False).confidence_interval(0.95)

    assert pytest.approx(welch.pvalue, rel=1e-6, abs=1e-12) == found.p_below()
    assert pytest.approx(welch.df) == found.df
    assert pytest.approx((interval.low, interval.high), abs=1e-6) == found.interval


def test_one_side_without_spread() -> None:
    """If one net's runs are all equal, the error and its degrees of freedom are the other's."""
    found = Difference.between(Sample("left", 3, 8.0, 0.0), Sample("right", 4, 9.0, 1.0))

    assert (-1.0, 0.5, 3.0) == (found.value, found.error, found.df)


@settings(max_examples=200, deadline=None)
@given(values=several, value=errors, tolerance=st.floats(0.01, 10))
def test_one_sample_is_scipys(values: list[float], value: float, tolerance: float) -> None:
    """Against a number, p and interval are those of scipy's one-sample test; the equivalence test is two of them."""
    net = Sample.of("net", values)
    found = Difference.between(net, number(value))
    interval = stats.ttest_1samp(values, value).confidence_interval(0.95)
    below = stats.ttest_1samp(values, value + tolerance, alternative="less").pvalue
    above = stats.ttest_1samp(values, value - tolerance, alternative="greater").pvalue

    assert pytest.approx(stats.ttest_1samp(values, value, alternative="less").pvalue, abs=1e-12) == found.p_below()
    assert pytest.approx(1 - found.p_below()) == Difference.between(number(value), net).p_below()
    assert pytest.approx((interval.low - value, interval.high - value), abs=1e-6) == found.interval
    assert pytest.approx(max(below, above), abs=1e-12) == found.p_within(tolerance)


def test_an_equivalence_test_by_hand() -> None:
    """Mean 8, deviation 1, three runs, against 7.5 +- 1: t = -0.5 * sqrt(3), 2 degrees of freedom, p = 0.239."""
    found = Difference.between(Sample("net", 3, 8.0, 1.0), number(7.5))
    t = 0.5 * 3**0.5  # with two degrees of freedom its distribution has a closed form

    assert pytest.approx(0.5 - t / (2 * (2 + t * t) ** 0.5)) == found.p_within(1.0)


@pytest.mark.parametrize("value", [6.0, 8.0])
def test_beyond_the_tolerance(value: float) -> None:
    """On either side, the one-sided p for being beyond the nearer end is what is left to 1."""
    net = Sample("net", 4, 7.0, 0.2)
    found = Difference.between(net, number(value))
    end = value + math.copysign(0.5, 7.0 - value)
    beyond = stats.t.cdf(-abs(7.0 - end) / 0.1, df=3)

    assert pytest.approx(1 - beyond) == found.p_within(0.5)


@pytest.mark.parametrize(
    ("left", "right", "g"),
    [
        (Sample("a", 3, 8.0, 1.0), Sample("b", 3, 9.0, 1.0), -1 / (2**0.5 * math.gamma(1.5))),
        (Sample("a", 2, 8.0, 1.0), Sample("b", 2, 9.0, 1.0), -1 / math.pi**0.5),
        (Sample("a", 2, 8.0, 0.0), Sample("b", 2, 9.0, 2**0.5), -1 / math.pi**0.5),
        (Sample("a", 3, 8.0, 0.5), number(9.0), -2 / math.pi**0.5),
        (number(9.0), Sample("a", 3, 8.0, 0.5), 2 / math.pi**0.5),
        (Sample("a", 500, 8.0, 1.0), Sample("b", 500, 9.0, 1.0), -(1 - 3 / (4 * 998 - 1))),
        (Sample("a", 2, 8.0, 0.5), number(9.0), None),
        (Sample("a", 3, 8.0, 0.0), Sample("b", 2, 9.0, 0.0), None),
        (Sample("a", 3, 8.0, 0.0), number(9.0), None),
    ],
)
def test_hedges_g(left: Sample, right: Sample, g: float | None) -> None:
    """Cohen's d by the pooled deviation times gamma(f/2) / gamma((f-1)/2) / sqrt(f/2); none where that is zero."""
    assert g == pytest.approx(hedges_g(left, right), abs=1e-6)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.6], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_holm(p: list[float], corrected: list[float]) -> None:
    """The least p is multiplied by their number, the next by one less, and none falls below one before it."""
    assert pytest.approx(corrected) == holm(p)


@given(p=some_p, alpha=st.floats(0.001, 0.5))
def test_holm_rejects_step_by_step(p: list[float], alpha: float) -> None:
    """What the corrected p reject is what the procedure rejects that stops at the first p above alpha / (m - k)."""
    rejected = set()
    for rank, place in enumerate(np.argsort(p, kind="stable")):
        if (len(p) - rank) * p[place] >= alpha:
            break
        rejected.add(int(place))

    assert rejected == {place for place, corrected in enumerate(holm(p)) if corrected < alpha}


@given(p=some_p)
def test_holm_keeps_the_order(p: list[float]) -> None:
    """A corrected p is between the plain one and Bonferroni's, and no two of them change places."""
    found = holm(p)

    assert all(plain <= each <= min(1, len(p) * plain) for plain, each in zip(p, found, strict=True))
    assert sorted(found) == [found[place] for place in np.argsort(p, kind="stable")]


@given(won=st.integers(0, 40), lost=st.integers(0, 40))
def test_sign_test(won: int, lost: int) -> None:
    """Its p is the chance of as many heads or more, of a fair coin thrown for each image that only one gets right."""
    both_wrong, both_right = 3, 5
    left = np.array([False] * won + [True] * lost + [True] * both_wrong + [False] * both_right)
    right = np.array([True] * won + [False] * lost + [True] * both_wrong + [False] * both_right)
    found = SignTest.of("left", "right", left, right)
    heads = sum(math.comb(won + lost, count) for count in range(won, won + lost + 1))

    assert (won + lost + 8, won, lost) == (found.images, found.only_left, found.only_right)
    assert pytest.approx(heads / 2 ** (won + lost)) == found.p


def test_sign_test_in_words() -> None:
    """The text says how many images, who gets which right, and p."""
    found = SignTest("resnet-56 s0", "plain-56 s0", 10_000, 1412, 350, 0.0123)

    assert (
        "on 10,000 images: resnet-56 s0 alone is right on 1,412, plain-56 s0 alone on 350: sign test, p = 0.012"
    ) == str(found)


def test_sign_test_of_classes() -> None:
    """Of a metric that is better if it is higher; a class without a value counts for neither."""
    ours, its = np.array([50.0, 60, 70, math.nan, 40]), np.array([40.0, 60, 65, 10, 45])
    found = SignTest.of_class_values("the ensemble", "the net", ours, its, -1)

    assert (4, 2, 1, 0.5) == (found.images, found.only_left, found.only_right, found.p)
    assert "in 4 classes: the ensemble is better in 2, the net in 1: sign test, p = 0.5" == str(found)
    assert (1, 2) == (found.of_class_values("", "", ours, its, 1).only_left, found.only_left)


@pytest.mark.parametrize(
    ("p", "words"), [(1.0, "p = 1"), (0.0218, "p = 0.022"), (1e-30, "p < 1e-09"), (0, "p < 1e-09")]
)
def test_p_in_words(p: float, words: str) -> None:
    """Two digits; what is next to nothing is said to be so."""
    assert words == p_in_words(p)

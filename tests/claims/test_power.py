"""How many seeds a claim needs, and how often verdicts err: by closed forms, and by drawing runs and judging them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from resnet_cli.claims.judge import judge
from resnet_cli.claims.power import (
    fewest_seeds,
    needs,
    power_against_number,
    power_between_nets,
    power_within,
    seeds_shown,
    strictest_level,
)
from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.summarize import Summary, run_columns, summarize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import AddRun

    from resnet_cli.spec import Net
    from resnet_cli.storage.store import Store

NETS = ["resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110"]
PAPER = dict(zip(NETS, (8.75, 7.51, 7.17, 6.97, 6.61), strict=True))
STD = 0.16
DRAWS = 100_000


def less(left: str | float, right: str | float, **more: Any) -> dict[str, Any]:
    """A claim that the left error is lower."""
    return {"kind": "less", "text": f"{left} < {right}", "left": left, "right": right, **more}


def within(net: str, value: float, tolerance: float) -> dict[str, Any]:
    """A claim that a net's error is near a value."""
    return {"kind": "within", "text": f"{net} = {value}", "net": net, "value": value, "tolerance": tolerance}


CHAIN = {"kind": "monotone", "text": "deeper is lower", "nets": NETS}

# The five claims of Table 6. If all nets err 7% they are as wrong as can be without their opposite being true: nets are
# equal, the mean stands at the tolerance's end, and the error is the number that it is said to be below.
TABLE_6 = [
    CHAIN,
    within("resnet-110", 6.5, 0.5),
    less("resnet-110", 7.0),
    less("resnet-1202", 7.0, metric="train_error"),
    less("resnet-110", "resnet-1202"),
]


def experiment(*claims: dict[str, Any], rows: dict[str, float] | None = None, **more: Any) -> Experiment:
    """An experiment that makes these claims, with these numbers of the paper."""
    nets = [*NETS, "resnet-1202", "plain-20"]
    return Experiment.model_validate(
        {
            "name": "own",
            "title": "T",
            "question": "Q?",
            "section": "0",
            "runs": [{"nets": nets}],
            "rows": [{"label": net, "net": net, "error": error} for net, error in (rows or {}).items()],
            "claims": claims,
            **more,
        }
    )


def nothing_run(own: Experiment) -> Summary:
    """What is known of an experiment before its first run."""
    return Summary(own, Variant(dataset=own.dataset), pd.DataFrame(columns=run_columns(own.task)), ())


@dataclass(frozen=True)
class Drawn(Summary):
    """A summary whose values need no table of runs: thousands of them are judged."""

    drawn: Mapping[str, list[float]] = field(default_factory=dict)

    def values(self, net: Net, metric: str) -> list[float]:  # noqa: ARG002, D102  all metrics are drawn alike
        return self.drawn[net.name]


def share_reproduced(
    own: Experiment, means: Mapping[str, float], stds: Mapping[str, float], runs: int, tables: int, *, place: int = -1
) -> float:
    """How many of so many drawn tables have a claim reproduced: the one at this place, or any."""
    rng = np.random.default_rng(runs)
    drawn = {net: rng.normal(mean, stds[net], (tables, runs)).tolist() for net, mean in means.items()}
    count = 0
    for table in range(tables):
        errors = {net: values[table] for net, values in drawn.items()}
        judgements = judge(Drawn(own, Variant(), pd.DataFrame(), (), drawn=errors))
        count += any(found.verdict == "reproduced" for found in (judgements if place < 0 else [judgements[place]]))
    return count / tables


def noise(share: float, tables: int, sigmas: float = 3) -> float:
    """Three standard deviations of a share that is counted in so many tables."""
    return sigmas * math.sqrt(share * (1 - share) / tables)


def test_drawn_runs_are_judged_as_a_table_of_runs() -> None:
    """The summary that the simulations judge says what one with a table of runs says."""
    rng = np.random.default_rng(0)
    own = experiment(*(claim for claim in TABLE_6 if "metric" not in claim))
    errors = {net.name: rng.normal(7, STD, 3).tolist() for net in own.nets}
    frame = pd.DataFrame([(net, error) for net, own in errors.items() for error in own], columns=["net", "test_error"])

    assert judge(Summary(own, Variant(), frame, ())) == judge(Drawn(own, Variant(), frame, (), drawn=errors))


# Deviations of Table 6's nets: the same, or up to three times as great. Ours differ by so much in short runs.
EQUAL = [STD] * 6
UNEQUAL = [0.16, 0.32, 0.16, 0.48, 0.16, 0.48]


@pytest.mark.parametrize(
    ("tables", "claims"),
    [
        pytest.param(1_000, TABLE_6, id="Table 6"),
        pytest.param(2_000, [less("resnet-20", "resnet-32")], id="one claim"),
        pytest.param(5_000, TABLE_6, id="Table 6, many", marks=pytest.mark.slow),
        pytest.param(20_000, [less("resnet-20", "resnet-32")], id="one claim, many", marks=pytest.mark.slow),
        pytest.param(
            5_000,
            [less("resnet-20", other) for other in ("resnet-32", "resnet-44", "resnet-56", "resnet-1202")],
            id="one net against four, many",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.parametrize("runs", [2, 3, 5])
@pytest.mark.parametrize("stds", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_without_effect_one_table_of_twenty(
    tables: int, claims: list[dict[str, Any]], runs: int, stds: list[float]
) -> None:
    """Where no claim is true, at most 5% of the tables have any claim reproduced, but for the counting error."""
    nets = [*NETS, "resnet-1202"]
    own, spread = experiment(*claims), dict(zip(nets, stds, strict=True))
    share = share_reproduced(own, dict.fromkeys(nets, 7.0), spread, runs, tables)

    assert share <= 0.05 + noise(0.05, tables)


def test_one_run_a_side_reproduces_nothing() -> None:
    """However far single runs lie apart, nothing about them is reproduced; nor is it if one side has more."""
    own = experiment(*TABLE_6)
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(200):
        runs = {net: rng.normal(7, 3, 1 if net == "resnet-110" else rng.integers(1, 6)) for net in PAPER}
        drawn = {net: values.tolist() for net, values in runs.items()} | {"resnet-1202": [float(rng.normal(7, 3))]}
        verdicts |= {found.verdict for found in judge(Drawn(own, Variant(), pd.DataFrame(), (), drawn=drawn))}

    assert {"too few runs", "not reproduced"} >= verdicts


@pytest.mark.parametrize("runs", [2, 3, 5])
@pytest.mark.parametrize(
    ("left", "right"), [("resnet-44", "resnet-32"), ("resnet-56", "resnet-44"), ("resnet-110", "resnet-56")]
)
def test_power_is_the_share_reproduced(left: str, right: str, runs: int) -> None:
    """At the paper's gaps and 0.16, a claim is reproduced as often as its power says, to the counting error.

    As the only claim of its table it is tested at 5%; beside three that are false for certain, at a quarter of that.
    """
    tables, means = 500, {**PAPER, "plain-20": 50.0}
    never = [less("plain-20", net) for net in NETS[:3]]
    for others in ([], never):
        own = experiment(less(left, right), *others, rows=PAPER)
        share = share_reproduced(own, means, dict.fromkeys(means, STD), runs, tables, place=0)
        power = needs(nothing_run(own))[0].power[runs]

        assert pytest.approx(power, abs=noise(power, tables) + 1 / tables) == share


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_power_against_numbers_is_the_share_reproduced(runs: int) -> None:
    """The same for the claims of Table 6 that compare ResNet-110 with the paper's mean, and with a number above it."""
    tables = 500
    for claim in (within("resnet-110", 6.61, 0.3), less("resnet-110", 6.81)):
        own = experiment(claim, rows=PAPER)
        share = share_reproduced(own, PAPER, dict.fromkeys(PAPER, STD), runs, tables)
        power = needs(nothing_run(own))[0].power[runs]

        assert 0.1 < power < 0.99
        assert pytest.approx(power, abs=noise(power, tables)) == share


def test_a_sequence_has_less_power_than_its_weakest_pair() -> None:
    """Table 6's sequence at the paper's gaps: reproduced at most as often as the pair with the smallest gap."""
    own, tables = experiment(CHAIN, rows=PAPER), 500
    weakest = min(need.power[5] for need in needs(nothing_run(own)))
    share = share_reproduced(own, PAPER, dict.fromkeys(PAPER, STD), 5, tables)

    assert 0.3 < share <= weakest + noise(weakest, tables)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("runs", [2, 3, 5, 12])
@pytest.mark.parametrize("effect", [0.0, 1.0, 2.25, 7.75])
def test_power_of_drawn_tests(effect: float, runs: int, alpha: float) -> None:
    """Welch's and the one-sample test on 100,000 drawn samples reject as often as the formulas say."""
    rng = np.random.default_rng(runs)
    left, right = rng.normal(-effect, 1, (DRAWS, runs)), rng.normal(0, 1, (DRAWS, runs))
    variances = np.stack([left.var(axis=1, ddof=1), right.var(axis=1, ddof=1)])
    t = (left.mean(axis=1) - right.mean(axis=1)) / np.sqrt(variances.sum(axis=0) / runs)
    df = (runs - 1) * variances.sum(axis=0) ** 2 / (variances**2).sum(axis=0)
    between = power_between_nets(effect, 1, runs, alpha)
    against = power_against_number(effect, 1, runs, alpha)
    alone = left.mean(axis=1) / np.sqrt(variances[0] / runs)

    assert pytest.approx(between, abs=noise(between, DRAWS, 4) + 1e-4) == (special.stdtr(df, t) < alpha).mean()
    assert (
        pytest.approx(against, abs=noise(against, DRAWS, 4) + 1e-4) == (special.stdtr(runs - 1, alone) < alpha).mean()
    )


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("runs", [2, 3, 5, 12])
@pytest.mark.parametrize(("gap", "tolerance"), [(0.0, 3.0), (2.5, 3.0), (0.0, 0.9), (0.1, 0.2), (3.0, 3.0)])
def test_power_of_drawn_equivalence_tests(gap: float, tolerance: float, runs: int, alpha: float) -> None:
    """The equivalence test on 100,000 drawn samples rejects as often as its formula says."""
    values = np.random.default_rng(runs).normal(gap, 1, (DRAWS, runs))
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(runs)
    critical = special.stdtrit(runs - 1, 1 - alpha)
    rejected = (mean + critical * error < tolerance) & (mean - critical * error > -tolerance)
    power = power_within(gap, 1, runs, alpha, tolerance=tolerance)

    assert pytest.approx(power, abs=noise(power, DRAWS, 4) + 1e-4) == rejected.mean()


def test_power_without_effect_is_the_level() -> None:
    """The exact test against a number rejects a true null at its level; Welch's, of two runs, at less."""
    assert pytest.approx(0.05) == power_against_number(0.0, 1, 7, 0.05)
    assert pytest.approx(0.0286, abs=5e-4) == power_between_nets(0.0, 1, 2, 0.05)


@pytest.mark.parametrize(
    "power",
    [
        partial(power_between_nets, 1.24, STD, alpha=0.01),
        partial(power_between_nets, 0.2, STD, alpha=0.01),
        partial(power_between_nets, 0.05, STD, alpha=0.05),
        partial(power_against_number, 0.1, STD, alpha=0.01),
        partial(power_within, 0.0, STD, alpha=0.01, tolerance=0.1),
        partial(power_between_nets, 90.0, 1e-9, alpha=0.01),
    ],
)
def test_fewest_seeds(power: Any) -> None:
    """So many seeds have 80% power, and one less has not, or is no test."""
    found = fewest_seeds(power)

    assert found is not None
    assert power(found) >= 0.8
    assert found == 2 or power(found - 1) < 0.8


@pytest.mark.parametrize(
    ("power", "seeds"),
    [
        # The normal approximation: 2 * ((1.645 + 0.8416) * 0.16 / gap)^2.
        (partial(power_between_nets, 2 * 0.16 * math.sqrt(2 * (1.645 + 0.8416) ** 2) / 60, STD, alpha=0.05), 901),
        (partial(power_between_nets, 0.001, STD, alpha=0.05), None),
        (partial(power_within, 0.4999, STD, alpha=0.05, tolerance=0.5), None),
    ],
)
def test_many_seeds(power: Any, seeds: int | None) -> None:
    """A tiny gap takes hundreds of seeds, as many as the normal approximation says, or more than anybody has."""
    assert (seeds is None) == (fewest_seeds(power) is None)
    assert seeds is None or pytest.approx(seeds, abs=2) == fewest_seeds(power)


def test_table_6_needs() -> None:
    """At paper scale each pair of Table 6 has the paper's gap and its only deviation, at a fifth of the level."""
    table6 = load_experiment("table6")
    found = {need.comparison: need for need in needs(nothing_run(table6))}
    gaps = {name: need.gap for name, need in found.items()}

    assert 0.01 == strictest_level(table6)
    assert [2, 3, 5] == seeds_shown(table6)
    assert gaps == pytest.approx(
        {
            "resnet-32 < resnet-20": 1.24,
            "resnet-44 < resnet-32": 0.34,
            "resnet-56 < resnet-44": 0.20,
            "resnet-110 < resnet-56": 0.36,
            "resnet-110 = 6.61 ± 0.5": 0.0,
            "resnet-110 < 7.54": 0.93,
            "resnet-1202 < 0.1": None,
            "resnet-110 < resnet-1202": 1.32,
        }
    )
    assert {(0.16, "paper")} == {(need.std, need.std_from) for need in found.values() if need.metric == "test_error"}
    assert ("gap unknown", None, {}) == (
        found["resnet-1202 < 0.1"].problem,
        found["resnet-1202 < 0.1"].strict_seeds,
        found["resnet-1202 < 0.1"].power,
    )
    assert (9, 15) == (found["resnet-56 < resnet-44"].seeds, found["resnet-56 < resnet-44"].strict_seeds)


def test_the_file_s_own_seeds_are_shown() -> None:
    """The power is told for as many seeds as the experiment asks for, too."""
    own = experiment(CHAIN, rows=PAPER, runs=[{"nets": NETS, "seeds": 7}])

    assert [2, 3, 5, 7] == seeds_shown(own) == list(needs(nothing_run(own))[0].power)


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        (less("resnet-20", "resnet-110"), "the paper's own numbers say otherwise"),
        (less("resnet-20", "plain-20"), "gap unknown"),
        (less("resnet-20", "resnet-32", metric="train_error"), "gap unknown"),
        (less("resnet-44", "resnet-44"), "the paper's own numbers say otherwise"),
        (less(9.0, "resnet-110"), "the paper's own numbers say otherwise"),
        (within("resnet-110", 7.11, 0.5), "the paper's own numbers say otherwise"),
        (within("resnet-110", 7.2, 0.5), "the paper's own numbers say otherwise"),
        (less("resnet-110", 6.6101), ""),
    ],
)
def test_no_number_of_seeds(claim: dict[str, Any], problem: str) -> None:
    """A gap that is unknown, none, or the other way has no number of seeds but a reason; a tiny one has too many."""
    need = needs(nothing_run(experiment(claim, rows=PAPER)))[0]

    assert (problem, None, None) == (need.problem, need.seeds, need.strict_seeds)
    json.dumps(need.as_json(), allow_nan=False)


def test_imagenet_has_no_spread() -> None:
    """The paper gives gaps on ImageNet, but no deviation: nobody can say how many seeds they need."""
    found = {need.comparison: need for need in needs(nothing_run(load_experiment("table2")))}

    assert pytest.approx(0.6) == found["plain-18 < plain-34"].gap
    assert (None, "spread unknown") == (found["plain-18 < plain-34"].std, found["plain-18 < plain-34"].problem)


def test_an_ensemble_needs_no_seeds() -> None:
    """Table 5's claim is about one ensemble."""
    assert [] == needs(nothing_run(load_experiment("table5")))


def test_our_own_numbers(store: Store, add_run: AddRun) -> None:
    """At another scale gap and pooled deviation are ours; a side with one run has a gap, and the paper's deviation."""
    for net, values in (("resnet-20", [8.0, 9.0, 10.0]), ("resnet-32", [6.0, 8.0]), ("resnet-44", [7.5])):
        for seed, value in enumerate(values):
            add_run(net, [value], value, seed=seed)
    claims = [
        less("resnet-32", "resnet-20"),
        less("resnet-44", "resnet-32"),
        less("resnet-20", "resnet-44", metric="train_error"),
        less("resnet-20", 9.5),
        within("resnet-32", 7.5, 2.0),
        less("resnet-56", "resnet-44"),
    ]
    found = needs(summarize(store, experiment(*claims, rows=PAPER), Variant(schedule=0.01)))

    assert [(2.0, "ours"), (-0.5, "ours"), (-1.5, "ours"), (0.5, "ours"), (0.5, "ours"), (0.2, "paper")] == [
        (round(need.gap or 0, 9), need.gap_from) for need in found
    ]
    assert pytest.approx([(4 / 3) ** 0.5, 0.16, None, 1.0, 2**0.5, 0.16]) == [need.std for need in found]
    assert ["ours", "paper", "", "ours", "ours", "paper"] == [need.std_from for need in found]
    assert ["", *["our own numbers say otherwise"] * 2, "", "", ""] == [need.problem for need in found]


def test_at_paper_scale_the_paper_is_asked_first(store: Store, add_run: AddRun) -> None:
    """At the paper's scale its own gap is the expected one, ours where it gives none; the deviation is ours."""
    for net, values in (("resnet-20", [9.0, 9.4]), ("resnet-32", [8.0, 8.4]), ("plain-20", [10.0, 10.4])):
        for seed, value in enumerate(values):
            add_run(net, [value], seed=seed, variant=Variant())
    own = experiment(less("resnet-32", "resnet-20"), less("resnet-20", "plain-20"), rows=PAPER)
    found = needs(summarize(store, own, Variant()))

    assert pytest.approx([1.24, 1.0]) == [need.gap for need in found]
    assert [("paper", "ours"), ("ours", "ours")] == [(need.gap_from, need.std_from) for need in found]
    assert pytest.approx([0.08**0.5] * 2) == [need.std for need in found]

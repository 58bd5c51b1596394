from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_cli.claims.judge import judge
from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.summarize import Summary, summarize

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.claims.judge import Judgement
    from resnet_cli.storage.store import Store

LESS = {"kind": "less", "text": "20 is lower", "left": "resnet-20", "right": "plain-20"}
BELOW = {"kind": "less", "text": "20 is below 9", "left": "resnet-20", "right": 9.0}
ABOVE = {"kind": "less", "text": "20 is above 8", "left": 8.0, "right": "resnet-20"}
WITHIN = {"kind": "within", "text": "20 is 8.75", "net": "resnet-20", "value": 8.75, "tolerance": 0.5}
NO_BETTER = {
    "kind": "no-advantage", "text": "20 is no better", "left": "resnet-20", "right": "plain-20", "margin": 0.5
}  # fmt: skip
MONOTONE = {"kind": "monotone", "text": "deeper is lower", "nets": ["resnet-20", "resnet-32", "resnet-44"]}

FAR = [9.0, 9.1, 9.2]
SCATTERED = [8.0, 9.0, 10.0, 8.5, 9.5]
SCATTERED_TOO = [8.1, 9.1, 10.1, 8.6, 9.6]


def experiment(*claims: dict[str, Any]) -> Experiment:
    """An experiment that makes these claims."""
    nets = ["resnet-20", "resnet-32", "resnet-44", "plain-20"]
    return Experiment.model_validate(
        {"name": "own", "title": "T", "question": "Q?", "section": "0", "runs": [{"nets": nets}], "claims": claims}
    )


def judgement(
    store: Store,
    add_run: AddRun,
    claim: dict[str, Any],
    errors: dict[str, list[float]],
    variant: Variant | None = None,
) -> Judgement:
    """The judgement on a claim when these errors were measured, a run each, in test and in training."""
    variant = variant or Variant(schedule=0.01)
    for net, values in errors.items():
        for seed, value in enumerate(values):
            add_run(net, [value], value, seed=seed, variant=variant)
    return judge(summarize(store, experiment(claim), variant))[0]


@pytest.mark.parametrize(
    ("claim", "errors", "verdict"),
    [
        (LESS, {"resnet-20": [8.7, 8.8], "plain-20": []}, "not run"),
        (LESS, {"resnet-20": [8.1, 8.2, 8.3], "plain-20": FAR}, "reproduced"),
        (LESS, {"resnet-20": FAR, "plain-20": [8.1, 8.2, 8.3]}, "not reproduced"),
        (LESS, {"resnet-20": SCATTERED[:3], "plain-20": SCATTERED_TOO}, "too few runs"),
        (LESS, {"resnet-20": SCATTERED, "plain-20": SCATTERED_TOO}, "not reproduced"),
        (LESS, {"resnet-20": [1.0], "plain-20": FAR}, "too few runs"),
        (LESS, {"resnet-20": [8.7, 8.7], "plain-20": [9.1, 9.1]}, "reproduced"),
        (LESS, {"resnet-20": [9.1, 9.1], "plain-20": [8.7, 8.7]}, "not reproduced"),
        (LESS, {"resnet-20": [8.7, 8.7], "plain-20": [8.7, 8.7]}, "not reproduced"),
        (LESS, {"resnet-20": [6.43, 6.43, 6.43], "plain-20": FAR}, "reproduced"),
        (BELOW, {"resnet-20": []}, "not run"),
        (BELOW, {"resnet-20": [8.7]}, "too few runs"),
        (BELOW, {"resnet-20": [8.6, 8.7, 8.8]}, "reproduced"),
        (BELOW, {"resnet-20": [9.2, 9.3, 9.4]}, "not reproduced"),
        (BELOW, {"resnet-20": [8.0, 9.8]}, "too few runs"),
        (BELOW, {"resnet-20": SCATTERED}, "not reproduced"),
        (BELOW, {"resnet-20": [8.7, 8.7]}, "reproduced"),
        (BELOW, {"resnet-20": [9.0, 9.0]}, "not reproduced"),
        (ABOVE, {"resnet-20": [8.6, 8.7, 8.8]}, "reproduced"),
        (ABOVE, {"resnet-20": [7.1, 7.2, 7.3]}, "not reproduced"),
        (WITHIN, {"resnet-20": []}, "not run"),
        (WITHIN, {"resnet-20": [8.75]}, "too few runs"),
        (WITHIN, {"resnet-20": [8.7, 8.8]}, "reproduced"),
        (WITHIN, {"resnet-20": [8.2, 8.4]}, "too few runs"),
        (WITHIN, {"resnet-20": [8.5, 8.8, 8.6, 8.9, 8.7]}, "reproduced"),
        (WITHIN, {"resnet-20": SCATTERED[:4]}, "too few runs"),
        (WITHIN, {"resnet-20": SCATTERED}, "not reproduced"),
        (WITHIN, {"resnet-20": [9.5, 9.55]}, "not reproduced"),
        (WITHIN, {"resnet-20": [7.95, 8.0]}, "not reproduced"),
        (WITHIN, {"resnet-20": [9.2, 9.32]}, "too few runs"),
        (WITHIN, {"resnet-20": [9.25, 9.25]}, "reproduced"),
        (WITHIN, {"resnet-20": [9.26, 9.26]}, "not reproduced"),
        (NO_BETTER, {"resnet-20": FAR, "plain-20": []}, "not run"),
        (NO_BETTER, {"resnet-20": FAR, "plain-20": [9.1]}, "too few runs"),
        (NO_BETTER, {"resnet-20": FAR, "plain-20": [9.05, 9.15, 9.1]}, "reproduced"),
        (NO_BETTER, {"resnet-20": FAR, "plain-20": [8.1, 8.2, 8.3]}, "reproduced"),
        (NO_BETTER, {"resnet-20": [8.6, 8.7, 8.8], "plain-20": [9.1, 9.2, 9.3]}, "too few runs"),
        (NO_BETTER, {"resnet-20": [8.1, 8.2, 8.3], "plain-20": FAR}, "not reproduced"),
        (NO_BETTER, {"resnet-20": SCATTERED, "plain-20": SCATTERED_TOO}, "not reproduced"),
        (NO_BETTER, {"resnet-20": [8.6, 8.6], "plain-20": [9.1, 9.1]}, "not reproduced"),
        (NO_BETTER, {"resnet-20": [8.7, 8.7], "plain-20": [9.1, 9.1]}, "reproduced"),
        (MONOTONE, {"resnet-20": FAR, "resnet-32": [8.1, 8.2, 8.3], "resnet-44": [7.1, 7.2, 7.3]}, "reproduced"),
        (MONOTONE, {"resnet-20": FAR, "resnet-32": [8.1, 8.2, 8.3], "resnet-44": [8.0, 8.2, 8.4]}, "too few runs"),
        (MONOTONE, {"resnet-20": [1.0], "resnet-32": [8.1, 8.2, 8.3], "resnet-44": FAR}, "not reproduced"),
        (MONOTONE, {"resnet-20": FAR, "resnet-32": [9.9, 9.95, 10.0], "resnet-44": []}, "not run"),
    ],
)
def test_verdict(
    store: Store, add_run: AddRun, claim: dict[str, Any], errors: dict[str, list[float]], verdict: str
) -> None:
    """Each kind of claim gets the verdict that the rule says, at its edges too."""
    assert verdict == judgement(store, add_run, claim, errors).verdict


def test_welch_by_hand(store: Store, add_run: AddRun) -> None:
    """Means 8 and 9, variances 1, three runs each: t = -sqrt(3/2) with 4 degrees of freedom, p = 0.1440."""
    comparison = judgement(
        store, add_run, LESS, {"resnet-20": [7.0, 8.0, 9.0], "plain-20": [8.0, 9.0, 10.0]}
    ).comparisons[0]

    assert (8.0, 1.0, 3) == (comparison.left.mean, comparison.left.std, comparison.left.n)
    assert pytest.approx(0.14393, abs=1e-5) == comparison.p
    assert (
        "resnet-20 8.00 ± 1.00 (n=3) against plain-20 9.00 ± 1.00 (n=3): difference -1.00 (95% CI -3.27 to 1.27), "
        "g = -0.80; Welch's t-test, p = 0.14"
    ) == str(comparison)


def test_one_sample_by_hand(store: Store, add_run: AddRun) -> None:
    """Mean 8, deviation 1, three runs, against 9: t = -sqrt(3) with 2 degrees of freedom, p = 0.1127."""
    comparison = judgement(store, add_run, BELOW, {"resnet-20": [7.0, 8.0, 9.0]}).comparisons[0]

    assert pytest.approx(0.11270, abs=1e-5) == comparison.p
    assert (
        "resnet-20 8.00 ± 1.00 (n=3) against 9: difference -1.00 (95% CI -3.48 to 1.48), g = -0.56; one-sample t-test, "
        "p = 0.11"
    ) == str(comparison)


def test_training_error_is_judged_where_claimed(store: Store, add_run: AddRun) -> None:
    """A claim about the training error looks at no test error."""
    for net, test, train in (("resnet-20", 9.0, 1.0), ("plain-20", 8.0, 2.0)):
        for seed in range(2):
            add_run(net, [test], train, seed=seed)
    summary = summarize(store, experiment(LESS, {**LESS, "metric": "train_error"}), Variant(schedule=0.01))

    assert ["not reproduced", "reproduced"] == [judgement.verdict for judgement in judge(summary)]


def test_the_metric_is_named(store: Store, short: Variant, photos: Variant) -> None:
    """Each metric has its words; what CIFAR-10 calls the test error is the validation error on ImageNet."""
    summaries = [
        summarize(store, load_experiment(name), variant)
        for name, variant in (("fig6", short), ("table3", photos), ("fig4", photos))
    ]

    assert [
        {"test error", "training error"},
        {"validation error", "top-5 validation error"},
        {"validation error", "training error", "validation error, mean over the first quarter"},
    ] == [{judgement.metric_in_words for judgement in judge(summary)} for summary in summaries]


def test_no_early_evaluation(store: Store, add_run: AddRun, photos: Variant) -> None:
    """Runs that were evaluated only later say nothing about convergence, and the reason says so."""
    fig4 = load_experiment("fig4")
    for net in ("resnet-18", "plain-18"):
        add_run(net, [40.0, 30.0], variant=photos, experiment=fig4)
    found = judge(summarize(store, fig4, photos))[-1]

    assert "not run" == found.verdict
    assert "no finished run of resnet-18, plain-18 with an evaluation in the first quarter" == found.reason


def test_faster_convergence(store: Store, add_run: AddRun, photos: Variant) -> None:
    """Who converges faster is judged by the evaluations of the first quarter, whoever is better in the end."""
    fig4 = load_experiment("fig4")
    for seed in range(2):
        add_run("resnet-18", [60.0, 50.0, 40.0, 30.0], seed=seed, variant=photos, experiment=fig4)
        add_run("plain-18", [70.0, 50.0, 40.0, 20.0], seed=seed, variant=photos, experiment=fig4)
    found = judge(summarize(store, fig4, photos))[-1]

    assert "reproduced" == found.verdict
    assert (60.0, 70.0) == (found.comparisons[0].left.mean, found.comparisons[0].right.mean)


@pytest.mark.parametrize(
    ("claim", "errors"),
    [
        (LESS, {"resnet-20": [8.1, 8.2, 8.3], "plain-20": FAR}),
        (LESS, {"resnet-20": FAR, "plain-20": [8.1, 8.2, 8.3]}),
        (WITHIN, {"resnet-20": [8.75, 8.75]}),
    ],
)
def test_a_smoke_run_decides_nothing(
    store: Store, add_run: AddRun, claim: dict[str, Any], errors: dict[str, list[float]]
) -> None:
    """However clear its numbers, a smoke run neither reproduces nor refutes."""
    result = judgement(store, add_run, claim, errors, Variant(tiny=True, dataset="synthetic"))

    assert ("too few runs", "smoke run") == (result.verdict, result.reason)
    assert {"too few runs"} == {comparison.verdict for comparison in result.comparisons}


def test_reasons_say_what_to_do(store: Store, add_run: AddRun) -> None:
    """A verdict that waits for runs names the nets and the number to ask for."""
    few = judgement(store, add_run, MONOTONE, {"resnet-20": FAR, "resnet-32": [8.0], "resnet-44": [7.0, 7.1]})
    none = judge(summarize(store, experiment(LESS), Variant()))[0]

    assert (
        "5 runs per net decide (--seeds 5); resnet-32 has 1, resnet-20 has 3, resnet-44 has 2; not compared by image: "
        "resnet-32 s0, resnet-20 s0 saved no labelled answers; resnet-44 s0, resnet-32 s0 saved no labelled answers"
    ) == few.reason
    assert "no finished run of resnet-20, plain-20" == none.reason


def test_judgements_are_json(store: Store, add_run: AddRun) -> None:
    """A judgement's plain form holds the figures behind it; what is not known is null."""
    content = json.loads(json.dumps(judgement(store, add_run, BELOW, {"resnet-20": [8.5]}).as_json(), allow_nan=False))

    assert {
        "claim": "20 is below 9",
        "metric": "test_error",
        "verdict": "too few runs",
        "reason": "5 runs per net decide (--seeds 5); resnet-20 has 1",
        "p": None,
        "corrected_p": None,
        "comparisons": [
            {
                "left": {"name": "resnet-20", "n": 1, "mean": 8.5, "std": None},
                "right": {"name": "9", "n": 0, "mean": 9.0, "std": None},
                "test": None,
                "p": None,
                "verdict": "too few runs",
                "difference": -0.5,
                "interval": None,
                "g": None,
                "by_image": None,
                "not_by_image": "",
            }
        ],
    } == content


def test_within_in_words(store: Store, add_run: AddRun) -> None:
    """The equivalence test names the tolerance; its p is that of the nearer end: 0.5 - 0.05 is 9 errors of 0.05."""
    comparison = judgement(store, add_run, WITHIN, {"resnet-20": [8.75, 8.85]}).comparisons[0]

    assert pytest.approx(math.atan(1 / 9) / math.pi) == comparison.p  # one degree of freedom: Cauchy
    assert str(comparison).endswith("; equivalence test (within 0.5), p = 0.035")


def test_no_spread_in_words(store: Store, add_run: AddRun) -> None:
    """Where nothing varies there is a difference, but no interval, no g and no p."""
    result = judgement(store, add_run, LESS, {"resnet-20": [8.7, 8.7], "plain-20": [9.1, 9.1]})

    assert (
        "resnet-20 8.70 ± 0.00 (n=2) against plain-20 9.10 ± 0.00 (n=2): difference -0.40; no spread, values compared"
    ) == str(result.comparisons[0])
    assert (None, None, "") == (result.p, result.corrected_p, result.reason)


def test_claims_are_corrected_together(store: Store, add_run: AddRun) -> None:
    """What is reproduced as the only claim waits for runs among four; a smaller p among them still is."""
    errors = {"resnet-20": [8.5, 8.9], "plain-20": [9.9, 10.1], "resnet-32": [7.0, 7.02]}
    for net, values in errors.items():
        for seed, value in enumerate(values):
            add_run(net, [value], seed=seed)
    sure = {"kind": "less", "text": "32 is lower", "left": "resnet-32", "right": "resnet-20"}
    surest = {**BELOW, "left": "resnet-32", "text": "32 is below 9"}
    never = {**BELOW, "right": 0.1}
    alone = judge(summarize(store, experiment(LESS), Variant(schedule=0.01)))[0]
    together = judge(summarize(store, experiment(LESS, surest, sure, never), Variant(schedule=0.01)))
    p = [each.p or math.nan for each in together]

    assert ("reproduced", "") == (alone.verdict, alone.reason)
    assert alone.p == alone.corrected_p == together[0].p
    assert ["too few runs", "reproduced", "too few runs", "not reproduced"] == [each.verdict for each in together]
    assert pytest.approx([3 * p[0], 4 * p[1], 3 * p[0], p[3]]) == [each.corrected_p for each in together]
    assert (
        "5 runs per net decide (--seeds 5); resnet-20 has 2, plain-20 has 2; p = 0.027, corrected 0.082"
        == together[0].reason
    )


def test_a_degenerate_pair_of_a_sequence(store: Store, add_run: AddRun) -> None:
    """A pair without spread that is as claimed leaves the sequence's p to the others; one that is not refutes it."""
    errors = {"resnet-20": [9.0, 9.0], "resnet-32": [8.0, 8.0], "resnet-44": [7.0, 7.1]}
    right = judgement(store, add_run, MONOTONE, errors)
    wrong = judgement(store, add_run, {**MONOTONE, "nets": ["resnet-32", "resnet-20", "resnet-44"]}, errors)

    assert ("reproduced", right.comparisons[1].p) == (right.verdict, right.p)
    assert ("not reproduced", None) == (wrong.verdict, wrong.p)


def test_a_sequence_has_the_greatest_p(store: Store, add_run: AddRun) -> None:
    """A sequence says that all its pairs hold: its p is the greatest of theirs, and not corrected for their number."""
    errors = {"resnet-20": [9.0, 9.2], "resnet-32": [8.0, 8.4], "resnet-44": [5.0, 5.1]}
    found = judgement(store, add_run, MONOTONE, errors)
    p = [comparison.p or math.nan for comparison in found.comparisons]

    assert p[0] > 2 * p[1]
    assert ("reproduced", p[0], p[0]) == (found.verdict, found.p, found.corrected_p)


nothing_or_some = st.lists(st.sampled_from([0.0, 0.1 + 0.2, 0.3, 8.7, 8.75, 9.0, 100.0]), max_size=6)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(nothing_or_some, min_size=4, max_size=4))
def test_any_runs_can_be_judged(values: list[list[float]]) -> None:
    """However many runs there are, and however equal: a verdict, plain JSON without NaN, and nothing decided by one."""
    own = experiment(LESS, BELOW, ABOVE, WITHIN, MONOTONE)
    runs = [(net.name, error) for net, errors in zip(own.nets, values, strict=True) for error in errors]
    summary = Summary(own, Variant(), pd.DataFrame(runs, columns=["net", "test_error"]), ())
    judgements = judge(summary)

    json.dumps([each.as_json() for each in judgements], allow_nan=False)
    for found in judgements:
        fewest = min(summary.runs["net"].eq(net.name).sum() for net in found.claim.named)

        assert ("not run" == found.verdict) == (fewest == 0)
        assert fewest > 1 or found.verdict != "reproduced"
        assert (found.p is None) == (found.corrected_p is None)
        assert found.p is None or 0 <= found.p <= found.corrected_p <= 1  # type: ignore[operator]
        assert all(str(comparison) for comparison in found.comparisons)

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.report.claims import judge
from resnet_cli.report.summarize import summarize
from resnet_cli.spec import Variant

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.report.claims import Judgement
    from resnet_cli.runs.store import Store

LESS = {"kind": "less", "text": "20 is lower", "left": "resnet-20", "right": "plain-20"}
BELOW = {"kind": "less", "text": "20 is below 9", "left": "resnet-20", "right": 9.0}
ABOVE = {"kind": "less", "text": "20 is above 8", "left": 8.0, "right": "resnet-20"}
WITHIN = {"kind": "within", "text": "20 is 8.75", "net": "resnet-20", "value": 8.75, "tolerance": 0.5}
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
        (WITHIN, {"resnet-20": [8.2, 8.4]}, "reproduced"),
        (WITHIN, {"resnet-20": [9.2, 9.3]}, "reproduced"),
        (WITHIN, {"resnet-20": [9.2, 9.32]}, "not reproduced"),
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
    assert "resnet-20 8.00 ± 1.00 (n=3) against plain-20 9.00 ± 1.00 (n=3): Welch's t-test, p = 0.14" == str(comparison)


def test_one_sample_by_hand(store: Store, add_run: AddRun) -> None:
    """Mean 8, deviation 1, three runs, against 9: t = -sqrt(3) with 2 degrees of freedom, p = 0.1127."""
    comparison = judgement(store, add_run, BELOW, {"resnet-20": [7.0, 8.0, 9.0]}).comparisons[0]

    assert pytest.approx(0.11270, abs=1e-5) == comparison.p
    assert "resnet-20 8.00 ± 1.00 (n=3) against 9: one-sample t-test, p = 0.11" == str(comparison)


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

    assert "5 runs decide (--seeds 5); resnet-32 has 1, resnet-20 has 3, resnet-44 has 2" == few.reason
    assert "no finished run of resnet-20, plain-20" == none.reason


def test_judgements_are_json(store: Store, add_run: AddRun) -> None:
    """A judgement's plain form holds the figures behind it; what is not known is null."""
    content = json.loads(json.dumps(judgement(store, add_run, BELOW, {"resnet-20": [8.7]}).as_json(), allow_nan=False))

    assert {
        "claim": "20 is below 9",
        "metric": "test_error",
        "verdict": "too few runs",
        "reason": "5 runs decide (--seeds 5); resnet-20 has 1",
        "comparisons": [
            {
                "left": {"name": "resnet-20", "n": 1, "mean": 8.7, "std": None},
                "right": {"name": "9", "n": 0, "mean": 9.0, "std": None},
                "test": None,
                "p": None,
                "verdict": "too few runs",
            }
        ],
    } == content

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from resnet_cli.claims.judge import judge
from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.summarize import summarize
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from conftest import AddRun, AddTest

    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store

LESS = {"kind": "less", "text": "20 is lower", "left": "resnet-20", "right": "plain-20"}
MONOTONE = {"kind": "monotone", "text": "deeper is lower", "nets": ["resnet-20", "resnet-32", "resnet-44"]}


def experiment(*claims: dict[str, Any]) -> Experiment:
    """An experiment that makes these claims."""
    nets = ["resnet-20", "resnet-32", "resnet-44", "plain-20"]
    return Experiment.model_validate(
        {"name": "own", "title": "T", "question": "Q?", "section": "0", "runs": [{"nets": nets}], "claims": claims}
    )


class AddPredictions(Protocol):
    """Writes what a run saved of its answers; see `add_predictions`."""

    def __call__(self, run: RunSpec, wrong: range, *, images: int = 100, labelled: bool = True) -> None: ...  # noqa: D102


@pytest.fixture
def add_predictions(store: Store) -> AddPredictions:
    """Writes a run's predictions of images, all of class 0, of which it takes some for class 1."""

    def add(run: RunSpec, wrong: range, *, images: int = 100, labelled: bool = True) -> None:
        logits = np.zeros((images, 10), dtype=np.float16)
        logits[:, 0] = 1.0
        logits[list(wrong), 1] = 2.0
        labels = {"labels": np.zeros(images, dtype=np.int16)} if labelled else {}
        np.savez(store.folder(run) / run_folder.PREDICTIONS, logits=logits, **labels)

    return add


def test_single_runs_are_compared_by_image(store: Store, add_run: AddRun, add_predictions: AddPredictions) -> None:
    """One run a side: a sign test on what they saved, 26 images against 16; it decides nothing and corrects nothing."""
    add_predictions(add_run("resnet-20", [18.0]), range(18))
    add_predictions(add_run("plain-20", [28.0]), range(16, 44))
    found, below = judge(summarize(store, experiment(LESS, {**LESS, "right": 30.0}), Variant(schedule=0.01)))
    comparison = found.comparisons[0]

    assert ("too few runs", None, None) == (found.verdict, found.p, found.corrected_p)
    assert "5 runs per net decide (--seeds 5); resnet-20 has 1, plain-20 has 1" == found.reason
    assert comparison.by_image is not None
    assert (100, 26, 16) == (
        comparison.by_image.images,
        comparison.by_image.only_left,
        comparison.by_image.only_right,
    )
    assert pytest.approx(sum(math.comb(42, k) for k in range(26, 43)) / 2**42) == comparison.by_image.p
    assert (
        "resnet-20 18.00 (n=1) against plain-20 28.00 (n=1): difference -10.00; for these two nets, on 100 images: "
        "resnet-20 s0 alone is right on 26, plain-20 s0 alone on 16: sign test, p = 0.082"
    ) == str(comparison)
    assert below.comparisons[0].by_image is None
    json.dumps(found.as_json(), allow_nan=False)


def test_however_clear_two_nets_decide_nothing(store: Store, add_run: AddRun, add_predictions: AddPredictions) -> None:
    """A sign test that could not be clearer says nothing of other seeds: too few runs."""
    add_predictions(add_run("resnet-20", [0.0]), range(0))
    add_predictions(add_run("plain-20", [100.0]), range(100))
    found = judge(summarize(store, experiment(LESS), Variant(schedule=0.01)))[0]

    assert found.comparisons[0].by_image is not None
    assert found.comparisons[0].by_image.p < 1e-9
    assert "too few runs" == found.verdict


@pytest.mark.parametrize(
    ("left", "right", "names"),
    [
        ([4], [0, 4], ("resnet-20 s4", "plain-20 s4")),
        ([1, 2, 3], [5], ("resnet-20 s1", "plain-20 s5")),
        ([3], [3], ("resnet-20 s3", "plain-20 s3")),
    ],
)
def test_which_runs_are_compared(
    store: Store,
    add_run: AddRun,
    add_predictions: AddPredictions,
    left: list[int],
    right: list[int],
    names: tuple[str, str],
) -> None:
    """The lowest seed that both have; else the lowest of each."""
    for net, seeds in (("resnet-20", left), ("plain-20", right)):
        for seed in seeds:
            add_predictions(add_run(net, [9.0], seed=seed), range(5))
    found = judge(summarize(store, experiment(LESS), Variant(schedule=0.01)))[0].comparisons[0].by_image

    assert found is not None
    assert names == (found.left, found.right)


def test_which_claims_are_compared_by_image(store: Store, add_run: AddRun, add_predictions: AddPredictions) -> None:
    """Each pair of a sequence of which a side has one run; claims about another error, and pairs with more, are not."""
    for net, seeds in (("resnet-20", 1), ("resnet-32", 2), ("resnet-44", 2)):
        for seed in range(seeds):
            add_predictions(add_run(net, [9.0 - seed], seed=seed), range(5))
    own = experiment(MONOTONE, {**MONOTONE, "metric": "train_error"})
    found = judge(summarize(store, own, Variant(schedule=0.01)))

    assert [True, False, False, False] == [
        comparison.by_image is not None for each in found for comparison in each.comparisons
    ]
    assert found[0].comparisons[0].by_image is not None
    assert ("resnet-32 s0", "resnet-20 s0") == (
        found[0].comparisons[0].by_image.left,
        found[0].comparisons[0].by_image.right,
    )


def test_answers_that_were_not_saved(store: Store, add_run: AddRun, add_predictions: AddPredictions) -> None:
    """Without predictions, as in published runs, or without their labels, the reason says so."""
    add_predictions(add_run("resnet-20", [9.0]), range(5), labelled=False)
    add_run("plain-20", [9.0], seed=1)
    found = judge(summarize(store, experiment(LESS), Variant(schedule=0.01)))[0]

    assert found.comparisons[0].by_image is None
    assert (
        "5 runs per net decide (--seeds 5); resnet-20 has 1, plain-20 has 1; not compared by image: resnet-20 s0, "
        "plain-20 s1 saved no labelled answers"
    ) == found.reason


def test_answers_to_other_images(store: Store, add_run: AddRun, add_predictions: AddPredictions) -> None:
    """Two runs that were tested on different images are not compared, and the reason says so."""
    add_predictions(add_run("resnet-20", [9.0]), range(5))
    add_predictions(add_run("plain-20", [9.0]), range(5), images=90)
    found = judge(summarize(store, experiment(LESS), Variant(schedule=0.01)))[0]

    assert found.comparisons[0].by_image is None
    assert found.reason.endswith(
        "; not compared by image: resnet-20 s0 and plain-20 s0 were tested on different images"
    )


def test_damaged_answers(store: Store, add_run: AddRun, add_predictions: AddPredictions) -> None:
    """Predictions that cannot be read are named; they decide nothing, and what does is judged all the same."""
    run = add_run("resnet-20", [9.0])
    add_predictions(add_run("plain-20", [9.0]), range(5))
    (store.folder(run) / run_folder.PREDICTIONS).write_bytes(b"PK")
    found = judge(summarize(store, experiment(LESS), Variant(schedule=0.01)))[0]

    assert "too few runs" == found.verdict
    assert f"; not compared by image: {store.folder(run) / run_folder.PREDICTIONS}: not a file of " in found.reason


def test_a_smoke_run_compares_no_answers(store: Store, add_run: AddRun, add_predictions: AddPredictions) -> None:
    """A smoke run's answers are not looked at."""
    tiny = Variant(tiny=True, dataset="synthetic")
    for net in ("resnet-20", "plain-20"):
        add_predictions(add_run(net, [9.0], variant=tiny), range(5))
    summary = summarize(store, experiment(LESS), tiny)

    assert () == summary.pairs
    assert ("too few runs", "smoke run") == (judge(summary)[0].verdict, judge(summary)[0].reason)


@pytest.mark.parametrize("saved", [True, False])
def test_answers_over_several_views(
    store: Store, add_run: AddRun, add_test: AddTest, photos: Variant, saved: bool
) -> None:
    """Where the error is of several views, so are the answers: the scores of that test, if they were kept."""
    table2 = load_experiment("table2")
    for net, wrong in (("resnet-34", range(5)), ("plain-34", range(9))):
        scores = np.eye(2)[[int(image in wrong) for image in range(20)]] if saved else None
        run = add_run(net, [50.0, 40.0], variant=photos, experiment=table2)
        add_test(run, "10-crop", scores=scores, labels=np.zeros(20, dtype=np.int64))
    found = judge(summarize(store, table2, photos))[3]
    by_image = found.comparisons[0].by_image

    assert ((20, 4, 0) if saved else None) == (by_image and (by_image.images, by_image.only_left, by_image.only_right))
    assert saved != ("resnet-34 s0, plain-34 s0 saved no labelled answers" in found.reason)

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest

from resnet_cli.claims.judge import judge
from resnet_cli.errors import BadInputError
from resnet_cli.experiment import Experiment
from resnet_cli.report.summarize import summarize
from resnet_cli.report.tables import make_table
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from conftest import AddRun, AddTest

    from resnet_cli.claims.judge import Judgement
    from resnet_cli.identity import RunSpec, Variant
    from resnet_cli.report.ensemble import Ensemble
    from resnet_cli.storage.store import Store

IMAGES = 100


def experiment(*nets: str, metric: str = "test_error") -> Experiment:
    """An experiment about these nets together."""
    return Experiment.model_validate(
        {
            "name": "own",
            "title": "T",
            "question": "Q?",
            "section": "0",
            "dataset": "imagenet",
            "test": "dense",
            "runs": [{"nets": nets, "seeds": len(nets)}],
            "rows": [{"label": "together", "ensemble": nets, "error": 10.0, "top5": 3.57}],
            "claims": [{"kind": "ensemble", "text": "better together", "metric": metric, "nets": nets}],
        }
    )


PAIR = experiment("resnet-18", "resnet-34")
TWICE = experiment("resnet-18", "resnet-18")


class AddMember(Protocol):
    """Writes a tested run; see `add_member`."""

    def __call__(  # noqa: D102
        self, net: str, wrong: range, *, seed: int = 0, sure: float = 1.0, images: int = IMAGES
    ) -> RunSpec: ...


@pytest.fixture
def add_member(add_run: AddRun, add_test: AddTest, photos: Variant) -> AddMember:
    """Writes a run that takes these images, all of class 0, for class 1, and is right about the others.

    Where it is right it is three times as sure as where it is wrong, so that one who is right outvotes one who is not.
    """

    def add(net: str, wrong: range, *, seed: int = 0, sure: float = 1.0, images: int = IMAGES) -> RunSpec:
        scores = np.zeros((images, 10))
        scores[:, 0] = 3 * sure
        scores[list(wrong)] = np.eye(10)[1] * sure
        run = add_run(net, [50.0, 40.0], seed=seed, variant=photos, experiment=PAIR)
        add_test(run, "dense", len(wrong), 0.0, scores=scores, labels=np.zeros(images, dtype=np.int64))
        return run

    return add


def together(store: Store, variant: Variant, own: Experiment = PAIR) -> Ensemble:
    """The ensemble of an experiment."""
    return summarize(store, own, variant).ensembles[0]


def judgement(store: Store, variant: Variant, own: Experiment = PAIR) -> Judgement:
    """The judgement on the ensemble's claim."""
    return judge(summarize(store, own, variant))[0]


def test_errors(store: Store, add_member: AddMember, photos: Variant) -> None:
    """Averaged, the nets err where both do; each net's own error is counted on the same images."""
    add_member("resnet-18", range(30))
    add_member("resnet-34", range(20, 40))
    ensemble = together(store, photos)

    assert ("resnet-18 s0", "resnet-34 s0") == ensemble.members
    assert [30, 20, 10] == ensemble.wrong["test_error"].sum(axis=1).tolist()
    assert (10.0, 0.0) == (ensemble.numbers["test_error"], ensemble.numbers["test_error_top5"])
    assert (10.0, ("resnet-34 s0", 20.0)) == ensemble.against_best("test_error", 1)[1:]


def test_a_net_named_twice_has_two_seeds(store: Store, add_member: AddMember, photos: Variant) -> None:
    """Of a net named twice the first two seeds are members; with one it waits."""
    add_member("resnet-18", range(30), seed=3)
    waiting = together(store, photos, TWICE)
    add_member("resnet-18", range(20, 40), seed=7)
    add_member("resnet-18", range(100), seed=8)
    complete = together(store, photos, TWICE)

    assert ("tested runs of resnet-18 (1 of 2)", ()) == (waiting.missing, waiting.members)
    assert ("", ("resnet-18 s3", "resnet-18 s7")) == (complete.missing, complete.members)
    assert 10.0 == complete.numbers["test_error"]


def test_a_run_without_scores_is_missing(store: Store, add_member: AddMember, photos: Variant) -> None:
    """A tested run whose scores were thrown away cannot be a member, and is named."""
    add_member("resnet-18", range(30))
    run = add_member("resnet-34", range(20))
    (store.folder(run) / run_folder.scores_file("dense")).unlink()

    assert "tested runs of resnet-34 (0 of 1)" == together(store, photos).missing


def test_tests_of_different_images_do_not_mix(store: Store, add_member: AddMember, photos: Variant) -> None:
    """Scores on other images cannot be averaged: the file is named."""
    add_member("resnet-18", range(30))
    path = store.folder(add_member("resnet-34", range(20), images=90)) / run_folder.scores_file("dense")
    with pytest.raises(BadInputError) as caught:
        together(store, photos)

    assert str(caught.value).startswith(f"{path}: not of the same images as resnet-18-imagenet-")


def test_its_row(store: Store, add_member: AddMember, photos: Variant) -> None:
    """The ensemble's row has its errors and their distance to the paper's; its members follow with their own."""
    add_member("resnet-18", range(30))
    add_member("resnet-34", range(20, 40))
    table = make_table(summarize(store, PAIR, photos))

    assert ["resnet-18+resnet-34", "resnet-18", "resnet-34"] == table.frame["net"].tolist()
    assert [10.0, 30.0, 20.0] == table.frame["test_error"].tolist()
    assert [1, 1, 1] == table.frame["n"].tolist()
    assert pytest.approx((0.0, -3.57)) == tuple(table.frame.loc[0, ["difference", "difference_top5"]])
    assert "together: the probabilities of resnet-18, resnet-34, averaged." in table.notes


def test_its_row_while_it_waits(store: Store, add_member: AddMember, photos: Variant) -> None:
    """While a member is missing the row has a dash, and the notes say which."""
    add_member("resnet-18", range(30))
    table = make_table(summarize(store, PAIR, photos))

    assert ("–", "0", "–") == tuple(table.parts[0].loc[0, ["ours top-1", "n", "ours − paper"]])  # noqa: RUF001
    assert (
        "together: the probabilities of resnet-18, resnet-34, averaged. Missing: tested runs of resnet-34 (0 of 1)."
    ) in table.notes


@pytest.mark.parametrize(
    ("wrong", "p", "verdict"),
    [(range(15, 35), 1 / 32, "reproduced"), (range(14, 34), 1 / 16, "not reproduced")],
)
def test_sign_test(store: Store, add_member: AddMember, photos: Variant, wrong: range, p: float, verdict: str) -> None:
    """Of the best member's errors the ensemble mends five, or four, and adds none: p is 1/2 to that power."""
    add_member("resnet-18", range(30))
    add_member("resnet-34", wrong)
    found = judgement(store, photos)

    assert verdict == found.verdict
    assert pytest.approx(p) == found.comparisons[0].p


def test_in_words(store: Store, add_member: AddMember, photos: Variant) -> None:
    """The comparison names the best member, the images, and those that decide: 10 to 0 has p = 1/1024."""
    add_member("resnet-18", range(30))
    add_member("resnet-34", range(20, 40))
    found = judgement(store, photos)

    assert "validation error" == found.metric_in_words
    assert (
        "2 nets together 10.00 (n=1) against resnet-34 s0 20.00 (n=1): difference -10.00; on 100 images: the ensemble "
        "alone is right on 10, the net alone on 0: sign test, p = 0.00098"
    ) == str(found.comparisons[0])


def test_nets_that_agree_decide_nothing(store: Store, add_member: AddMember, photos: Variant) -> None:
    """Where the ensemble answers just as its best member, it is not better."""
    add_member("resnet-18", range(30))
    add_member("resnet-34", range(30))

    assert ("not reproduced", 1.0) == (judgement(store, photos).verdict, judgement(store, photos).comparisons[0].p)


def test_a_worse_ensemble(store: Store, add_member: AddMember, photos: Variant) -> None:
    """A sure net that is wrong drags the others down: images lost count against the ensemble."""
    add_member("resnet-18", range(60), sure=9.0)
    add_member("resnet-34", range(20), sure=0.5)
    comparison = judgement(store, photos).comparisons[0]

    assert "not reproduced" == comparison.verdict
    assert "the ensemble alone is right on 0, the net alone on 40" in str(comparison)


def test_top5_is_judged_where_claimed(store: Store, add_member: AddMember, photos: Variant) -> None:
    """A claim about the top-5 error does not look at the top-1 error: here no net errs in top-5."""
    add_member("resnet-18", range(30))
    add_member("resnet-34", range(20, 40))
    found = judgement(store, photos, experiment("resnet-18", "resnet-34", metric="test_error_top5"))

    assert ("not reproduced", "top-5 validation error") == (found.verdict, found.metric_in_words)


def test_missing_members_are_named(store: Store, add_member: AddMember, photos: Variant) -> None:
    """Without all its members the claim is not run, and the reason says what is missing."""
    add_member("resnet-18", range(30))
    found = judgement(store, photos)

    assert ("not run", "missing: tested runs of resnet-34 (0 of 1)") == (found.verdict, found.reason)


def test_a_smoke_run_decides_nothing(store: Store, add_run: AddRun, add_test: AddTest, photos: Variant) -> None:
    """An ensemble of smoke runs is averaged and shown, and neither reproduces nor refutes."""
    tiny = photos.model_copy(update={"dataset": "synthetic-photos", "tiny": True, "schedule": 1.0})
    for net, wrong in (("resnet-18", range(30)), ("resnet-34", range(20, 40))):
        scores = np.eye(10)[np.zeros(IMAGES, dtype=int)] * 3
        scores[list(wrong)] = np.eye(10)[1]
        run = add_run(net, [50.0], variant=tiny, experiment=PAIR)
        add_test(run, "dense", scores=scores, labels=np.zeros(IMAGES, dtype=np.int64))
    found = judgement(store, tiny)

    assert ("too few runs", "smoke run") == (found.verdict, found.reason)
    assert 10.0 == found.comparisons[0].left.mean

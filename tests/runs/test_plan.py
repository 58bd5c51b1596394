from __future__ import annotations

from typing import Any

import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.runs.plan import plan, plan_ensembles

TINY = Variant(dataset="synthetic", tiny=True)


def experiment(*groups: dict[str, Any]) -> Experiment:
    """An experiment with these groups of runs."""
    return Experiment.model_validate({"name": "own", "title": "T", "question": "Q?", "section": "0", "runs": groups})


def names(experiment: Experiment, variant: Variant | None = None, **choice: Any) -> list[str]:
    """The planned runs, as net name and seed."""
    return [f"{run.net.name} s{run.seed}" for run in plan(experiment, variant or Variant(), **choice)]


def test_order() -> None:
    """All nets' first seeds come first, shallow nets before deep ones."""
    own = experiment({"nets": ["resnet-110", "plain-20"], "seeds": 3}, {"nets": ["resnet-56", "resnet-20"]})

    assert names(own) == [
        "plain-20 s0",
        "resnet-20 s0",
        "resnet-56 s0",
        "resnet-110 s0",
        "plain-20 s1",
        "resnet-110 s1",
        "plain-20 s2",
        "resnet-110 s2",
    ]


def test_each_run_once() -> None:
    """A net that is named twice, under whatever name, is trained once, as often as the larger group says."""
    own = experiment({"nets": ["resnet-20", "resnet-20-A"], "seeds": 3}, {"nets": ["resnet-20"]})

    assert ["resnet-20 s0", "resnet-20 s1", "resnet-20 s2"] == names(own)


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("resnet-20", ["resnet-20"]),
        ("resnet-20-A", ["resnet-20"]),
        ("resnet-20-B", ["resnet-20-B"]),
        ("*-20", ["plain-20", "resnet-20"]),
        ("resnet-20*", ["resnet-20", "resnet-20-B"]),
        ("*-A", ["resnet-20", "resnet-56"]),
        ("plain-*", ["plain-20"]),
        ("resnet-[!2]*", ["resnet-56"]),
        ("*", ["plain-20", "resnet-20", "resnet-20-B", "resnet-56"]),
    ],
)
def test_only(glob: str, expected: list[str]) -> None:
    """--only chooses nets by a glob over their names, with or without the option."""
    own = experiment({"nets": ["plain-20", "resnet-20", "resnet-20-B", "resnet-56"]})

    assert [f"{name} s0" for name in expected] == names(own, only=glob)


def test_a_source_comes_first() -> None:
    """A net that is made from a trained one brings it along, seed by seed, and comes after it."""
    own = experiment({"nets": ["plain-20-from-8", "plain-8-x3"], "seeds": 2})

    assert names(own, only="*from*") == ["plain-8 s0", "plain-20-from-8 s0", "plain-8 s1", "plain-20-from-8 s1"]


@pytest.mark.parametrize("glob", ["resnet-21", "RESNET-20", "20", ""])
def test_only_without_a_match(glob: str) -> None:
    """A glob that matches nothing is refused with the names there are."""
    with pytest.raises(BadInputError) as caught:
        plan(load_experiment("fig1"), Variant(), only=glob)

    assert f"--only '{glob}': matches no net of fig1; it has plain-20, plain-56" == str(caught.value)


def test_seeds() -> None:
    """--seeds takes the place of the file's numbers, fewer or more."""
    own = experiment({"nets": ["resnet-20"], "seeds": 3}, {"nets": ["resnet-56"]})

    assert ["resnet-20 s0", "resnet-56 s0"] == names(own, seeds=1)
    assert ["resnet-20 s0", "resnet-56 s0", "resnet-20 s1", "resnet-56 s1"] == names(own, seeds=2)


def test_tiny_makes_one_seed() -> None:
    """A smoke run trains each net once, unless told otherwise."""
    own = experiment({"nets": ["resnet-20"], "seeds": 3})

    assert ["resnet-20 s0"] == names(own, TINY)
    assert ["resnet-20 s0", "resnet-20 s1"] == names(own, TINY, seeds=2)


def test_variant_scales_each_run() -> None:
    """Every run is of the variant, and its protocol is the experiment's, scaled."""
    own = experiment({"nets": ["resnet-20", "resnet-110"]})
    short = plan(own, Variant(schedule=0.01))

    assert {Variant(schedule=0.01)} == {run.variant for run in short}
    assert [(640, (320, 480))] * 2 == [(run.protocol.iterations, run.protocol.milestones) for run in short]
    assert [(8, 16), (8, 16)] == [(run.protocol.iterations, run.protocol.batch_size) for run in plan(own, TINY)]
    assert [True, False] == [run.protocol.warmup is None for run in short]


@pytest.mark.parametrize(
    ("only", "expected"),
    [("resnet-152", ["resnet-152-B"]), ("resnet-152-B", ["resnet-152-B"]), ("resnet-34", ["resnet-34"])],
)
def test_only_by_the_papers_names(only: str, expected: list[str]) -> None:
    """On ImageNet resnet-152 is the paper's, with option B; resnet-34 is option A's, as Table 2 has it."""
    runs = plan(load_experiment("table3"), Variant(dataset="imagenet"), only=only)

    assert expected == [run.net.name for run in runs]


def test_detectors_that_are_tested_together() -> None:
    """The first seeds of each net, of smoke runs two; none where a member is not planned, or scores are saved."""
    table9, coco = load_experiment("table9"), Variant(dataset="coco2014")
    smoke = Variant(dataset="drawn-scenes-coco", tiny=True)
    for variant, seeds in ((coco, [0, 1, 2]), (smoke, [0, 1])):
        (ensemble,) = plan_ensembles(table9, plan(table9, variant))
        assert ["faster-rcnn-context-resnet-101"] * len(seeds) == [run.net.name for run in ensemble.members]
        assert seeds == [run.seed for run in ensemble.members]
        assert ("multi-scale", "multi-scale_ap50") == (ensemble.step, ensemble.key("test_ap50"))

    assert () == plan_ensembles(table9, plan(table9, coco, seeds=1))
    table5, photos = load_experiment("table5"), Variant(dataset="imagenet")
    assert () == plan_ensembles(table5, plan(table5, photos))

"""What an analysis of better boxes writes and says."""

from __future__ import annotations

import pandas as pd

from resnet_cli.analyses.boxes import Boxes
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import RunSpec, Variant

TABLE = pd.DataFrame({"name": ["baseline", "refined", "multi"], "ap50": [48.4, 49.9, 53.0], "ap": [27.2, 29.9, 29.0]})


def test_gains_are_over_the_step_before() -> None:
    """By AP@[.5, .95], and below 0 where a step takes something."""
    found = {key: round(value, 9) for key, value in Boxes().sum_up(TABLE).items()}

    assert found == {
        "refined_ap50": 49.9,
        "refined_ap": 29.9,
        "multi_ap50": 53.0,
        "multi_ap": 29.0,
        "refined_gain": 2.7,
        "multi_gain": -0.9,
    }
    assert set(found) == set(Boxes().sums)


def test_what_it_never_wrote() -> None:
    """Other steps, another order, or a precision of 101."""
    run = RunSpec.of(*_of_table9())
    analysis = Boxes()

    assert analysis.is_right(TABLE, run)
    assert not analysis.is_right(TABLE.iloc[::-1], run)
    assert not analysis.is_right(TABLE.iloc[:2], run)
    assert not analysis.is_right(TABLE.assign(ap=[27.2, 101, 30]), run)


def test_more_is_better() -> None:
    """Of its numbers too: a claim of less is refused."""
    experiment = load_experiment("table9")

    assert experiment.is_higher_better("refined_ap50")
    assert experiment.is_higher_better("test_ap50")
    assert not load_experiment("gates").is_higher_better("mean_gate")


def _of_table9() -> tuple[object, ...]:
    experiment = load_experiment("table9")
    return experiment.nets[0], Variant(dataset="coco2014"), experiment.protocol, 0

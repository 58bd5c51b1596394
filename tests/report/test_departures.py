from __future__ import annotations

from typing import get_args

import pytest

from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.names import Deviation, Precision
from resnet_cli.report.departures import DEPARTURES, departures


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (Variant(), []),
        (Variant(schedule=0.05), ["0.05 of the schedule"]),
        (Variant(schedule=2), ["2 times the schedule"]),
        (Variant(precision="bf16"), ["The forward pass in mixed precision (bf16)"]),
        (Variant(precision="tf32"), ["Matrix products in TF32"]),
        (Variant(split="45k-5k"), ["Trained on 45,000"]),
        (
            Variant(dataset="synthetic", tiny=True),
            ["A smoke run: 8 updates", "An embedded synthetic set, not CIFAR-10"],
        ),
        (Variant(dataset="imagenet", accumulate=4), ["Each batch in 4 parts"]),
        (Variant(dataset="folder", source="imagenette"), ["The classes of imagenette, not ImageNet"]),
        (
            Variant(dataset="imagenet", schedule=0.1, deviations=get_args(Deviation), precision="bf16"),
            [
                "0.1 of",
                "The mean is",
                "The learning rate falls",
                "Training crops",
                "A bottleneck's stride",
                "The forward pass",
            ],
        ),
    ],
    ids=lambda value: value.label if isinstance(value, Variant) else "",
)
def test_departures(variant: Variant, expected: list[str]) -> None:
    """Whatever makes a variant another than the paper's is said, with an effect, and nothing else."""
    experiment = load_experiment("table6" if variant.task.name == "cifar10" else "table3")
    found = departures(experiment, variant)

    assert len(expected) == len(found)
    for start, departure in zip(expected, found, strict=True):
        assert departure.here.startswith(start)
        assert departure.effect.endswith(".")


def test_a_protocol_of_ones_own() -> None:
    """An experiment whose protocol is not the paper's says so even at its whole schedule."""
    content = load_experiment("fig1").model_dump(mode="json")
    content["protocol"]["weight_decay"] = 0.0
    found = departures(Experiment.model_validate(content), Variant())

    assert ["A protocol of the experiment's own."] == [departure.here for departure in found]


def test_each_deviation_and_precision_is_described() -> None:
    """None that can be asked for is without an expected effect."""
    assert {*get_args(Deviation), *get_args(Precision)} - {"fp32"} == set(DEPARTURES)

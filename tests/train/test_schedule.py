"""The learning rate of sections 3.4 and 4.2, to the update."""

from __future__ import annotations

import pytest
from paper_tasks import IMAGENET

from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import Net, Plateau, Protocol, Warmup
from resnet_cli.train.schedule import (
    epochs_between_averages,
    epochs_between_tests,
    has_plateaued,
    learning_rate,
    warmup_is_over,
)


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [(1, 0.1), (32_000, 0.1), (32_001, 0.01), (48_000, 0.01), (48_001, 0.001), (64_000, 0.001)],
)
def test_rate_falls_after_the_milestones(iteration: int, expected: float) -> None:
    """Update 32,000 is the last at 0.1; 32,001 the first at 0.01; 48,001 the first at 0.001."""
    protocol = RunSpec.of(Net.model_validate("resnet-20"), Variant(), Protocol(), 0).protocol

    assert expected == pytest.approx(learning_rate(protocol, iteration, None), rel=1e-12)


def test_a_shorter_schedule_has_the_same_shape() -> None:
    """At schedule 0.05 the rate falls after updates 1,600 and 2,400."""
    protocol = Protocol(warmup=None).scaled(0.05)

    assert [0.1, 0.01, 0.01, 0.001] == pytest.approx(
        [learning_rate(protocol, iteration, None) for iteration in (1_600, 1_601, 2_400, 2_401)]
    )


def test_warm_up_holds_the_low_rate_until_it_ended() -> None:
    """While the warm-up lasts the rate is 0.01; from the update after it 0.1; the milestones count from the start."""
    protocol = Protocol()

    assert 0.01 == learning_rate(protocol, 5_000, None)
    assert 0.01 == learning_rate(protocol, 400, 400)
    assert 0.1 == learning_rate(protocol, 401, 400)
    assert 0.01 == pytest.approx(learning_rate(protocol, 32_001, 400))


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([70.0, 70.0], False),  # the window is not full
        ([90.0, 79.0, 79.0, 79.0], True),  # only the last three count
        ([70.0, 80.0, 90.0], False),  # 80 is not below 80
        ([70.0, 80.0, 89.9], True),
    ],
)
def test_warm_up_ends_when_the_window_is_below_80(errors: list[float], expected: bool) -> None:
    """The mean training error of the last `window` updates decides, and one lucky batch does not."""
    assert expected == warmup_is_over(Warmup(window=3), errors)


def test_rate_falls_when_the_error_plateaued() -> None:
    """On ImageNet the rate is a tenth from the update after each drop on (section 3.4)."""
    rates = [learning_rate(IMAGENET.protocol, iteration, None, drops=[100, 300]) for iteration in (100, 101, 300, 301)]

    assert [0.1, 0.01, 0.01, 0.001] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([], False),
        ([90.0], False),
        ([90.0, 89.0, 88.0, 87.0], False),  # falling
        ([90.0, 89.9, 89.8], True),  # two windows in a row without a real improvement on 90
        ([90.0, 89.9, 89.4], False),  # the third improves on the best, 90, by more than half a point
        ([90.0, 95.0, 89.0, 88.9], False),  # rising once is no plateau
        ([90.0, 89.5, 89.5], True),  # exactly half a point is no improvement
    ],
)
def test_plateau(errors: list[float], expected: bool) -> None:
    """The error plateaus when `patience` windows in a row are not `improvement` below the best before."""
    assert expected == has_plateaued(Plateau(patience=2, improvement=0.5), errors)


@pytest.mark.parametrize(
    ("epochs", "train", "test", "expected"),
    [
        (163.84, 50_000, 10_000, 2),  # CIFAR-10 at the paper's scale
        (163.84, 45_000, 5_000, 1),
        (120, 1_281_167, 50_000, 1),  # ImageNet
        (19.9, 50_000, 10_000, 1),  # a short run wants its curve
        (20, 100, 100, 7),
    ],
)
def test_tests_on_the_way_take_a_twentieth(epochs: float, train: int, test: int, expected: int) -> None:
    """A test image costs a third of a training image; in a long run all tests together stay below 5% of the work."""
    every = epochs_between_tests(epochs, train, test)

    assert expected == every
    assert epochs < 20 or test / (3 * train) / every <= 0.05


def test_averages_are_rarer_in_a_long_run() -> None:
    """A short run, which has few tests, makes each with averaged statistics too."""
    assert [1, 1, 6, 6] == [epochs_between_averages(epochs, 50_000, 10_000) for epochs in (1, 19.9, 20, 163.84)]

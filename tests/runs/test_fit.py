"""The schedule that fits: what it takes is added up as the runs will be made, and no choice breaks its own estimate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper_tasks import CIFAR10

from resnet_cli.analyses.gradients import BATCHES
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.estimate import AVERAGED_TEST, Speed
from resnet_cli.runs.fit import (
    BESIDE_SECONDS,
    FP32,
    LADDER,
    MARGIN,
    Due,
    Measured,
    choose,
    nets_to_measure,
    next_longer,
    seconds_needed,
)
from resnet_cli.runs.plan import plan
from resnet_cli.spec import Net, Protocol

UPDATE, TEST, FIRST, AGAIN, START = 0.1, 2.0, 20.0, 3.0, 5.0
TESTS = TEST * (1 + AVERAGED_TEST)  # at an evaluation: with running statistics, and with averaged ones


def net(name: str) -> Net:
    """The net of this name."""
    return Net.model_validate(name)


PLAIN_20 = Speed(net("plain-20"), UPDATE, TEST, FIRST, AGAIN)
COMPILED_20 = replace(PLAIN_20, update=UPDATE / 2, is_compiled=True)
MEASURED = Measured((PLAIN_20, COMPILED_20), START, 50_000, 10_000)


def due(
    name: str = "plain-20",
    *,
    iterations: int = 100,
    left: float = 1.0,
    is_compiled: bool = False,
    after: str = "1-crop",
    seed: int = 0,
) -> Due:
    """A run of `iterations` updates of 128 images; fewer than 390 are tested once, at the end."""
    protocol = Protocol(iterations=iterations, milestones=())
    return Due(RunSpec.of(net(name), Variant(), protocol, seed), left, is_compiled, after)


def test_nothing_left_takes_no_time() -> None:
    """Where all is made, no process has to begin."""
    assert 0.0 == seconds_needed([], MEASURED, 2)


def test_a_run_takes_its_updates_its_test_and_its_start() -> None:
    """A net that was measured has been compiled by then, so its first update takes what a later run's does."""
    alone = UPDATE * 100 + TESTS + AGAIN + START + BESIDE_SECONDS
    compiled = UPDATE / 2 * 100 + TESTS + AGAIN + START + BESIDE_SECONDS

    assert pytest.approx(alone) == seconds_needed([due()], MEASURED, 1)
    assert pytest.approx(compiled) == seconds_needed([due(is_compiled=True)], MEASURED, 1)


def test_a_run_that_stopped_takes_the_rest() -> None:
    """A quarter of its updates and tests; a trained net that is only to be tested is not compiled."""
    rest = (UPDATE * 100 + TESTS) / 4 + AGAIN + START + BESIDE_SECONDS

    assert pytest.approx(rest) == seconds_needed([due(left=0.25)], MEASURED, 1)
    assert pytest.approx(START + BESIDE_SECONDS) == seconds_needed([due(left=0.0)], MEASURED, 1)


def test_another_net_takes_time_in_proportion_and_is_compiled_once() -> None:
    """By multiply-adds; the first of its runs compiles, the second finds that done."""
    times = CIFAR10.multiply_adds(net("plain-56")) / CIFAR10.multiply_adds(net("plain-20"))
    once = times * (UPDATE * 100 + TESTS)
    one = once + times * FIRST + START + BESIDE_SECONDS

    assert pytest.approx(one) == seconds_needed([due("plain-56")], MEASURED, 1)
    assert pytest.approx(one + once + times * AGAIN) == seconds_needed(
        [due("plain-56"), due("plain-56", seed=1)], MEASURED, 1
    )


def test_side_by_side_a_run_begins_where_there_is_room() -> None:
    """Of runs of 40, 10 and 10 updates in two processes, the first takes as long as the others together, or longer."""
    runs = [due(iterations=400), due(iterations=100, seed=1), due(iterations=100, seed=2)]
    one = [seconds_needed([each], MEASURED, 2) - BESIDE_SECONDS for each in runs]

    assert pytest.approx(max(one[0], one[1] + one[2]) + BESIDE_SECONDS) == seconds_needed(runs, MEASURED, 2)
    assert pytest.approx(sum(one) - 2 * START + BESIDE_SECONDS) == seconds_needed(runs, MEASURED, 1)


@pytest.mark.parametrize(
    ("after", "name", "more"),
    [
        ("responses", "plain-20", TEST * FP32),
        ("training-set", "plain-20", 5 * TEST * FP32),
        ("training-set", "plain-20-from-8", 15 * TEST * FP32),
        ("gradients", "plain-20", 2 * BATCHES * UPDATE * FP32),
    ],
)
def test_an_analysis_takes_its_time(after: str, name: str, more: float) -> None:
    """In fp32; of a net that is made from another, three nets are tested on the training set."""
    without = seconds_needed([due(name)], MEASURED, 1)

    assert pytest.approx(without + more) == seconds_needed([due(name, after=after)], MEASURED, 1)


@pytest.mark.parametrize(
    ("experiment", "expected"),
    [
        ("table6", ["resnet-20", "resnet-56"]),
        ("fig1", ["plain-20", "plain-56"]),
        ("degradation", ["plain-20", "plain-56", "resnet-20", "resnet-56"]),
        ("longer", ["plain-20", "plain-56"]),
    ],
)
def test_few_nets_are_measured(experiment: str, expected: list[str]) -> None:
    """Of each family the smallest and one that is not much slower; ResNet-1202 would take minutes."""
    nets = (run.net for run in plan(load_experiment(experiment), Variant()))

    assert expected == [each.name.removesuffix("-x3") for each in nets_to_measure(CIFAR10, nets)]


def test_a_lone_net_is_measured_once() -> None:
    """It is its family's smallest and largest."""
    assert [net("resnet-20")] == list(nets_to_measure(CIFAR10, [net("resnet-20")]))


NEEDED = st.dictionaries(st.sampled_from(LADDER), st.floats(0, 1e9), min_size=1)


@given(seconds=NEEDED, limit=st.floats(-100, 1e9))
def test_no_choice_breaks_its_own_estimate(seconds: dict[float, float], limit: float) -> None:
    """What is chosen fits with the margin, and nothing longer does; without a choice nothing fits."""
    chosen = choose(seconds, limit)
    fitting = {schedule for schedule, needed in seconds.items() if MARGIN * needed <= limit}

    assert (chosen is None) == (not fitting)
    assert chosen is None or (chosen in fitting and chosen >= max(fitting))


@given(seconds=NEEDED, limits=st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)))
def test_more_time_never_chooses_a_shorter_schedule(seconds: dict[float, float], limits: tuple[float, float]) -> None:
    """The choice rises with the time."""
    less, more = (choose(seconds, limit) for limit in sorted(limits))

    assert (less or 0.0) <= (more or 0.0)


@given(update=st.floats(TEST / 40, 10), gain=st.floats(1, 10), jobs=st.integers(1, 4))
def test_a_longer_schedule_needs_more_and_the_best_case_less(update: float, gain: float, jobs: int) -> None:
    """Up the ladder the time rises, if a test takes no more than 40 updates.

    The guess that decides whether the compiled step is measured is a lower bound.
    """
    speeds = (replace(each, update=update) for each in (PLAIN_20, COMPILED_20))
    measured = replace(MEASURED, speeds=tuple(speeds))
    runs = [[due(iterations=round(64_000 * each), is_compiled=True, seed=seed) for seed in (0, 1)] for each in LADDER]
    seconds = [seconds_needed(each, measured, jobs) for each in runs]

    assert sorted(seconds, reverse=True) == seconds
    assert all(
        seconds_needed(each, measured.at_best(gain), jobs) <= needed for each, needed in zip(runs, seconds, strict=True)
    )


def test_the_next_longer_schedule() -> None:
    """One rung up; the paper's own has none."""
    assert 0.02 == next_longer(0.01)
    assert 1.0 == next_longer(0.5)
    assert next_longer(1.0) is None

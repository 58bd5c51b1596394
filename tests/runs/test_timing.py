"""What is measured is what is said: both loops train, switches come back, the floor is arithmetic."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from paper_tasks import CIFAR10

from resnet_cli.data import Dataset, synthetic
from resnet_cli.device.torch_device import prepare
from resnet_cli.runs import timing
from resnet_cli.runs.timing import Ours, Plan, Timing, floor, peak_of_a_process
from resnet_cli.runs.users_loop import AsImages, EagerLoop
from resnet_cli.spec import Net

CPU = torch.device("cpu")
NET = Net.model_validate("resnet-8")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Enough for two batches."""
    return synthetic.load(train=300, test=50)


def test_a_timing_is_the_median_round() -> None:
    """In milliseconds, with the best and the worst round beside it."""
    assert Timing(median=20.0, lowest=10.0, highest=90.0) == Timing.of([0.09, 0.01, 0.02])


def test_the_users_loader_gives_augmented_images(dataset: Dataset) -> None:
    """Images are those of the dataset, normalised, mirrored and shifted at random; labels are theirs."""
    images = AsImages(dataset)
    torch.manual_seed(0)
    first, label = images[5]
    others = [images[5][0] for _ in range(10)]

    assert 300 == len(images)
    assert (3, 32, 32) == first.shape
    assert int(dataset.train_labels[5]) == label
    assert any(not torch.equal(first, other) for other in others)


def plan_of(dataset: Dataset) -> Plan:
    """One round of one update by the plain step."""
    return Plan(
        dataset,
        "fp32",
        is_fast=False,
        against_eager=False,
        rounds=1,
        updates=1,
        task=CIFAR10,
        protocol=CIFAR10.protocol,
    )


@pytest.mark.parametrize("loop", [EagerLoop, Ours])
def test_both_loops_train(loop: type, dataset: Dataset) -> None:
    """Each update moves every weight, so that nothing is timed that does no work."""
    prepare(CPU, "fp32")
    plan = plan_of(dataset)
    made = loop(NET, plan)
    before = copy.deepcopy(made.net.state_dict())
    seconds = made.updates(3)  # more than an epoch: the loader begins again
    if isinstance(made, EagerLoop):
        made.close()
    moved = [name for name, value in made.net.state_dict().items() if not torch.equal(before[name], value)]

    assert seconds > 0
    assert list(before) == moved


def test_switches_come_back(dataset: Dataset, request: pytest.FixtureRequest) -> None:
    """After the user's turn, torch is as our training needs it; in it, as most people have it."""
    prepare(CPU, "fp32")
    loop = EagerLoop(NET, plan_of(dataset))
    seen = []
    batches = loop.batches
    request.addfinalizer(batches.close)
    loop.batches = ((seen.append(torch.backends.cudnn.benchmark), next(batches))[1] for _ in itertools.count())
    loop.updates(1)

    assert [True] == seen
    assert (False, False) == (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32)
    assert 0.0 == float(torch.tensor(1e-40) * 0.5)  # denormals are flushed


def test_the_floor_is_in_proportion_to_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three forward passes of 128 images, two operations a multiply-add, at the matrix product's speed."""
    clock = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))  # each product takes a second

    assert pytest.approx(6 * CIFAR10.multiply_adds(NET) * 128 / (2 * 2048**3)) == floor(
        NET, plan_of(synthetic.load(train=1, test=1)), CPU
    )


@pytest.mark.long
def test_memory_is_of_a_process_of_its_own() -> None:
    """A deeper net needs more; both more than torch alone.

    Long: each loads torch anew. `tests/cli/test_bench.py` measures the memory of one.
    """
    small, large = (
        peak_of_a_process(Net.model_validate(name), plan_of(synthetic.load(train=1, test=1)))
        for name in ("plain-8", "plain-32")
    )

    assert 100e6 < small < large < 20e9

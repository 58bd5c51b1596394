"""The fast step equals the plain one; a CUDA graph's bookkeeping, rehearsed without a device."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fake_graph import FakeGraph
from paper_tasks import CIFAR10

from resnet_cli.data.stream import TrainStream
from resnet_cli.device.torch_device import prepare
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder
from resnet_cli.train import graph_step, loop
from resnet_cli.train.graph_step import FastStep, GraphStep, PlainGraphStep, make_step
from resnet_cli.train.proof import prove
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from resnet_cli.data import Dataset
    from resnet_cli.identity import RunSpec
    from resnet_cli.names import Precision
    from resnet_cli.nets.resnet import ResNet
    from resnet_cli.train.graph_step import StepName

# What torch 2.11 does itself while it traces an autograd function.
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated")

CPU = torch.device("cpu")
NET = "resnet-8-B"  # shortcuts of identity and of projection, normalisations with and without ReLU
PROTOCOL = Protocol(warmup=None)
GO_ON = """
import sys
from pathlib import Path
import torch
from resnet_cli.data import synthetic
from resnet_cli.device.torch_device import prepare
from resnet_cli.identity import RunSpec
from resnet_cli.train.loop import train
run, small = RunSpec.model_validate_json(sys.argv[1]), synthetic.load(train=64, test=64)
prepare(torch.device("cpu"), run.variant.precision)
train(run, Path(sys.argv[2]), small, report=print, should_stop=lambda: False, step="compiled")
"""


def built(dtype: torch.dtype = torch.float32, name: str = NET) -> ResNet:
    """A net, always the same."""
    return CIFAR10.make(Net.model_validate(name), 0).to(dtype)


class Stream(TrainStream):
    """Batches in another precision."""

    dtype = torch.float32

    def make(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these rows."""
        images, labels = super().make(rows)
        return images.to(self.dtype), labels


def stream_of(dataset: Dataset, dtype: torch.dtype = torch.float32) -> Stream:
    """The small set's batches of 16."""
    stream = Stream(dataset, 0, 16)
    stream.dtype = dtype
    return stream


def train_both(plain: EagerStep, fast: EagerStep, stream: TrainStream, updates: int) -> list[tuple[float, ...]]:
    """Losses and wrong answers of both, update by update; the rate falls on the way."""
    results = []
    for iteration in range(1, updates + 1):
        rate = 0.05 if iteration <= updates // 2 else 0.01
        results.append(
            tuple(
                float(each)
                for pair in zip(*(step.update(stream, iteration, rate) for step in (plain, fast)), strict=True)
                for each in pair
            )
        )
    return results


def assert_same_state(plain: EagerStep, fast: EagerStep, **tolerance: float) -> None:
    """Weights, statistics, counters and momentum agree."""
    for name, expected in plain.net.state_dict().items():
        torch.testing.assert_close(
            fast.net.state_dict()[name], expected, msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )
    for one, other in zip(plain.net.parameters(), fast.net.parameters(), strict=True):
        expected, found = (
            step.optimizer.state[each]["momentum_buffer"] for step, each in ((plain, one), (fast, other))
        )
        torch.testing.assert_close(found, expected, **tolerance)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        (NET, "net"),
        pytest.param(NET, "layer", marks=pytest.mark.long),
        pytest.param("plain-8", "net", marks=pytest.mark.long),
        pytest.param("resnet-8", "net", marks=pytest.mark.long),
    ],
)
def test_fifty_updates_are_the_plain_steps(
    name: str, scope: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, where rounding cannot grow in 50 updates, losses, errors, weights and momentum agree.

    One net, compiled as a whole; in `make test-all` also layer by layer, and two other nets: each compiles for seconds.
    Seen to fail with a variance that is biased by a count too few, and with ReLU's mask left out of a gradient.
    """
    prepare(CPU, "fp32")
    if scope == "layer":
        monkeypatch.setitem(graph_step.MOST_LAYERS, "cpu", 0)
    plain = EagerStep(built(torch.float64, name), PROTOCOL, "fp32", CPU)
    fast = FastStep(built(torch.float64, name), PROTOCOL, "fp32", CPU)
    results = train_both(plain, fast, stream_of(dataset, torch.float64), 50)

    assert [pytest.approx(one, rel=1e-9) for one, *_ in results] == [other for _, other, *_ in results]
    assert [wrong for *_, wrong, _ in results] == [wrong for *_, wrong in results]
    assert_same_state(plain, fast, rtol=1e-7, atol=1e-9)
    assert 50 == int(fast.net.bn1.num_batches_tracked)


@pytest.mark.parametrize(
    ("precision", "first", "last"),
    [pytest.param("fp32", 1e-4, 0.02, marks=pytest.mark.long), ("bf16", 0.02, 0.15)],
)
def test_each_precision_follows_the_plain_step(
    precision: Precision, first: float, last: float, dataset: Dataset
) -> None:
    """The first losses agree to rounding; after 20 updates, in which it grows, they are in the same band.

    In bf16; in `make test-all` in fp32 too: each compiles for seconds.
    """
    prepare(CPU, precision)
    plain, fast = (make(built(), PROTOCOL, precision, CPU) for make in (EagerStep, make_step))
    losses = [(one, other) for one, other, *_ in train_both(plain, fast, stream_of(dataset), 20)]

    assert losses[0][0] == pytest.approx(losses[0][1], rel=first)
    assert losses[-1][0] == pytest.approx(losses[-1][1], rel=last)


def test_a_batch_in_parts(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accumulated gradients are the plain step's, and each part counts as a batch that was normalised."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    prepare(CPU, "fp32")
    plain, fast = (make(built(torch.float64), PROTOCOL, "fp32", CPU, accumulate=2) for make in (EagerStep, FastStep))
    train_both(plain, fast, stream_of(dataset, torch.float64), 3)

    assert_same_state(plain, fast, rtol=1e-9, atol=1e-12)


def test_momentum_goes_from_step_to_step(dataset: Dataset) -> None:
    """A checkpoint of the plain step goes on in the fast one: its momentum is taken over, not its settings."""
    plain = EagerStep(built(), PROTOCOL, "fp32", CPU)
    plain.update(stream_of(dataset), 1, 0.1)
    fast = FastStep(built(), PROTOCOL, "fp32", CPU)
    fast.net.load_state_dict(plain.net.state_dict())
    fast.load_momentum(plain.optimizer.state_dict())

    assert [True] == [group["fused"] for group in fast.optimizer.param_groups]
    assert_same_state(plain, fast, rtol=0, atol=0)


def test_momentum_takes_the_layout_of_the_weights(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the plain step has another layout, the first update after a checkpoint of its is still the right one.

    Seen to fail, by tenths, when the momentum keeps the layout it was saved in.
    """
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(EagerStep, "layout", staticmethod(lambda *_: torch.contiguous_format))
    plain, stream = EagerStep(built(), PROTOCOL, "fp32", CPU), stream_of(dataset)
    plain.update(stream, 1, 0.1)
    fast = FastStep(built(), PROTOCOL, "fp32", CPU)
    fast.net.load_state_dict(plain.net.state_dict())
    fast.load_momentum(copy.deepcopy(plain.optimizer.state_dict()))
    for step in (plain, fast):
        step.update(stream, 2, 0.1)

    assert_same_state(plain, fast, rtol=1e-4, atol=1e-5)


def test_resume_is_exact(run_spec: RunSpec, dataset: Dataset, train_in: Callable[..., None], tmp_path: Path) -> None:
    """Interrupted and run again in a fresh process, logs and weights are the uninterrupted ones, bit for bit.

    So are those of a process that has proven the step before.
    """
    prepare(CPU, "bf16")
    variant = run_spec.variant.model_copy(update={"precision": "bf16"})
    net = Net.model_validate(NET)  # as above: the compiler remembers what it made of it
    run = run_spec.model_copy(update={"net": net, "variant": variant})
    train_in(run, tmp_path / "whole", is_fast=True)
    train_in(run, tmp_path / "cut", is_fast=True, stop_at=7)
    command = [sys.executable, "-c", GO_ON, run.model_dump_json(), str(tmp_path / "cut")]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert prove(run, dataset).problem is None
    train_in(run, tmp_path / "proven", is_fast=True)
    for name in (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "proven" / name).read_bytes()


@pytest.mark.usefixtures("no_device")
def test_a_graph_makes_the_same_updates(dataset: Dataset) -> None:
    """Warm-up is undone, each launch reads its own batch and rate, results outlive the next launch.

    Seen to fail when the state is not restored after the capture, and when results are not copied out.
    """
    prepare(CPU, "fp32")
    stream = stream_of(dataset)
    plain, graphed = FastStep(built(), PROTOCOL, "fp32", CPU), GraphStep(built(), PROTOCOL, "fp32", CPU)
    FakeGraph.again = lambda _: graphed._once(stream.make)
    pending: dict[str, list[tuple[Tensor, Tensor]]] = {"plain": [], "graphed": []}
    for iteration in range(1, 7):
        rate = 0.1 if iteration < 4 else 0.01
        pending["plain"].append(plain.update(stream, iteration, rate))
        pending["graphed"].append(graphed.update(stream, iteration, rate))

    assert [tuple(map(float, each)) for each in pending["plain"]] == [
        tuple(map(float, each)) for each in pending["graphed"]
    ]
    assert_same_state(plain, graphed, rtol=0, atol=0)


@pytest.mark.usefixtures("no_device")
def test_the_plain_step_is_captured_where_nothing_compiles(dataset: Dataset) -> None:
    """Its graph makes the plain step's own updates, bit for bit, counters of batches included."""
    prepare(CPU, "fp32")
    stream = stream_of(dataset)
    plain, graphed = EagerStep(built(), PROTOCOL, "fp32", CPU), PlainGraphStep(built(), PROTOCOL, "fp32", CPU)
    plain.optimizer.param_groups[0]["fused"] = True
    FakeGraph.again = lambda _: graphed._once(stream.make)
    for iteration in range(1, 5):
        for step in (plain, graphed):
            step.update(stream, iteration, 0.1 / iteration)

    assert_same_state(plain, graphed, rtol=0, atol=0)


def test_a_training_makes_the_step_it_is_told(
    run_spec: RunSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captured one is the plain one in a graph, also where the compiler works."""
    made: list[bool] = []

    def make(*arguments: Any, is_compiled: bool, is_alone: bool) -> EagerStep:
        assert is_alone
        made.append(is_compiled)
        return EagerStep(*arguments)

    monkeypatch.setattr(loop, "make_step", make)
    steps: tuple[StepName, ...] = ("compiled", "captured", "plain")
    for step in steps:
        folder = tmp_path / step
        folder.mkdir()
        loop.train(run_spec, folder, dataset, report=lambda _: None, should_stop=lambda: False, step=step)

    assert [True, False] == made


@pytest.mark.usefixtures("no_device")
def test_a_graph_goes_on_from_a_checkpoint(dataset: Dataset) -> None:
    """What is loaded before the first launch is what it starts from."""
    prepare(CPU, "fp32")
    stream = stream_of(dataset)
    first = GraphStep(built(), PROTOCOL, "fp32", CPU)
    FakeGraph.again = lambda _: first._once(stream.make)
    for iteration in range(1, 4):
        first.update(stream, iteration, 0.1)
    again = GraphStep(built(), PROTOCOL, "fp32", CPU)
    again.net.load_state_dict(first.net.state_dict())
    again.load_momentum(copy.deepcopy(first.optimizer.state_dict()))
    first.update(stream, 4, 0.1)
    FakeGraph.again = lambda _: again._once(stream.make)
    again.update(stream, 4, 0.1)

    assert_same_state(first, again, rtol=0, atol=0)


def test_a_missing_compiler_is_told_in_one_line() -> None:
    """Where there is no C++ compiler, the obstacle names what was looked for."""
    command = "import torch; from resnet_cli.train.graph_step import obstacle; print(obstacle(torch.device('cpu')))"
    found = subprocess.run(
        [sys.executable, "-c", command],
        env={**os.environ, "CXX": "/nonexistent/g++"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.startswith("torch.compile does not work here: ")
    assert "/nonexistent/g++" in found.stdout
    assert 1 == found.stdout.count("\n")


def test_there_is_no_obstacle_here() -> None:
    """The machine that runs these tests can compile, so that they test what they say."""
    assert graph_step.obstacle(CPU) is None

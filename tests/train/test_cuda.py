"""Training on a CUDA device: exact where it is promised, close to the CPU where arithmetic differs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
from paper_tasks import CIFAR10, IMAGENET

from resnet_cli.data.stream import TrainStream
from resnet_cli.device.torch_device import prepare
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.timing import count_kernels
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder
from resnet_cli.tasks import open_dataset
from resnet_cli.train import graph_step
from resnet_cli.train.proof import prove
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.data import Dataset
    from resnet_cli.names import Precision

pytestmark = [
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),  # Inductor's hint; without it is as we want it
    pytest.mark.filterwarnings("ignore:.*should not be instantiated"),  # what torch 2.11 does itself while it traces
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

CUDA = torch.device("cuda")


@pytest.fixture
def on_cuda(dataset: Dataset) -> Dataset:
    """The small set, resident on the device."""
    return dataset.to(CUDA)


def test_batches_are_the_cpus(dataset: Dataset, on_cuda: Dataset) -> None:
    """Order, crops and mirrors do not depend on the device; pixels agree to float rounding."""
    there, here = TrainStream(on_cuda, 0, 16), TrainStream(dataset, 0, 16)
    for iteration in (1, 5, 9):
        images, labels = there.batch(iteration)
        expected_images, expected_labels = here.batch(iteration)

        assert torch.equal(expected_labels, labels.cpu())
        torch.testing.assert_close(images.cpu(), expected_images, rtol=0, atol=1e-6)


# Each fast case compiles and captures three times, which takes seconds: one always, the others in a long run.
RESUMES = [
    (5, True, "bf16"),
    *(
        pytest.param(*case, marks=pytest.mark.long)
        for case in itertools.product((1, 4, 5, 12, 23), (False, True), ("fp32", "tf32", "bf16"))
        if case != (5, True, "bf16")
    ),
]


@pytest.mark.parametrize(("cut", "is_fast", "precision"), RESUMES)
def test_resume_is_exact(
    cut: int,
    is_fast: bool,
    precision: Precision,
    run_spec: RunSpec,
    on_cuda: Dataset,
    train_in: Callable[..., None],
    tmp_path: Path,
) -> None:
    """Interrupted after an update and run again, logs and weights are the uninterrupted ones, bit for bit."""
    run = run_spec.model_copy(update={"variant": run_spec.variant.model_copy(update={"precision": precision})})
    prepare(CUDA, precision)
    train_in(run, tmp_path / "whole", dataset=on_cuda, is_fast=is_fast)
    train_in(run, tmp_path / "cut", stop_at=cut, dataset=on_cuda, is_fast=is_fast)
    train_in(run, tmp_path / "cut", dataset=on_cuda, is_fast=is_fast)

    for name in (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_fp32_follows_the_cpu(
    run_spec: RunSpec, on_cuda: Dataset, train_in: Callable[..., None], tmp_path: Path
) -> None:
    """The first losses agree to 1e-3, before rounding has grown."""
    prepare(CUDA, "fp32")
    train_in(run_spec, tmp_path / "cpu")
    train_in(run_spec, tmp_path / "cuda", dataset=on_cuda)
    here, there = (pd.read_csv(tmp_path / name / "train.csv").loss[:6].tolist() for name in ("cpu", "cuda"))

    assert here == pytest.approx(there, rel=1e-3)


def test_the_graph_makes_the_plain_steps_updates(on_cuda: Dataset) -> None:
    """Losses over 50 updates in fp32 agree at first to rounding, at the end to what has grown of it."""
    prepare(CUDA, "fp32")
    plain, fast = (
        make(CIFAR10.make(Net.model_validate("resnet-8-B"), 0), Protocol(warmup=None), "fp32", CUDA)
        for make in (EagerStep, graph_step.make_step)
    )
    stream = TrainStream(on_cuda, 0, 16)
    results = [
        tuple(float(step.update(stream, iteration, 0.01)[0]) for step in (plain, fast)) for iteration in range(1, 51)
    ]

    assert results[0][0] == pytest.approx(results[0][1], rel=1e-5)
    assert results[-1][0] == pytest.approx(results[-1][1], rel=0.05)
    for one, other in zip(plain.net.parameters(), fast.net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_an_update_waits_for_nothing(on_cuda: Dataset) -> None:
    """After the first, an update has no point at which the host waits for the device; nor has a new epoch's first."""
    prepare(CUDA, "bf16")
    step = graph_step.make_step(CIFAR10.make(Net.model_validate("resnet-8"), 0), Protocol(warmup=None), "bf16", CUDA)
    stream = TrainStream(on_cuda, 0, 16)
    step.update(stream, 1, 0.1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = [step.update(stream, iteration, 0.1) for iteration in range(2, 7)]
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert all(loss.isfinite() for loss, _ in results)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["resnet-20", "plain-20"])
def test_the_step_is_proven_here(name: str, precision: Precision, run_spec: RunSpec, on_cuda: Dataset) -> None:
    """The graph makes the plain step's updates, as every run finds out for itself before it trusts it."""
    prepare(CUDA, precision)
    variant = run_spec.variant.model_copy(update={"precision": precision})
    run = run_spec.model_copy(update={"variant": variant, "net": Net.model_validate(name)})

    assert prove(run, on_cuda).problem is None


def test_the_graph_has_fewer_kernels(on_cuda: Dataset) -> None:
    """What is compiled and fused launches fewer kernels than the plain step; about 260 were counted for about 345.

    What matters is that nothing waits, above, and the time, which `resnet bench` measures.
    """
    prepare(CUDA, "bf16")
    stream = TrainStream(on_cuda, 0, 16)
    counts = []
    for make in (EagerStep, graph_step.make_step):
        step = make(CIFAR10.make(Net.model_validate("resnet-20"), 0), Protocol(warmup=None), "bf16", CUDA)
        step.update(stream, 1, 0.1)
        counts.append(count_kernels(lambda step=step: step.update(stream, 2, 0.1)))

    assert 0 < counts[1] < counts[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resume_is_exact_on_photographs(precision: Precision, train_in: Callable[..., None], tmp_path: Path) -> None:
    """The same of an ImageNet net on photographs that threads decode."""
    variant = Variant(dataset="synthetic-photos", tiny=True, precision=precision)
    run = RunSpec.of(IMAGENET.net("resnet-50"), variant, IMAGENET.protocol, 0)
    prepare(CUDA, precision)
    photographs = open_dataset(variant, tmp_path, protocol=run.protocol, workers=2).to(CUDA)
    train_in(run, tmp_path / "whole", dataset=photographs)
    train_in(run, tmp_path / "cut", stop_at=3, dataset=photographs)
    train_in(run, tmp_path / "cut", dataset=photographs)

    for name in (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("make", [EagerStep, graph_step.make_step])
def test_1202_layers_fit_in_24_gb(make: type[EagerStep], on_cuda: Dataset) -> None:
    """Updates of ResNet-1202 at batch 128 in fp32 need less than 24 GB of the device."""
    run = RunSpec.of(Net.model_validate("resnet-1202"), Variant(dataset="synthetic"), Protocol(), 0)
    prepare(CUDA, "fp32")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step = make(CIFAR10.make(run.net, 0), run.protocol, "fp32", CUDA)
    step.update(TrainStream(on_cuda, 0, 128), 1, 0.01)

    assert torch.cuda.max_memory_allocated() < 24e9

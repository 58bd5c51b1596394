"""A training small enough to repeat dozens of times: 64 drawn images, 24 updates of 16, two milestones."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fake_graph import FakeGraph

from resnet_cli.data import Dataset, synthetic
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import Net, Protocol, Warmup
from resnet_cli.train import loop
from resnet_cli.train.loop import StoppedError, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True, scope="session")
def _same_arithmetic() -> None:
    """Trainings repeat bit for bit with the same number of threads only."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Sixty-four training and sixty-four test images."""
    return synthetic.load(train=64, test=64)


@pytest.fixture(scope="session")
def protocol() -> Protocol:
    """Twenty-four updates, an epoch each four; every net warms up, for the five updates that its window needs."""
    warmup = Warmup(from_depth=8, window=5, until_train_error=99.9)
    return Protocol(batch_size=16, milestones=(12, 18), iterations=24, warmup=warmup)


@pytest.fixture(scope="session")
def run_spec(protocol: Protocol) -> RunSpec:
    """The run of resnet-8, seed 3."""
    return RunSpec.of(Net.model_validate("resnet-8"), Variant(dataset="synthetic"), protocol, 3)


@pytest.fixture(scope="session")
def train_in(dataset: Dataset) -> Callable[..., None]:
    """Trains in a folder, to the end or, with `stop_at`, until that many updates were made since the start."""
    small = dataset

    def train_it(
        run: RunSpec,
        folder: Path,
        *,
        stop_at: int | None = None,
        checkpoint_seconds: float = 1e9,
        dataset: Dataset = small,
        is_fast: bool = False,
    ) -> None:
        folder.mkdir(exist_ok=True)
        updates = 0
        update = loop._Training.update

        def counted(training: loop._Training) -> None:
            nonlocal updates
            update(training)
            updates += 1

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop._Training, "update", counted)
            try:
                train(
                    run,
                    folder,
                    dataset,
                    report=lambda status: None,  # noqa: ARG005
                    should_stop=lambda: stop_at is not None and updates >= stop_at,
                    checkpoint_seconds=checkpoint_seconds,
                    step="compiled" if is_fast else "plain",
                )
            except StoppedError:
                assert stop_at is not None

    return train_it


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and graphs that are none; nothing is compiled."""

    @contextlib.contextmanager
    def at_once(*_: Any, **__: Any) -> Iterator[None]:
        yield

    class Nothing:
        def wait_stream(self, other: Any) -> None:
            pass

    monkeypatch.setattr(torch.cuda, "Stream", Nothing)
    monkeypatch.setattr(torch.cuda, "current_stream", Nothing)
    monkeypatch.setattr(torch.cuda, "stream", at_once)
    monkeypatch.setattr(torch.cuda, "graph", at_once)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

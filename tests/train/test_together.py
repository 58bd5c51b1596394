"""Several ranks make the update of one process: in float64, where rounding cannot grow in twenty updates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from paper_tasks import CIFAR10
from rank_processes import run_ranks
from torch.nn.parallel import DistributedDataParallel

from resnet_cli.data import synthetic
from resnet_cli.data.stream import TrainStream
from resnet_cli.device.ranks import ALONE, Ranks
from resnet_cli.spec import Net, Protocol
from resnet_cli.train import together
from resnet_cli.train.graph_step import FastStep
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

UPDATES = 20
PROTOCOL = Protocol(batch_size=24, warmup=None)
SMALL_BUCKET = 0.02  # MiB; with the default these nets have all gradients in one, ImageNet's have several
NET = "resnet-8-B"  # normalisations with and without shortcut and ReLU


class Stream(TrainStream):
    """Batches in float64."""

    def make(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these rows."""
        images, labels = super().make(rows)
        return images.double(), labels


def trained(
    ranks: Ranks, parts: int | None, kind: type[EagerStep], updates: int, device: str = "cpu"
) -> dict[str, Tensor]:
    """What updates make of a net, its momentum, and each one's loss and wrong answers.

    The batch is taken in so many parts over all ranks; None: as a whole, normalisation synchronised.
    """
    net = CIFAR10.make(Net.model_validate(NET), 0).double()
    step = kind(net, PROTOCOL, "fp32", torch.device(device), (parts or ranks.count) // ranks.count)
    if ranks.count > 1:
        step.join(ranks, synchronized=parts is None)
    dataset = synthetic.load(train=64, test=16).to(torch.device(device))
    stream = Stream(dataset, 3, PROTOCOL.batch_size, ranks.share)
    results = [torch.stack(step.update(stream, number, 0.05)) for number in range(1, updates + 1)]
    momenta = [step.optimizer.state[each]["momentum_buffer"] for each in net.parameters()]
    found = {f"momentum {number}": each for number, each in enumerate(momenta)}
    return {name: each.cpu() for name, each in {**net.state_dict(), **found, "results": torch.stack(results)}.items()}


def train_as_rank(folder: Path, parts: int | None, kind: type[EagerStep], updates: int, device: str) -> None:
    """The body of a rank: trains and keeps what it has."""
    ranks = Ranks.here()
    ranks.connect(torch.device(device))
    small = partial(DistributedDataParallel, bucket_cap_mb=SMALL_BUCKET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "DistributedDataParallel", small)
        patch.setattr(torch.distributed, "_DEFAULT_FIRST_BUCKET_BYTES", int(SMALL_BUCKET * 2**20))
        torch.save(trained(ranks, parts, kind, updates, device), folder / f"{ranks.rank}.pt")
    ranks.disconnect()


TWO_GPUS = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=TWO_GPUS)])
@pytest.mark.parametrize(
    ("count", "parts", "kind", "updates"),
    [
        pytest.param(2, 2, EagerStep, UPDATES, id="a part a rank"),
        pytest.param(2, 4, EagerStep, UPDATES, id="two parts a rank"),
        pytest.param(3, 3, EagerStep, UPDATES, id="three ranks"),
        pytest.param(2, None, EagerStep, UPDATES, id="synchronised"),
        pytest.param(2, 2, FastStep, 3, id="compiled", marks=pytest.mark.long),  # each rank compiles for itself
    ],
)
def test_ranks_make_the_update_of_one_process(
    count: int, parts: int | None, kind: type[EagerStep], updates: int, device: str, tmp_path: Path
) -> None:
    """Weights, running statistics, counters, momentum, losses and errors are those of one process of the same batch.

    Where batch normalisation sees parts, that process takes the batch in as many parts; synchronised, as a whole. Seen
    to fail with running statistics that are averaged, and with a synchronised variance that is biased.
    """
    if device == "cuda":
        count = min(count, torch.cuda.device_count())
    run_ranks(count, train_as_rank, tmp_path, parts, kind, updates, device)
    expected = trained(ALONE, parts, EagerStep, updates)
    for number in range(count):
        found = torch.load(tmp_path / f"{number}.pt")

        assert expected.keys() == found.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_parts_and_whole_differ() -> None:
    """What batch normalisation sees matters, so the test before can tell one from the other."""
    whole, parts = trained(ALONE, None, EagerStep, 2), trained(ALONE, 2, EagerStep, 2)

    assert not torch.allclose(whole["fc.weight"], parts["fc.weight"], rtol=1e-3)
    assert not torch.allclose(whole["bn1.running_var"], parts["bn1.running_var"], rtol=1e-3)

"""A deeper plain net made from a trained shallower one by identity layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from paper_tasks import CIFAR10

from resnet_cli.data import synthetic
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import Net, Protocol
from resnet_cli.tasks.identities import insert_identities
from resnet_cli.train.start import initial_net
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from resnet_cli.data import Dataset
    from resnet_cli.nets.resnet import ResNet

TINY = Variant(dataset="synthetic", tiny=True)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """One hundred and twenty-eight training images."""
    return synthetic.load(train=128, test=64)


@pytest.fixture
def trained(dataset: Dataset) -> ResNet:
    """A plain-8 after twenty updates: weights, shifts, scales and running statistics are those of no fresh net."""
    net = CIFAR10.make(Net.model_validate("plain-8"), 1)
    run = RunSpec.of(Net.model_validate("plain-8"), TINY, Protocol(), 1)
    step, stream = EagerStep(net, run.protocol, "fp32", torch.device("cpu")), run.task.stream(dataset, run)
    for iteration in range(1, 21):
        step.update(stream, iteration, 0.05)
    with torch.no_grad():
        for _ in range(60):  # as after a whole training, the running statistics are those of the weights
            net(dataset.normalize(dataset.train_images))
    return net.eval()


@torch.no_grad()
def test_the_deeper_net_is_the_same_function(dataset: Dataset, trained: ResNet) -> None:
    """Its logits are the shallower net's, on images that it was not made with too.

    Seen to fail when scale and shift are 1 and 0 with the statistics of the data, and without the square root.
    """
    deep = CIFAR10.make(Net.model_validate("plain-20"), 5)
    images = dataset.normalize(dataset.test_images)
    before = deep.eval()(images)
    insert_identities(deep, trained, dataset)

    assert not torch.allclose(trained(images), before, atol=0.1)
    torch.testing.assert_close(deep.eval()(images), trained(images), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_in_training_it_is_nearly_the_same(dataset: Dataset, trained: ResNet) -> None:
    """Normalised by a batch's own statistics, the added layers stay close to identities: it trains on from there."""
    deep = CIFAR10.make(Net.model_validate("plain-20"), 5)
    insert_identities(deep, trained, dataset)
    images, labels = dataset.normalize(dataset.train_images), dataset.train_labels
    loss = {
        name: float(torch.nn.functional.cross_entropy(net.train()(images), labels))
        for name, net in (
            ("deep", deep),
            ("shallow", trained),
            ("fresh", CIFAR10.make(Net.model_validate("plain-20"), 5)),
        )
    }

    assert abs(loss["deep"] - loss["shallow"]) < 0.02 < abs(loss["fresh"] - loss["shallow"])


def test_other_nets_start_from_their_seed(dataset: Dataset) -> None:
    """A run without a source begins with He initialisation."""
    run = RunSpec.of(Net.model_validate("resnet-8"), TINY, Protocol(), 3)
    expected = run.task.build(run.net, run.variant, run.seed, 10).state_dict()

    assert all(torch.equal(expected[name], each) for name, each in initial_net(run, dataset, None).state_dict().items())

"""Responses, backward signals and training set errors, against slow, obvious references."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from paper_tasks import CIFAR10, IMAGENET
from torch.nn import functional

from resnet_cli.analyses.gradients import BATCHES, gradients
from resnet_cli.analyses.responses import responses
from resnet_cli.analyses.training_set import training_set
from resnet_cli.data import synthetic
from resnet_cli.evaluate.evaluate import evaluate
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import Net, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.data import Dataset
    from resnet_cli.nets.resnet import BatchNorm, ResNet

TINY = Variant(dataset="synthetic", tiny=True)
NAMES = [
    "conv1",
    "layer1.0.conv1",
    "layer1.0.conv2",
    "layer2.0.conv1",
    "layer2.0.conv2",
    "layer3.0.conv1",
    "layer3.0.conv2",
]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Sixty-four training and sixty-four test images."""
    return synthetic.load(train=64, test=64)


@pytest.fixture
def net(dataset: Dataset) -> ResNet:
    """A ResNet-8 with option B, whose projections are no 3x3 layers, and with statistics and scales of its own."""
    net = CIFAR10.make(Net.model_validate("resnet-8-B"), 1)
    with torch.no_grad():
        net(dataset.normalize(dataset.train_images))
        for number, module in enumerate(net.modules()):
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(0.5 + number / 10)
                module.bias.copy_(torch.linspace(-1, 1, len(module.bias)))
    return net


def by_hand(net: ResNet, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The forward pass of a ResNet-8 written out: logits, and each layer's response after BN."""

    def norm(module: BatchNorm, x: Tensor) -> Tensor:
        return torch.nn.BatchNorm2d.forward(module, x)

    kept = [norm(net.bn1, net.conv1(images))]
    x = kept[0].relu()
    for stage in (net.layer1, net.layer2, net.layer3):
        block = stage[0]
        kept.append(norm(block.bn1, block.conv1(x)))
        kept.append(norm(block.bn2, block.conv2(kept[-1].relu())))
        x = (kept[-1] + block.downsample(x)).relu()
    return net.fc(x.mean(dim=(2, 3))), kept


@torch.no_grad()
def test_responses_are_those_before_addition_and_relu(dataset: Dataset, net: ResNet) -> None:
    """Figure 7's number of each 3x3 layer, by hand over all test images at once.

    Seen to fail when it listens behind the addition, and when it takes the mean of the batches' deviations.
    """
    table = responses(net, dataset, lambda _: None)
    _, kept = by_hand(net.eval(), dataset.normalize(dataset.test_images))

    assert NAMES == table["name"].tolist()
    assert list(range(1, 8)) == table["layer"].tolist()
    assert [pytest.approx(float(each.double().std(correction=0)), rel=1e-5) for each in kept] == table["std"].tolist()


def test_backward_signals_are_those_of_the_first_batches(dataset: Dataset, net: ResNet) -> None:
    """The norm of the loss's gradient by each response, in training mode, mean over the run's first batches."""
    run = RunSpec.of(Net.model_validate("resnet-8-B"), TINY, Protocol(), 2)
    before = [parameter.clone() for parameter in net.parameters()]
    table = gradients(net, run, dataset, lambda _: None)
    batches = min(BATCHES, run.protocol.iterations)
    expected = torch.zeros(7)
    stream = run.task.stream(dataset, run)
    for iteration in range(1, batches + 1):
        images, labels = stream.batch(iteration)
        logits, kept = by_hand(net.train(), images)
        parts = torch.autograd.grad(functional.cross_entropy(logits, labels), kept)
        expected += torch.stack([part.norm() for part in parts]) / batches

    assert NAMES == table["name"].tolist()
    assert pytest.approx(expected.tolist(), rel=1e-4) == table["norm"].tolist()
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


def test_backward_signals_in_parts(dataset: Dataset, net: ResNet) -> None:
    """A batch that is trained on in parts is normalised in parts here too; the norm is that of all of it."""
    run = RunSpec.of(Net.model_validate("resnet-8-B"), TINY.model_copy(update={"accumulate": 2}), Protocol(), 2)
    table = gradients(net, run, dataset, lambda _: None)
    stream = run.task.stream(dataset, run)
    expected = torch.zeros(7)
    for iteration in range(1, run.protocol.iterations + 1):
        squares = torch.zeros(7)
        for images, labels in zip(*(part.chunk(2) for part in stream.batch(iteration)), strict=True):
            logits, kept = by_hand(net.train(), images)
            parts = torch.autograd.grad(functional.cross_entropy(logits, labels) / 2, kept)
            squares += torch.stack([part.norm() ** 2 for part in parts])
        expected += squares.sqrt() / run.protocol.iterations

    assert pytest.approx(expected.tolist(), rel=1e-4) == table["norm"].tolist()


def test_the_training_set_is_tested_as_it_is(dataset: Dataset, net: ResNet) -> None:
    """Loss and error on the training images without augmentation; a net that answers like its source changes none."""
    other = CIFAR10.make(Net.model_validate("resnet-8"), 7)
    table = training_set({"end": net, "start": other, "source": other}, dataset, lambda _: None).set_index("weights")
    net.eval()
    with torch.no_grad():
        answers = {
            name: each.eval()(dataset.normalize(dataset.train_images)).argmax(dim=1)
            for name, each in (("end", net), ("source", other))
        }

    assert 100 * float((answers["end"] != dataset.train_labels).float().mean()) == table["error"]["end"]
    assert table["loss"]["end"] != evaluate(net, dataset, "fp32").loss
    assert [64] * 3 == table["images"].tolist()
    assert int((answers["end"] != answers["source"]).sum()) == table["changed"]["end"]
    assert table["changed"]["start"] == table["changed"]["source"] == 0


def test_a_bottleneck_has_one_3x3_layer(dataset: Dataset) -> None:
    """Of a bottleneck only the 3x3 counts; the stem of ImageNet's nets is 7x7."""
    net = IMAGENET.make(Net.model_validate("resnet-50-B"), 0, classes=10)
    names = responses(net, dataset, lambda _: None)["name"].tolist()

    assert 16 == len(names)
    assert all(name.endswith("conv2") for name in names)
